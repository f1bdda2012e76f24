from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import detection_scores
from trigpoint.report.displayed import as_displayed
from trigpoint.report.overlays import prediction_overlay
from trigpoint.report.style import figure_png

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (40, 60), dtype=np.uint8)
LARGE = RNG.integers(0, 255, (60, 80), dtype=np.uint8)
NAN = [np.nan, np.nan]


def drawn(axes: Axes, gid: str) -> list[tuple[float, float]]:
    """Points of the one line with this mark."""
    lines = [line for line in axes.get_lines() if line.get_gid() == gid]
    assert len(lines) <= 1, gid
    return [(float(x), float(y)) for line in lines for x, y in np.asarray(line.get_xydata()) if np.isfinite(x)]


def test_overlay_draws_points_where_they_are_and_leaves_out_the_missing() -> None:
    truth = np.array([[[10.0, 20.0], [np.nan, np.nan], [5.0, 5.0]]])
    predicted = np.array([[[13.0, 24.0], [1.0, 1.0], [np.nan, np.nan]]])
    figure = prediction_overlay([GREY], truth, predicted, ["a", "b", "c"], ["one.png"], spacing_mm=[0.5])
    axes = figure.axes[0]
    assert tuple(axes.get_images()[0].get_extent()) == (-0.5, 59.5, 39.5, -0.5)
    assert axes.get_title() == "one.png\nerror 5.00 px = 2.50 mm, 1 not predicted"
    errors = [line for line in axes.get_lines() if line.get_marker() == "None"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in errors] == [([10, 13], [20, 24])]
    ring = next(line for line in axes.get_lines() if line.get_marker() == "o")
    assert list(ring.get_xdata())[:1] == [10.0]
    assert {text.get_text() for text in axes.texts} == {"a", "c"}
    assert figure_png(figure)


def test_overlay_of_only_predictions_and_unequal_images() -> None:
    colour = RNG.integers(0, 255, (3, 30, 30), dtype=np.uint8)
    figure = prediction_overlay([GREY, colour, GREY], None, RNG.uniform(0, 30, (3, 4, 2)), columns=2)
    assert len(figure.axes) == 4
    assert [key.get_text() for key in figure.legends[0].get_texts()] == ["predicted"]
    with pytest.raises(DataError, match=r"expected \(1, K, 2\)"):
        prediction_overlay([GREY], np.zeros((2, 4, 2)), None)
    with pytest.raises(ConfigError, match="captions"):
        prediction_overlay([GREY], None, None, captions=["a", "b"])
    with pytest.raises(DataError, match="at least one image"):
        prediction_overlay([], None, None)


def test_errors_of_a_reduced_image_are_told_in_original_pixels() -> None:
    truth, found = np.array([[[5.0, 5.0]]]), np.array([[[5.0, 7.0]]])
    figure = prediction_overlay([np.zeros((20, 20))], truth, found, captions=["a.png"], reduced=[4.0])
    texts = [axes.get_title() for axes in figure.axes] + [text.get_text() for text in figure.texts]
    assert any("error 8.00 px" in text for text in texts)


def test_images_of_other_depths_are_stretched_and_wrong_shapes_refused() -> None:
    deep = np.linspace(1000, 3000, 200).reshape(10, 20).astype(np.uint16)
    shown = as_displayed(deep)
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)
    assert as_displayed(np.full((5, 5), 7.0)).max() == 0
    for shape in ((4,), (4, 5, 6), (0, 3)):
        with pytest.raises(DataError, match="image to draw"):
            as_displayed(np.zeros(shape))


def test_one_instance_per_image_may_be_given_as_a_list() -> None:
    truth, found = RNG.uniform(5, 35, (2, 3, 2)), RNG.uniform(5, 35, (2, 3, 2))
    alike = prediction_overlay([GREY] * 2, list(truth[:, None]), list(found[:, None]), ["a", "b", "c"])
    assert figure_png(alike) == figure_png(prediction_overlay([GREY] * 2, truth, found, ["a", "b", "c"]))


def test_matched_points_are_pairs_misses_and_false_ones() -> None:
    truth = [np.array([[[10.0, 10.0], [20.0, 30.0]], [[50.0, 40.0], NAN]]), np.empty((0, 2, 2))]
    found = [np.array([[[70.0, 5.0], [20.0, 31.0]], [[13.0, 14.0], NAN]]), np.array([[NAN, [5.0, 6.0]]])]
    figure = prediction_overlay([LARGE, LARGE], truth, found, ["tip", "end"], ["one.png", ""], radius=8.0)
    first, second = figure.axes[:2]
    pairs = [np.asarray(line.get_xydata()).tolist() for line in first.get_lines() if line.get_gid() == "pair"]
    assert pairs == [[[10, 10], [13, 14]], [[20, 30], [20, 31]]]
    assert sorted(drawn(first, "annotated")) == [(10, 10), (20, 30), (50, 40)]
    assert sorted(drawn(first, "predicted")) == [(13, 14), (20, 31), (70, 5)]
    assert drawn(first, "miss") == [(50, 40)]
    assert drawn(first, "false") == [(70, 5)]
    assert first.get_title() == "one.png\n2 matched, 3.0 px; 1 missed; 1 false"
    assert sorted(text.get_text() for text in first.texts) == ["end", "tip", "tip", "tip"]
    assert second.get_title() == "0 matched; 1 false"
    key = ["annotated", "predicted", "matched", "missed", "false"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == key
    # the picture and the numbers agree
    by_landmark = [[points.swapaxes(0, 1) for points in sets] for sets in (found, truth)]
    total = detection_scores(*by_landmark, 8.0, ["tip", "end"], draws=0).total["strict"]
    assert (total.true_positives, total.misses, total.false_positives) == (2, 1, 2)
    assert figure_png(figure)


def test_matched_points_of_reduced_images_are_told_in_original_pixels() -> None:
    truth, found = np.array([[[10.0, 10.0]]] * 2), np.array([[[13.0, 14.0]]] * 2)
    figure = prediction_overlay([LARGE, LARGE], truth, found, radius=18.0, reduced=[4.0, 1.0], spacing_mm=[None, 0.5])
    # 5 px in both pictures: 20 px of the first original, beyond the radius, and 5 px of the second
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["0 matched; 1 missed; 1 false", "1 matched, 5.0 px = 2.50 mm"]
    near = prediction_overlay([LARGE], truth[:1], found[:1], radius=[20.1], reduced=[4.0])
    assert near.axes[0].get_title() == "1 matched, 20.0 px"
    at = prediction_overlay([LARGE], truth[:1], found[:1], radius=5.0)
    assert at.axes[0].get_title() == "0 matched; 1 missed; 1 false"


def test_instances_without_truth_or_annotation() -> None:
    found = [np.array([[[70.0, 5.0], [30.0, 30.0]], [[10.0, 12.0], NAN]])]
    figure = prediction_overlay([LARGE], None, found, names=["tip", "end"])
    assert sorted(drawn(figure.axes[0], "predicted")) == [(10, 12), (30, 30), (70, 5)]
    assert figure.axes[0].get_title() == ""
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["predicted"]
    # named by landmark, away from the border that is near
    assert {(t.get_text(), t.get_ha()) for t in figure.axes[0].texts if t.xy[0] == 70} == {("tip", "right")}
    assert {(t.get_text(), t.get_ha()) for t in figure.axes[0].texts if t.xy[0] == 30} == {("end", "left")}
    ignored = prediction_overlay([LARGE], [np.empty((0, 2, 2))], found, radius=5.0, annotated=[[False, False]])
    assert drawn(ignored.axes[0], "predicted") == []
    assert ignored.axes[0].get_title() == "none annotated, none predicted"


def test_what_does_not_fit_is_refused() -> None:
    one = np.zeros((1, 2, 2))
    with pytest.raises(DataError, match=r"predicted: expected \(1, K, 2\), or one \(M, K, 2\) per image, got .*, .*"):
        prediction_overlay([LARGE], None, [one, one])
    with pytest.raises(DataError, match=r"truth: expected \(1, K, 2\), .* got none"):
        prediction_overlay([LARGE], [], one)
    with pytest.raises(DataError, match=r"truth: expected \(1, 3, 2\)"):
        prediction_overlay([LARGE], one, one, ["a", "b", "c"])
    with pytest.raises(DataError, match="give a radius to match"):
        prediction_overlay([LARGE], [np.zeros((2, 2, 2))], [one[0]])
    for options in ({"radius": 5.0}, {"annotated": [[True, True]]}):
        with pytest.raises(DataError, match="truth, predicted and a radius"):
            prediction_overlay([LARGE], None, one, **options)
    with pytest.raises(ConfigError, match="radius: expected one length above 0"):
        prediction_overlay([LARGE], one, one, radius=[1.0, 2.0])
