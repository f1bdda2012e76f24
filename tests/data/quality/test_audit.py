"""Planted faults in drawn shapes are found first; sound labels of odd poses are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.audit import audit
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet

NAMES = ("l_eye", "r_eye", "nose", "l_mouth", "r_mouth", "chin", "l_ear", "r_ear")
PAIRS = (("l_eye", "r_eye"), ("l_mouth", "r_mouth"), ("l_ear", "r_ear"))
FACE = np.array([[70, 40], [30, 40], [50, 60], [62, 78], [38, 78], [50, 96], [92, 52], [8, 52]], float)


def shapes(count: int, seed: int = 0) -> FloatArray:
    """Faces (N, 8, 2), turned, scaled and moved, with labels that are off by a pixel."""
    rng = np.random.default_rng(seed)
    turn, scale = rng.normal(0, 0.15, count), np.exp(rng.normal(0, 0.1, count))
    wide = 1 + rng.normal(0, 0.05, (count, 1))
    faces = FACE[None] * np.stack([wide, np.ones_like(wide)], -1)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    turned = np.einsum("nij,nkj->nki", np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1), faces)
    return turned + rng.normal(0, 30, (count, 1, 2)) + rng.normal(0, 1.0, faces.shape)


def dataset(points: FloatArray) -> LandmarkDataset:
    columns = {"image": [f"{i}.png" for i in range(len(points))]}
    for k, name in enumerate(NAMES):
        columns |= {f"{name}_x": points[:, k, 0], f"{name}_y": points[:, k, 1]}
    return LandmarkDataset.from_table(pd.DataFrame(columns), landmarks=LandmarkSet(NAMES, PAIRS))


def test_planted_faults_come_first() -> None:
    points = shapes(150)
    points[3, [0, 1]] = points[3, [1, 0]]
    points[7, [3, 5]] = points[7, [5, 3]]  # neighbours
    points[11] = points[11][[1, 0, 2, 4, 3, 5, 7, 6]]
    points[20, 5] += [9.0, -6.0]
    points[40, 2] = np.nan  # not labelled: no fault
    found = audit(dataset(points))
    first = {one.row: one for one in found.suspects[:4]}
    assert set(first) == {3, 7, 11, 20}
    assert (first[3].kind, first[3].landmarks) == ("swapped", ("l_eye", "r_eye"))
    assert (first[7].kind, first[7].landmarks) == ("swapped", ("l_mouth", "chin"))
    assert first[11].kind == "mirrored"
    assert (first[20].kind, first[20].landmarks) == ("shifted", ("chin",))
    assert np.hypot(*(np.array(first[20].expected) - (points[20, 5] - [9.0, -6.0]))) < 3
    assert found.suspects[4].score < 0.7 * min(one.score for one in first.values())
    assert np.isnan(found.residuals[40, 2])
    assert np.nanmedian(found.residuals) == pytest.approx(1, abs=0.15)


def test_an_unusual_pose_is_no_fault() -> None:
    points = shapes(100)
    center = points[5].mean(0)
    points[5] = (points[5] - center) @ np.array([[0.0, -2.0], [2.0, 0.0]]) + center  # lying, and twice as large
    scores = {one.row: one.score for one in audit(dataset(points)).suspects}
    assert scores[5] < np.quantile(list(scores.values()), 0.95)


def test_rows_with_few_landmarks_are_passed_over_and_few_rows_are_told() -> None:
    points = shapes(40)
    points[2, 2:] = np.nan
    assert 2 not in {one.row for one in audit(dataset(points)).suspects}
    with pytest.raises(DataError, match="expected 20 objects with 3 landmarks"):
        audit(dataset(shapes(12)))
