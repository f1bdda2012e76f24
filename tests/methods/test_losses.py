"""Losses: hand-worked values, what a perfect map costs, and missing points that must leave no trace."""

from __future__ import annotations

import math

import pytest
import torch

from trigpoint.codecs import GaussianHeatmap
from trigpoint.errors import ConfigError
from trigpoint.methods.losses import LOSSES, MeanSquaredError, SpatialDivergence

POINTS = torch.tensor([[[13.2, 20.7], [40.0, 9.5]], [[30.1, 31.9], [float("nan"), float("nan")]]])


def codec(decoder: str = "soft_argmax") -> GaussianHeatmap:
    return GaussianHeatmap((48, 64), stride=2, decoder=decoder)


def test_mse_is_the_mean_over_pixels_of_the_squared_difference() -> None:
    c, sigma = codec(), torch.tensor([2.0, 3.0])
    output = torch.randn(2, 2, 24, 32, generator=torch.Generator().manual_seed(0))
    target = c.encode(POINTS, sigma)
    terms = MeanSquaredError()(output, POINTS, sigma, c)
    by_hand = sum((output[1, 0, i, j] - target[1, 0, i, j]) ** 2 for i in range(24) for j in range(32)) / (24 * 32)
    assert terms.loss[1, 0].item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert terms.energy[0, 1].item() == pytest.approx(target[0, 1].square().mean().item(), rel=1e-5)


def test_mse_of_an_empty_map_is_the_energy() -> None:
    c, sigma = codec(), torch.tensor([2.0, 3.0])
    terms = MeanSquaredError()(torch.zeros(2, 2, 24, 32), POINTS, sigma, c)
    torch.testing.assert_close(terms.misfit, terms.energy)


def test_kl_of_the_target_itself_is_zero_and_of_a_constant_map_the_energy() -> None:
    c, sigma = codec(), torch.tensor([2.0, 3.0])
    loss = SpatialDivergence(coordinate=0.0)
    points = POINTS.nan_to_num(nan=20.0)
    perfect = loss(c.encode(points, sigma).clamp_min(1e-30).log(), points, sigma, c)
    torch.testing.assert_close(perfect.loss, torch.zeros(2, 2), atol=2e-5, rtol=0)
    silent = loss(torch.full((2, 2, 24, 32), 0.7), points, sigma, c)
    torch.testing.assert_close(silent.misfit, silent.energy, atol=1e-4, rtol=1e-5)
    # far from the border the entropy of a Gaussian is log(2 pi e sigma^2)
    expected = math.log(24 * 32) - math.log(2 * math.pi * math.e * 4)
    assert silent.energy[0, 0].item() == pytest.approx(expected, abs=5e-3)


def test_coordinate_term_is_the_distance_in_map_pixels() -> None:
    c, sigma = codec(), torch.tensor([2.0, 2.0])
    points = torch.tensor([[[20.0, 20.0], [40.0, 20.0]]])
    output = 2 * c.encode(points + torch.tensor([6.0, -8.0]), 1.5).clamp_min(1e-30).log()
    with_term, without = (SpatialDivergence(w)(output, points, sigma, c).loss for w in (2.0, 0.0))
    torch.testing.assert_close(with_term - without, torch.full((1, 2), 2 * 10 / 2), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_maps_decode_to_the_point_they_were_made_for(name: str) -> None:
    """The codec must find the point again in what the loss calls its maps."""
    c, sigma = codec(), 1.5
    points = torch.tensor([[[21.3, 20.7], [40.0, 19.5]]])
    target = c.encode(points, sigma)
    perfect = target if name == "mse" else target.clamp_min(1e-30).log()
    decoded, _ = c.decode(LOSSES[name]().maps(perfect))
    torch.testing.assert_close(decoded, points, atol=0.02, rtol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_missing_points_put_no_nan_into_the_gradient(name: str) -> None:
    c = codec()
    output = torch.randn(2, 2, 24, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    terms = LOSSES[name]()(output, POINTS, torch.tensor([2.0, 3.0]), c)
    present = POINTS.isfinite().all(-1)
    torch.where(present, terms.loss, 0.0).sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert (output.grad[1, 1] == 0).all()
    assert (output.grad[1, 0] != 0).any()


def test_coordinate_term_needs_a_decoder_with_a_gradient() -> None:
    with pytest.raises(ConfigError, match=r"soft_argmax, got dark; set method\.decoder"):
        SpatialDivergence(1.0).check(codec("dark"))
    SpatialDivergence(0.0).check(codec("dark"))


def test_relative_mse_is_the_share_left_unexplained_whatever_the_width() -> None:
    c, loss = codec(), MeanSquaredError(relative=True)
    for sigma in (1.5, 4.0):
        terms = loss(torch.zeros(2, 2, 24, 32), POINTS, torch.full((2,), sigma), c)
        torch.testing.assert_close(terms.loss[0], torch.ones(2), atol=1e-4, rtol=0)
        assert terms.loss.isfinite().all()  # also of the missing point
        torch.testing.assert_close(terms.misfit, terms.energy)
