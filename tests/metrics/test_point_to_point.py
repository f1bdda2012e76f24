from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import (
    area_under_ced,
    failure_rate,
    mean_point_error,
    point_error_scores,
    radial_error,
    stacked_point_error,
)

NAN = float("nan")
TRUTH = [
    [[0.0, 0.0], [10.0, 10.0], [20.0, 0.0]],
    [[0.0, 0.0], [NAN, NAN], [20.0, 0.0]],
    [[NAN, NAN], [NAN, NAN], [5.0, NAN]],
    [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]],
]
FOUND = [
    [[3.0, 4.0], [10.0, 22.0], [20.0, 0.0]],  # 5, 12, 0
    [[0.0, 6.0], [99.0, 99.0], [28.0, 0.0]],  # 6, not annotated, 8
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]],  # nothing annotated
    [[1.0, 1.0], [NAN, NAN], [3.0, 3.0]],  # 0, not predicted, 0
]


def test_both_readings_by_hand() -> None:
    assert mean_point_error(FOUND, TRUTH) == pytest.approx([17 / 3, 7.0, NAN, math.inf], nan_ok=True)
    # sqrt(25 + 144 + 0) / 3; sqrt(36 + 64) / 2: K is the number that is annotated
    assert stacked_point_error(FOUND, TRUTH) == pytest.approx([13 / 3, 5.0, NAN, math.inf], nan_ok=True)
    tensors = torch.tensor(FOUND), torch.tensor(TRUTH)
    assert mean_point_error(*tensors) == pytest.approx([17 / 3, 7.0, NAN, math.inf], nan_ok=True)


def test_scores_by_hand() -> None:
    found = point_error_scores(FOUND, TRUTH, reading="stacked", threshold=4.5)
    assert (found.images, found.unpredicted, found.threshold) == (3, 1, 4.5)
    assert found.mean == pytest.approx((13 / 3 + 5) / 2)
    assert found.sd == pytest.approx((5 - 13 / 3) / math.sqrt(2))  # two images, N - 1 = 1
    assert found.failure_rate == pytest.approx(2 / 3)  # 5 and the image without a prediction
    assert found.auc == pytest.approx((1 - 13 / 3 / 4.5) / 3)
    mean = point_error_scores(FOUND, TRUTH)
    assert mean.mean == pytest.approx((17 / 3 + 7) / 2)
    assert (mean.failure_rate, mean.auc, mean.threshold) == (1.0, 0.0, 1.2)


def test_a_failure_is_above_the_threshold_not_at_it() -> None:
    truth = np.zeros((3, 1, 2))
    found = np.array([[[1.5, 0.0]], [[0.0, 1.75]], [[0.75, 0.0]]])
    scores = point_error_scores(found, truth, threshold=1.5)
    assert scores.failure_rate == pytest.approx(1 / 3)
    assert scores.auc == pytest.approx((0 + 0 + 0.5) / 3)


def test_scale_is_per_image_and_applies_before_the_threshold() -> None:
    truth, found = np.zeros((2, 1, 2)), np.array([[[0.0, 8.0]], [[6.0, 0.0]]])
    in_cells = point_error_scores(found, truth, scale=[64 / 512, 64 / 256])  # 1 and 1.5 cells
    assert (in_cells.mean, in_cells.failure_rate) == (1.25, 0.5)
    assert point_error_scores(found, truth, scale=0.25).mean == pytest.approx(1.75)
    # the literal formula in pixels of 256 and the mean distance in cells of 64: the factors differ by four
    literal = point_error_scores(found, truth, "stacked", scale=[256 / 512, 256 / 256])
    assert literal.mean == pytest.approx(4 * in_cells.mean)  # one landmark: both readings agree


def test_what_is_not_known_is_not_a_number() -> None:
    nothing = point_error_scores(np.zeros((1, 2, 2)), np.full((1, 2, 2), NAN))
    assert np.isnan([nothing.mean, nothing.sd, nothing.failure_rate, nothing.auc]).all()
    assert (nothing.images, nothing.unpredicted) == (0, 0)
    one = point_error_scores(np.ones((1, 2, 2)), np.zeros((1, 2, 2)))
    assert math.isnan(one.sd)
    assert one.mean == pytest.approx(math.sqrt(2))


def test_what_cannot_be_meant_is_refused() -> None:
    truth = np.zeros((2, 1, 2))
    with pytest.raises(ConfigError, match="expected 'mean' or 'stacked', got 'sum'"):
        point_error_scores(truth, truth, reading="sum")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"one for each of 2 images, got \(3,\)"):
        point_error_scores(truth, truth, scale=[1.0, 1.0, 1.0])
    for bad in (0.0, -1.0, NAN, math.inf, [1.0, NAN]):
        with pytest.raises(DataError, match="finite numbers above 0"):
            point_error_scores(truth, truth, scale=bad)
    with pytest.raises(ConfigError, match="threshold: expected above 0"):
        point_error_scores(truth, truth, threshold=0.0)
    with pytest.raises(DataError, match="one shape"):
        mean_point_error(truth, truth[:1])


def test_the_readings_of_the_paper_differ_by_the_root_of_k() -> None:
    """14 landmarks, all 3.32 px off in an image of 256 px: 0.83 cells of the map, or 3.32 / sqrt(14) = 0.887 px."""
    truth, found = np.zeros((1, 14, 2)), np.full((1, 14, 2), [3.32, 0.0])
    assert point_error_scores(found, truth, scale=64 / 256).mean == pytest.approx(0.83)
    assert point_error_scores(found, truth, "stacked").mean == pytest.approx(3.32 / math.sqrt(14))


@given(
    distances=st.lists(st.floats(0, 100), min_size=1, max_size=12),
    missing=st.integers(0, 3),
    scale=st.floats(0.1, 4),
)
def test_the_stacked_reading_is_the_root_mean_square_over_the_root_of_k(
    distances: list[float], missing: int, scale: float
) -> None:
    count = len(distances)
    truth = np.vstack([np.zeros((count, 2)), np.full((missing, 2), NAN)])[None]
    found = np.zeros_like(truth)
    found[0, :count, 0] = distances
    stacked, mean = stacked_point_error(found, truth)[0], mean_point_error(found, truth)[0]
    squares = np.mean(np.square(distances))
    assert stacked == pytest.approx(math.sqrt(squares / count), rel=1e-12)
    assert mean == pytest.approx(radial_error(found, truth)[0, :count].mean(), rel=1e-12)
    assert mean / math.sqrt(count) * (1 - 1e-9) <= stacked <= mean * (1 + 1e-9)
    scores = point_error_scores(found, truth, scale=scale)
    errors = np.array([mean]) * scale
    assert scores.failure_rate == failure_rate(errors, 1.2)
    assert scores.auc == pytest.approx(area_under_ced(errors, 1.2), abs=1e-12)
