"""Points of several objects, thrown together landmark by landmark, come back as objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trigpoint.landmarks import FloatArray
from trigpoint.prediction.grouping import group_by_proximity

REACH = 30.0


def objects(seed: int, count: int, marks: int, gone: float) -> FloatArray:
    """(count, marks, 2): chains with steps below ``REACH``, far from each other; NaN where a landmark is not seen."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2)[rng.permutation(16)[:count]]
    turn = rng.uniform(0, 2 * np.pi, count)
    steps = np.stack([np.cos(turn), np.sin(turn)], -1)[:, None] * np.arange(marks)[None, :, None] * 20.0
    points = corners[:, None] * 400.0 + steps + rng.uniform(-2, 2, (count, marks, 2))
    points[rng.uniform(size=(count, marks)) < gone] = np.nan
    return points


def thrown_together(points: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Each landmark in an order of its own, without gaps, as a method finds them, with scores."""
    mixed = np.full_like(points, np.nan)
    for k in range(points.shape[1]):
        seen = points[np.isfinite(points[:, k]).all(-1), k]
        mixed[: len(seen), k] = seen[rng.permutation(len(seen))]
    return mixed, np.where(np.isfinite(mixed).all(-1), rng.uniform(0.1, 1, mixed.shape[:2]), np.nan)


def rows(points: FloatArray) -> set[tuple[float, ...]]:
    kept = points[np.isfinite(points).any((1, 2))]
    return {tuple(np.nan_to_num(row, nan=-1e6).ravel().round(6)) for row in kept}


@given(st.integers(0, 2**31), st.integers(0, 6), st.integers(1, 5))
def test_objects_are_put_together_again(seed: int, count: int, marks: int) -> None:
    points = objects(seed, count, marks, gone=0.0)
    mixed, scores = thrown_together(points, np.random.default_rng(seed))
    found, certain = group_by_proximity(mixed, scores, REACH)
    assert rows(found) == rows(points)
    assert (np.diff(certain.mean(1)) <= 1e-12).all()  # the most certain first


@given(st.integers(0, 2**31), st.floats(0, 500), st.floats(0, 0.9))
def test_nothing_is_lost_or_doubled_and_nothing_far_is_joined(seed: int, reach: float, gone: float) -> None:
    points = objects(seed, 5, 4, gone)
    mixed, scores = thrown_together(points, np.random.default_rng(seed))
    found, certain = group_by_proximity(mixed, scores, reach)
    for k in range(4):
        before, after = (sorted(map(tuple, values[np.isfinite(values[:, k]).all(-1), k])) for values in (mixed, found))
        assert before == after
    np.testing.assert_array_equal(np.isfinite(certain), np.isfinite(found).all(-1))
    pairs = {(*place, score) for place, score in zip(mixed.reshape(-1, 2), scores.ravel(), strict=True) if score > 0}
    again = {(*place, score) for place, score in zip(found.reshape(-1, 2), certain.ravel(), strict=True) if score > 0}
    assert {tuple(map(float, p)) for p in pairs} == {tuple(map(float, p)) for p in again}  # each keeps its own score
    for row in found:
        seen = row[np.isfinite(row).all(-1)]
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.diag(np.full(len(seen), np.inf))
        assert len(seen) == 1 or (apart.min(1) <= reach).all()


def test_the_nearest_are_joined_first_and_a_landmark_once_in_an_object() -> None:
    points = np.array([[[0.0, 0.0], [6.0, 0.0]], [[10.0, 0.0], [np.nan, np.nan]]])
    scores = np.array([[0.9, 0.8], [0.95, np.nan]])
    found, _ = group_by_proximity(points, scores, 30.0)
    assert found[1].tolist() == [[10.0, 0.0], [6.0, 0.0]]  # 4 px apart, not 6, although its score is lower in the mean
    assert found[0, 0].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("shape", [(0, 3), (2, 3)])
def test_nothing_found_is_no_object(shape: tuple[int, int]) -> None:
    found, scores = group_by_proximity(np.full((*shape, 2), np.nan), np.full(shape, np.nan), 10.0)
    assert found.shape == (0, 3, 2)
    assert scores.shape == (0, 3)
