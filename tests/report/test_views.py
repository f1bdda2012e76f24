"""Images of a report: what of their pixels is kept, where the points over them stand, and what says which is which."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from trigpoint.landmarks import LandmarkSet
from trigpoint.report.overlays import Shown
from trigpoint.report.views import MOST_BYTES, View, around, detail_view, image_view, packed

RNG = np.random.default_rng(0)
NAN = [np.nan, np.nan]
FEW = LandmarkSet(("a", "b", "c"), skeleton=(("a", "b"), ("b", "c")))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def view(landmarks: LandmarkSet, truth: list[list[float]], found: list[list[float]], matched: bool = False) -> View:
    points = np.array(truth), np.array(found)
    shown = Shown(*points, range(len(truth)), matched)
    return image_view("x", "", np.zeros((50, 100), np.uint8), shown, landmarks, [(points[0], False), (points[1], True)])


def test_no_image_makes_the_page_large_and_small_ones_stay_as_they_are() -> None:
    noise = RNG.integers(0, 255, (2400, 3000, 3), dtype=np.uint8)
    kept = packed(noise)
    assert len(kept) <= MOST_BYTES
    assert max(opened(kept).size) <= 1600
    smooth = np.tile(np.linspace(0, 255, 3000).astype(np.uint8), (2400, 1))
    assert opened(packed(smooth)).size == (1600, 1280)
    small = noise[:96, :96]
    np.testing.assert_array_equal(np.asarray(opened(packed(small))), small)


def test_points_stand_at_their_share_of_the_picture() -> None:
    made = view(FEW, [[0.0, 0.0], [49.5, 24.5], NAN], [[99.0, 49.0], NAN, NAN])
    first, second = made.marks  # what is neither annotated nor predicted is not drawn
    assert (first.truth, first.found) == ((0.5, 1.0), (99.5, 99.0))
    assert (second.truth, second.found) == ((50.0, 50.0), None)
    assert [(bone.a, bone.b, bone.predicted) for bone in made.bones] == [((0.5, 1.0), (50.0, 50.0), False)]


def test_a_label_stands_at_the_annotation_and_at_a_prediction_far_from_it() -> None:
    made = view(FEW, [[10.0, 10.0], [10.0, 10.0], NAN], [[11.0, 10.0], [60.0, 10.0], [5.0, 5.0]])
    assert [len(mark.labelled) for mark in made.marks] == [1, 2, 1]


def test_each_landmark_has_its_colour_and_many_have_numbers_that_a_key_explains() -> None:
    many = LandmarkSet(tuple(f"mark {k}" for k in range(13)))
    made = view(many, [[float(k), 1.0] for k in range(13)], [NAN] * 13)
    assert [mark.label for mark in made.marks] == [str(k + 1) for k in range(13)]
    assert len({mark.colour for mark in made.marks[:7]}) == 7
    assert [(mark.label, mark.name) for mark in made.key][:2] == [("1", "mark 0"), ("2", "mark 1")]
    named = view(FEW, [[1.0, 1.0]] * 3, [NAN] * 3)
    assert [mark.label for mark in named.marks] == ["a", "b", "c"]
    assert named.key == []


def test_only_matched_points_without_a_partner_are_mistaken() -> None:
    places = [[1.0, 1.0], NAN, [5.0, 5.0]], [[1.0, 2.0], [9.0, 9.0], NAN]
    assert [mark.mistaken for mark in view(FEW, *places, matched=True).marks] == [False, True, True]
    assert not any(mark.mistaken for mark in view(FEW, *places).marks)


@pytest.mark.parametrize("at", [(2.0, 3.0), (500.0, 400.0), (1999.0, 1499.0)])
def test_a_detail_holds_both_points_and_the_original_pixels(at: tuple[float, float]) -> None:
    pixels = RNG.integers(0, 255, (1500, 2000), dtype=np.uint8)
    points = np.array([at, [at[0] + (20 if at[0] < 1000 else -20), at[1]]])
    left, top, right, bottom = around(points, (2000, 1500))
    made = detail_view("1.00 mm", pixels, points, FEW, 1)
    np.testing.assert_array_equal(np.asarray(opened(made.picture)), pixels[top:bottom, left:right])
    assert made.size == (right - left, bottom - top) == (125, 125)
    mark = made.marks[0]
    assert (made.title, mark.name) == ("b", "b")
    assert mark.truth is not None
    np.testing.assert_allclose(mark.truth, 100 * (points[0] - (left, top) + 0.5) / 125, atol=1e-3)
    assert all(place is not None and min(place) > 0 and max(place) < 100 for place in (mark.truth, mark.found))
