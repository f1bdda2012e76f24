"""Measurements against arithmetic on paper, and what turning, moving, scaling and mirroring does to each kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every_measurement import EVERY_KIND, MARKS_OF_ALL
from trigpoint.data.measurements import ANGLE, LENGTH, quantity
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.metrics.measurements import apart, measure, measure_each, unit_of

MARKS = LandmarkSet(MARKS_OF_ALL, measurements=EVERY_KIND)
SIGNED = ("turn", "off")  # change their sign in a mirrored picture


def of(points: Any) -> dict[str, float]:
    return {name: float(values[0]) for name, values in measure(np.array([points], float), MARKS).items()}


def test_values_by_hand() -> None:
    # a right of b, c below b as the picture is shown; d right of c
    found = of([[4, 0], [0, 0], [0, 3], [6, 3]])
    assert found["bend"] == pytest.approx(90)
    assert found["between"] == pytest.approx(180)  # a to b points left, c to d right
    assert abs(found["turn"]) == pytest.approx(180)
    assert found["far"] == pytest.approx(4)
    assert found["ahead"] == pytest.approx(-4)  # b is behind a on the way from c to d
    assert found["off"] == pytest.approx(-3)  # a is above the line: to the left of who walks to the right
    assert found["share"] == pytest.approx(4 / 6)
    middle = np.array([2.5, 1.5])
    assert found["size"] == pytest.approx(
        math.sqrt(sum(((np.array(p) - middle) ** 2).sum() for p in [[4, 0], [0, 0], [0, 3], [6, 3]]))
    )
    assert found["less"] == pytest.approx(found["far"] - found["size"])


def test_clockwise_as_shown_is_positive() -> None:
    found = of([[0, 0], [1, 0], [0, 0], [1, 1]])  # from right to right and down
    assert found["turn"] == pytest.approx(45)
    below = of([[5, 2], [9, 9], [0, 0], [1, 0]])
    assert below["off"] == pytest.approx(2)


def test_a_small_angle_has_all_its_digits() -> None:
    marks = LandmarkSet(("a", "b", "c"), measurements={"bend": {"angle": ["a", "b", "c"]}})
    found = measure([[[1e4, 0.0], [0.0, 0.0], [1e4, 1e-4]]], marks)["bend"][0]
    assert found == pytest.approx(math.degrees(1e-8), rel=1e-9)  # by arccos it would be 0


def test_what_is_missing_or_not_defined_is_nan_and_nothing_else_is() -> None:
    points = np.random.default_rng(0).normal(size=(6, 4, 2))
    points[1, 3] = np.nan  # d
    points[2, 0, 1] = np.nan  # half of a is no a
    points[3, 1] = points[3, 0]  # an arm without length
    points[4, 3] = points[4, 2]  # a line without length
    missing = {name: np.flatnonzero(np.isnan(v)).tolist() for name, v in measure(points, MARKS).items()}
    assert missing == {
        "bend": [2, 3],
        "between": [1, 2, 3, 4],
        "turn": [1, 2, 3, 4],
        "far": [2],
        "ahead": [1, 2, 4],
        "off": [1, 2, 4],
        "size": [1, 2],
        "share": [1, 2, 4],
        "less": [1, 2],
    }
    with pytest.raises(DataError, match=r"expected shape \(N, 4, 2\)"):
        measure(points[:, :3], MARKS)


coordinate = st.floats(-100, 100)
four = st.lists(st.tuples(coordinate, coordinate), min_size=4, max_size=4)


def clear(points: FloatArray) -> bool:
    """Whether no two of the points are so near that their angles are those of rounding."""
    away = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(4)
    return bool(away.min() > 1e-2)


def same(name: str, value: float, wanted: float) -> bool:
    off = apart(value, wanted, unit_of(name, EVERY_KIND, "px"))
    return bool(abs(off) < 1e-6 * max(1.0, abs(wanted)))


@given(four, st.floats(-180, 180), coordinate, coordinate, st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_turned_moved_and_scaled(points: Any, angle: float, x: float, y: float, factor: float) -> None:
    p = np.array(points)
    if not clear(p):
        return
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    moved = factor * p @ np.array([[c, s], [-s, c]]) + [x, y]
    before, after = of(p), of(moved)
    for name, value in before.items():
        wanted = value * (factor if quantity(name, EVERY_KIND) == LENGTH else 1.0)
        assert same(name, after[name], wanted), name


@given(four)
@settings(max_examples=30, deadline=None)
def test_a_mirrored_picture_turns_two_signs(points: Any) -> None:
    p = np.array(points)
    if not clear(p):
        return
    before, after = of(p), of(p * [-1, 1])
    for name, value in before.items():
        assert same(name, after[name], -value if name in SIGNED else value), name


@given(four, st.floats(0.05, 2), st.floats(0.05, 2))
@settings(max_examples=30, deadline=None)
def test_pixels_that_are_not_square_are_measured_on_the_object(points: Any, x: float, y: float) -> None:
    """The same object, sampled with pixels of another shape, has the same angles and lengths."""
    on_object = np.array(points)
    if not clear(on_object):
        return
    found, unit = measure_each(on_object[None] / [x, y], MARKS, [[x, y]])
    assert unit == "mm"
    for name, value in of(on_object).items():
        assert same(name, float(found[name][0]), value), name


def test_one_unknown_spacing_leaves_lengths_in_pixels_and_angles_on_the_object() -> None:
    points = np.array([[[0.0, 0], [3, 4], [0, 0], [1, 1]]] * 2)
    found, unit = measure_each(points, MARKS, [[0.2, 0.1], [np.nan, np.nan]])
    assert unit == "px"
    assert found["far"].tolist() == [5.0, 5.0]
    on_object = math.degrees(math.atan2(1, 2) - math.atan2(4, 6))
    assert found["turn"].tolist() == pytest.approx([on_object, 45 - math.degrees(math.atan2(4, 3))])
    assert measure_each(points, MARKS)[1] == "px"
    assert measure_each(points, MARKS, [0.1, 0.1])[0]["far"].tolist() == pytest.approx([0.5, 0.5])
    assert measure_each(points[:0], MARKS, np.zeros((0, 2)))[0]["far"].shape == (0,)


def test_the_shorter_way_round() -> None:
    assert apart([170.0, -170.0, 5.0], [-170.0, 170.0, 2.0], "deg").tolist() == [-20.0, 20.0, 3.0]
    assert quantity("bend", EVERY_KIND) == ANGLE
