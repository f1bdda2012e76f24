"""The codec's mean points, marginals and float32 arithmetic, as the losses use them."""

from __future__ import annotations

import math

import pytest
import torch

from trigpoint.codecs import GaussianHeatmap, peaks
from trigpoint.errors import DataError


@pytest.mark.parametrize("size", [(13,), (9, 14), (5, 6, 7)])
@pytest.mark.parametrize("stride", [1, 4])
def test_expectation_is_the_mean_over_cells(size, stride):
    codec = GaussianHeatmap([n * stride for n in size], stride)
    weights = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = torch.meshgrid(*[torch.arange(n) for n in size], indexing="ij")
    for axis, cell in enumerate(reversed(axes)):  # x first
        mean = (weights * cell).flatten(2).sum(-1) / weights.flatten(2).sum(-1)
        torch.testing.assert_close(codec.expectation(weights)[..., axis], (mean + 0.5) * stride - 0.5)
    assert torch.autograd.gradcheck(codec.expectation, weights.requires_grad_())


def test_expectation_of_squares_is_soft_argmax():
    codec = GaussianHeatmap((40, 56), stride=2, decoder="soft_argmax")
    maps = torch.rand(3, 4, 20, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(codec.expectation(maps.square()), codec.decode(maps)[0])
    with pytest.raises(DataError, match="20, 28"):
        codec.expectation(maps[..., 1:])


def test_soft_argmax_in_pieces(monkeypatch):
    codec = GaussianHeatmap((40, 56), stride=2, decoder="soft_argmax")
    maps = torch.rand(3, 4, 20, 28, generator=torch.Generator().manual_seed(0))
    whole = codec.decode(maps)[0]
    monkeypatch.setattr(peaks, "PIECE_CELLS", 5 * 20 * 28)
    torch.testing.assert_close(codec.decode(maps)[0], whole)


@pytest.mark.parametrize("normalize", ["peak", "mean"])
@pytest.mark.parametrize("size", [(31,), (24, 33), (9, 14, 11)])
def test_product_of_marginals_is_the_scaled_target(size, normalize):
    codec = GaussianHeatmap(size, stride=2, normalize=normalize)
    points = torch.rand(2, 3, len(size), generator=torch.Generator().manual_seed(0), dtype=torch.float64) * min(size)
    points[1, 2, 0] = math.nan
    factors = codec.marginals(points, 1.7)
    letters = "xyz"[: len(size)]
    product = torch.einsum(",".join(f"bk{c}" for c in letters) + f"->bk{letters}", *factors)
    target = codec.encode(points, 1.7)
    total = target.flatten(2).sum(-1).reshape(2, 3, *[1] * len(size))
    torch.testing.assert_close(product, target / torch.where(total > 0, total, 1))
    assert all(factor[1, 2].eq(0).all() for factor in factors)


@pytest.mark.parametrize("decoder", ["dark", "centroid", "soft_argmax"])
def test_mixed_precision_does_not_coarsen_points(decoder):
    codec = GaussianHeatmap((256, 256), stride=1, decoder=decoder)
    points = 20 + torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0)) * 215
    maps = codec.encode(points, 3.0)
    with torch.autocast("cpu", torch.bfloat16):
        found, mean = codec.decode(maps)[0], codec.expectation(maps)
    assert (found - points).abs().max() < 1e-3
    assert (mean - points).abs().max() < 1e-3


@pytest.mark.parametrize("value", [0.0, -1.0, 1e30, math.inf, -math.inf])
def test_unusable_maps_leave_no_gradient(value):
    codec = GaussianHeatmap((12, 12), stride=1, decoder="soft_argmax")
    good = codec.encode(torch.tensor([[[5.0, 6.0]]]), 2.0)
    maps = torch.cat([good, torch.full_like(good, value)], 1).requires_grad_()
    points, _ = codec.decode(maps)
    points[:, 0].sum().backward()
    assert maps.grad is not None
    assert maps.grad[0, 0].abs().max() > 0
    assert maps.grad[0, 1].eq(0).all()


def test_ridge_is_not_constant():
    """Its line through the peak is constant, the map is not."""
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0, 3] = 1.0
    maps[0, 1] = 1.0
    found, _ = GaussianHeatmap((8, 8), stride=1, decoder="argmax").decode(maps)
    assert found[0].tolist() == [[0.0, 3.0], [3.5, 3.5]]
