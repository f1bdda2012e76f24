"""Features are standardised by statistics that few samples cannot upset."""

from __future__ import annotations

import torch

from trigpoint.nn.spatialized import FEW, Standardize


def drawn(count: int, seed: int = 0) -> torch.Tensor:
    return 3 + 2 * torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


def test_many_samples_are_standardised_by_themselves() -> None:
    out = Standardize(5, affine=False)(drawn(FEW))
    torch.testing.assert_close(out.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.var(0, unbiased=False), torch.ones(5), atol=1e-4, rtol=0)


def test_few_samples_are_standardised_by_what_was_seen_so_far() -> None:
    layer = Standardize(5, affine=False)
    for seed in range(300):
        layer(drawn(4, seed))
    assert layer.training
    torch.testing.assert_close(layer.running_mean, torch.full((5,), 3.0), atol=0.8, rtol=0)
    x = drawn(4, 999)
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    layer.momentum = 0.0
    torch.testing.assert_close(layer(x), (x - mean) / (var + layer.eps).sqrt())
    # one sample alone cannot be standardised by itself
    assert layer(drawn(1)).isfinite().all()


def test_gradients_reach_the_features_of_few_samples() -> None:
    x = drawn(3).requires_grad_()
    Standardize(5, affine=False)(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
