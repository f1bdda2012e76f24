"""Planted faults in drawn shapes are found first; sound labels of odd poses are not."""

from __future__ import annotations

import numpy as np
import pytest
from quality_shapes import FACE, NAMES, dataset, shapes

from trigpoint.data.quality.audit import audit
from trigpoint.errors import DataError


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


def test_what_is_usual_for_a_subject_is_no_fault() -> None:
    points, rng = shapes(160), np.random.default_rng(4)
    subjects = [f"s{i // 8}" for i in range(160)]
    points += rng.normal(0, 3.0, (20, 8, 2))[np.arange(160) // 8]  # a face of its own for each subject
    faulty = rng.choice(160, 10, replace=False)
    points[faulty, rng.integers(0, 8, 10)] += [9.0, 0.0]
    places = []
    for given in (subjects, None):
        order = [one.row for one in audit(dataset(points, None, given)).suspects]
        places.append(np.mean([order.index(row) for row in faulty]))
    assert places[0] < 0.7 * places[1]


def test_a_landmark_that_others_fix_is_not_listed_for_its_rounding() -> None:
    points, rng = shapes(150), np.random.default_rng(5)
    points[:, 2] = points[:, [0, 1, 3]].mean(1)
    points[rng.choice(150, 30, replace=False), 2] += 0.3
    points[9, 5] += [14.0, 0.0]
    first = audit(dataset(points)).suspects[0]
    assert (first.row, first.landmarks) == (9, ("chin",))
