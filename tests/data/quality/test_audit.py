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


def test_what_was_found_in_the_images_shows_smaller_faults_than_shapes_do() -> None:
    rng = np.random.default_rng(1)
    points = shapes(150)
    truth = points.copy()
    always = rng.normal(0, 4, (1, *FACE.shape))  # a bias of the detector is no fault of the labels
    found = truth + always + rng.normal(0, 0.3, points.shape)
    faulty = rng.choice(150, 12, replace=False)
    landmarks = rng.integers(0, 8, 12)
    points[faulty, landmarks] += 3.0
    by_shape, by_image = audit(dataset(points)), audit(dataset(points), found)
    kinds = dict(zip(faulty.tolist(), landmarks.tolist(), strict=True))
    right = [one for one in by_image.suspects[:12] if one.landmarks == (NAMES[kinds.get(one.row, 0)],)]
    assert len(right) >= 10
    assert len({one.row for one in by_shape.suspects[:12]} & set(kinds)) < 8
    for one in right:
        at = NAMES.index(one.landmarks[0])
        assert np.hypot(*(np.array(one.expected) - truth[one.row, at])) < 2


def test_swaps_are_found_by_what_was_found_in_the_images_too() -> None:
    points = shapes(100)
    found = points + np.random.default_rng(2).normal(0, 1.0, points.shape)
    points[5, [3, 5]] = points[5, [5, 3]]
    first = audit(dataset(points), found).suspects[0]
    assert (first.row, first.kind, first.landmarks) == (5, "swapped", ("l_mouth", "chin"))


def test_rows_and_landmarks_that_were_not_found_are_judged_by_shapes() -> None:
    points = shapes(150)
    found = points + np.random.default_rng(3).normal(0, 1.0, points.shape)
    points[20, 5] += [19.0, -16.0]
    points[30, 2] += [19.0, -16.0]
    found[20], found[:, 2] = np.nan, np.nan
    first = {one.row: one.landmarks for one in audit(dataset(points), found).suspects[:2]}
    assert first == {20: ("chin",), 30: ("nose",)}
