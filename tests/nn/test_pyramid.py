"""The pyramid and its glimpses: one point lies at one place on every level, in every glimpse, however it is taken."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import PYRAMID_TAPS, halve
from trigpoint.nn import GaussianPyramid
from trigpoint.nn.pyramid import TensorPyramid, level_count

LEVELS = 4
sides = st.integers(112, 143)  # odd and even, also after halving


def blob(size: tuple[int, int], point: tuple[float, float], sd: float) -> torch.Tensor:
    """A Gaussian (1, 1, H, W) drawn at its exact place, float64."""
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    return torch.from_numpy(np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sd**2)))[None, None]


def centroid(values: torch.Tensor) -> np.ndarray[Any, Any]:
    """Centre of mass (..., 2) of maps (..., H, W), x first."""
    total = values.sum((-2, -1))
    x = (values.sum(-2) * torch.arange(values.shape[-1])).sum(-1) / total
    y = (values.sum(-1) * torch.arange(values.shape[-2])).sum(-1) / total
    return torch.stack([x, y], -1).numpy()


def turn(degrees: float, factor: float) -> torch.Tensor:
    a = math.radians(degrees)
    matrix = [[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]
    return factor * torch.tensor(matrix, dtype=torch.float64)


# -- levels ---------------------------------------------------------------------------------------------------------


@given(height=sides, width=sides, x=st.floats(0.35, 0.65), y=st.floats(0.35, 0.65), sd=st.floats(2.0, 4.0))
@settings(max_examples=30)
def test_a_blob_lies_at_the_same_image_point_on_every_level(
    height: int, width: int, x: float, y: float, sd: float
) -> None:
    point = (x * width, y * height)
    for level, pixels in enumerate(GaussianPyramid(levels=LEVELS)(blob((height, width), point, sd))):
        assert pixels.shape[-2:] == (math.ceil(height / 2**level), math.ceil(width / 2**level))
        expected = (np.array(point) + 0.5) / 2**level - 0.5
        assert np.abs(centroid(pixels)[0, 0] - expected).max() < 0.05


def test_a_blob_lies_at_the_same_image_point_on_all_levels_of_a_radiograph() -> None:
    point = np.array([401.37, 288.81])
    for level, pixels in enumerate(GaussianPyramid(levels=6)(blob((651, 700), (401.37, 288.81), 8.0))):
        assert np.abs(centroid(pixels)[0, 0] - (point + 0.5) / 2**level + 0.5).max() < 0.05


def test_keeping_every_second_pixel_would_be_noticed() -> None:
    """What the official code does: the drift of half a pixel per level is ten times the tolerance above."""
    image = blob((200, 200), (98.3, 101.2), 3.0)
    kept = torch.nn.functional.avg_pool2d(image, 3, 2, 1)
    assert np.abs(centroid(kept)[0, 0] - (np.array([98.3, 101.2]) + 0.5) / 2 + 0.5).max() > 0.2


@pytest.mark.parametrize(("height", "width"), [(9, 14), (16, 7), (1, 1), (2, 3)])
def test_halving_is_the_weighted_sum_that_the_taps_say(height: int, width: int) -> None:
    image = torch.randn(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = halve(image)
    rows, columns = (_weights(n) for n in (height, width))
    torch.testing.assert_close(found, torch.einsum("iy,bcyx,jx->bcij", rows, image, columns))


def _weights(n: int) -> torch.Tensor:
    """(cells, n): what each pixel adds to each cell, from the distances of their centres."""
    out = torch.zeros(math.ceil(n / 2), n, dtype=torch.float64)
    for cell in range(len(out)):
        for pixel in range(n):
            tap = pixel - 2 * cell + 2
            if 0 <= tap < len(PYRAMID_TAPS):
                out[cell, pixel] = PYRAMID_TAPS[tap]
    return out


def test_the_taps_are_the_papers_gaussian_between_two_pixels() -> None:
    sd = math.sqrt(2 * math.log(2)) / (math.pi / 2)
    away = np.arange(6) - 2.5
    weights = np.exp(-(away**2) / (2 * sd**2))
    np.testing.assert_allclose(PYRAMID_TAPS, weights / weights.sum(), atol=1e-6)
    assert sum(PYRAMID_TAPS) == pytest.approx(1, abs=1e-6)


def test_a_constant_keeps_its_value_away_from_the_border() -> None:
    for pixels in GaussianPyramid(levels=5)(torch.full((1, 2, 300, 333), 7.0)):
        torch.testing.assert_close(pixels[..., 2:-3, 2:-3], torch.full_like(pixels[..., 2:-3, 2:-3], 7.0))


def test_levels_let_the_coarsest_roughly_fit_a_glimpse() -> None:
    assert level_count((2400, 1935)) == 6
    for side in range(20, 3000, 37):
        top = side / 2 ** (level_count((side, 10)) - 1)
        assert 64 / math.sqrt(2) - 1 < top < 64 * math.sqrt(2) + 1 or level_count((side, 10)) == 1
    assert len(GaussianPyramid(levels=3)(torch.zeros(1, 1, 5, 5))) == 3
    assert [tuple(p.shape[-2:]) for p in GaussianPyramid(levels=4)(torch.zeros(1, 1, 1, 1))] == [(1, 1)] * 4


def test_what_makes_no_pyramid_is_refused() -> None:
    with pytest.raises(ConfigError, match="levels: expected at least 1, got 0"):
        GaussianPyramid(levels=0)
    with pytest.raises(ConfigError, match="glimpse: expected at least 1, got 0"):
        GaussianPyramid(glimpse=0)
    with pytest.raises(DataError, match=r"expected images of shape \(B, C, H, W\), got \(3, 4, 5\)"):
        GaussianPyramid()(torch.zeros(3, 4, 5))
    with pytest.raises(DataError, match="expected images"):
        GaussianPyramid()(torch.zeros(1, 1, 0, 5))


# -- glimpses -------------------------------------------------------------------------------------------------------


def pyramid(image: torch.Tensor, levels: int = LEVELS) -> TensorPyramid:
    return TensorPyramid(GaussianPyramid(levels=levels)(image))


@given(
    size=st.tuples(sides, sides),
    at=st.tuples(st.floats(0.4, 0.6), st.floats(0.4, 0.6)),
    level=st.integers(0, 1),
    away=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    degrees=st.floats(-180, 180),
    factor=st.floats(0.8, 1.25),
    side=st.sampled_from([44, 45]),
)
@settings(max_examples=30)
def test_a_glimpse_shows_a_blob_at_its_place(
    size: tuple[int, int],
    at: tuple[float, float],
    level: int,
    away: tuple[float, float],
    degrees: float,
    factor: float,
    side: int,
) -> None:
    """The blob lies ``linear`` @ o from the centre, and o glimpse pixels from the middle of the glimpse."""
    point = np.array([at[0] * size[1], at[1] * size[0]])
    center = point - np.array(away) * 2**level
    linear = turn(degrees, factor)
    source = pyramid(blob(size, (point[0], point[1]), 2.6 * 2**level))
    seen = source.glimpses(torch.from_numpy(center)[None, None], side, linear[None, None])
    assert seen.shape == (1, 1, LEVELS, 1, side, side)
    expected = np.linalg.solve(linear.numpy(), np.array(away)) + (side - 1) / 2
    assert np.abs(centroid(seen[0, 0, level, 0]) - expected).max() < 0.02
    plain = source.glimpses(torch.from_numpy(center)[None, None], side)
    assert np.abs(centroid(plain[0, 0, level, 0]) - np.array(away) - (side - 1) / 2).max() < 0.02


def test_a_glimpse_on_whole_pixels_is_a_cut_of_its_level() -> None:
    image = torch.randn(1, 3, 90, 101, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    source = pyramid(image)
    seen = source.glimpses(torch.tensor([[[39.5, 47.5]]], dtype=torch.float64), 8)
    torch.testing.assert_close(seen[0, 0, 0], image[0, :, 44:52, 36:44])
    level = source.pixels[2]  # (39.5, 47.5) lies at (9.5, 11.5) there
    torch.testing.assert_close(seen[0, 0, 2], level[0, :, 8:16, 6:14])


def test_beyond_the_image_there_is_nothing() -> None:
    image = torch.randn(1, 2, 30, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 5
    source = pyramid(image, 3)
    far = torch.tensor([[[-4000.0, 10.0], [1e9, -1e9], [20.0, 3000.0]]], dtype=torch.float64)
    assert not source.glimpses(far, 16).any()
    corner = source.glimpses(torch.tensor([[[-0.5, 3.5]]], dtype=torch.float64), 8)[0, 0, 0]
    torch.testing.assert_close(corner, torch.nn.functional.pad(image, (4, 0))[0, :, :8, :8])


def test_an_image_smaller_than_a_glimpse_is_shown_whole() -> None:
    image = torch.rand(1, 1, 10, 15, dtype=torch.float64) + 1
    source = pyramid(image, 1)
    seen = source.glimpses(torch.tensor([[[6.5, 4.5]]], dtype=torch.float64), 64)[0, 0, 0]
    torch.testing.assert_close(seen[:, 27:37, 25:40], image[0])
    assert seen.sum().item() == pytest.approx(image.sum().item())


def test_all_at_once_equals_one_by_one() -> None:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(3, 2, 70, 83, generator=generator)
    centers = 80 * torch.rand(3, 5, 2, generator=generator)
    linear = torch.randn(3, 5, 2, 2, generator=generator)
    for given_linear in (None, linear):
        whole = pyramid(images).glimpses(centers, 12, given_linear)
        assert whole.shape == (3, 5, LEVELS, 2, 12, 12)
        for b in range(3):
            source = pyramid(images[b : b + 1])
            for n in range(5):
                part = None if given_linear is None else given_linear[b : b + 1, n : n + 1]
                single = source.glimpses(centers[b : b + 1, n : n + 1], 12, part)
                torch.testing.assert_close(single[0, 0], whole[b, n], rtol=1e-5, atol=5e-5)


def test_differentiable_by_centre_linear_map_and_pixels() -> None:
    image = torch.randn(1, 1, 20, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    centers = torch.tensor([[[9.13, 8.37], [0.21, 18.3]]], dtype=torch.float64, requires_grad=True)
    linear = torch.stack([turn(11, 1.02), turn(-7, 0.97)])[None].requires_grad_()

    def look(at: torch.Tensor, by: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        return pyramid(pixels, 2).glimpses(at, 5, by)

    assert torch.autograd.gradcheck(look, (centers, linear, image.requires_grad_()))
    far = torch.tensor([[[-500.0, 8.0]]], dtype=torch.float64, requires_grad=True)
    pyramid(image.detach(), 2).glimpses(far, 5).sum().backward()
    assert far.grad is not None
    assert not far.grad.any()
