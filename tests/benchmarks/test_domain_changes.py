"""Images that are changed as another clinic's would differ, and where their points lie then."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.domain import CHANGES, Change


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("size", [(90, 120), (121, 91)])
@pytest.mark.parametrize("channels", [1, 3])
def test_points_move_with_the_pixels(name: str, size: tuple[int, int], channels: int) -> None:
    height, width = size
    y, x = np.mgrid[:height, :width]
    point = np.array([0.4 * width, 0.6 * height])
    dot = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * 3.0**2))
    pixels = np.repeat(np.round(200 * dot)[None], channels, 0).astype(np.uint8)
    changed = CHANGES[name].image(pixels)
    assert changed.shape == pixels.shape
    weight = changed[0].astype(float) * (changed[0] > 40 * CHANGES[name].gain)
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    np.testing.assert_allclose(found, CHANGES[name].points(point, width, height), atol=0.05)


def test_the_figure_is_turned_to_the_left() -> None:
    up = Change(degrees=90).points(np.array([[5.0, 0.0]]), 11, 11)  # from the top
    np.testing.assert_allclose(up, [[0.0, 5.0]], atol=1e-9)
