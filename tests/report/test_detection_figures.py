from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trigpoint.errors import ConfigError, DataError
from trigpoint.metrics import PrecisionRecall, detection_scores, precision_recall
from trigpoint.report.detection_figures import instance_overlay, precision_recall_plot
from trigpoint.report.style import figure_png

GREY = np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8)


def drawn(axes: Axes, gid: str) -> list[tuple[float, float]]:
    """Points of the one line with this mark."""
    lines = [line for line in axes.get_lines() if line.get_gid() == gid]
    assert len(lines) <= 1, gid
    return [(float(x), float(y)) for line in lines for x, y in np.asarray(line.get_xydata())]


def labelled(figure: Figure) -> dict[str, Line2D]:
    return {
        str(line.get_label()): line for line in figure.axes[0].get_lines() if not str(line.get_label()).startswith("_")
    }


def a_curve() -> PrecisionRecall:
    truth = [[[[0.0, 0.0]], [[50.0, 50.0]], []], [[[10.0, 0.0]], [], []]]
    found = [[[[1.0, 0.0], [90.0, 0.0]], [[50.0, 51.0]], [[3.0, 3.0]]], [[[10.0, 2.0]], [[5.0, 5.0]], []]]
    return precision_recall(found, truth, [[[0.9, 0.8], [0.7], [0.5]], [[0.6], [0.65], []]], 5)


def test_curves_and_their_chosen_points() -> None:
    figure = precision_recall_plot(a_curve(), ["tip", "end", "never there"], chosen=0.64)
    lines = labelled(figure)
    # all together: precision 1, 2/3 and 3/5 at recalls of 1/3, 2/3 and 1
    assert list(lines) == ["tip (AP 0.833)", "end (AP 1.000)", "all together (AP 0.756)", "threshold 0.64"]
    tip, end = lines["tip (AP 0.833)"], lines["end (AP 1.000)"]
    assert np.asarray(tip.get_xdata()).tolist() == [0.5, 0.5, 0.5, 0.5, 1.0, 1.0]
    assert np.asarray(tip.get_ydata()).tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1 / 2, 2 / 3, 2 / 3])
    assert np.asarray(end.get_ydata()).tolist() == [1.0, 0.5, 0.5, 0.5]  # nothing predicted above 0.7: not drawn
    chosen = [line.get_xydata().tolist()[0] for line in figure.axes[0].get_lines() if line.get_gid() == "chosen"]
    assert chosen == [[0.5, 0.5], [1.0, 0.5], pytest.approx([2 / 3, 2 / 4])]
    assert figure_png(figure)
    assert "threshold" not in " ".join(labelled(precision_recall_plot(a_curve(), ["a", "b", "c"])))
    unreached = precision_recall_plot(a_curve(), ["a", "b", "c"], chosen=0.95)
    assert not [line for line in unreached.axes[0].get_lines() if line.get_gid() == "chosen"]
    with pytest.raises(DataError, match="expected 3 names"):
        precision_recall_plot(a_curve(), ["tip"])


def test_of_many_landmarks_the_best_and_the_worst_are_named() -> None:
    one = a_curve()
    columns = [0] * 11 + [1]
    many = PrecisionRecall(
        one.levels, *(v[:, columns] for v in (one.true_positives, one.predicted, one.fewer)), one.actual[columns]
    )
    figure = precision_recall_plot(many, [f"p{k}" for k in range(12)])
    names = list(labelled(figure))
    assert names[0] == "p11 (AP 1.000)"
    assert names[1].endswith("(AP 0.833)")
    assert len(names) == 3
    assert len(figure.axes[0].get_lines()) == 12 + 3


def test_a_curve_of_nothing_says_so() -> None:
    empty = precision_recall([[[]]], [[[[1.0, 1.0]]]], [[[]]], 5)
    texts = [text.get_text() for text in precision_recall_plot(empty, ["tip"], chosen=0.5).axes[0].texts]
    assert texts == ["nothing to find, or nothing was predicted"]


def test_overlay_tells_pairs_misses_and_false_ones_apart() -> None:
    truth = [[np.array([[10.0, 10.0], [50.0, 40.0]]), np.array([[20.0, 30.0]])], [np.empty((0, 2)), np.empty((0, 2))]]
    found = [
        [np.array([[70.0, 5.0], [13.0, 14.0]]), np.array([[20.0, 31.0]])],
        [np.empty((0, 2)), np.array([[5.0, 6.0]])],
    ]
    figure = instance_overlay([GREY, GREY], truth, found, 8.0, ["tip", "end"], ["one.png", ""])
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
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "annotated",
        "predicted",
        "matched",
        "missed",
        "false",
    ]
    # the picture and the numbers agree
    total = detection_scores(found, truth, 8.0, ["tip", "end"], draws=0).total["strict"]
    assert (total.true_positives, total.misses, total.false_positives) == (2, 1, 2)
    assert figure_png(figure)


def test_overlay_of_reduced_images_tells_distances_of_the_original() -> None:
    truth, found = [[[[10.0, 10.0]]]] * 2, [[[[13.0, 14.0]]]] * 2
    figure = instance_overlay([GREY, GREY], truth, found, 18.0, reduced=[4.0, 1.0])
    # 5 px in both pictures: 20 px of the first original, beyond the radius, and 5 px of the second
    assert [axes.get_title() for axes in figure.axes] == ["0 matched; 1 missed; 1 false", "1 matched, 5.0 px"]
    near = instance_overlay([GREY], truth[:1], found[:1], 20.1, reduced=[4.0])
    assert near.axes[0].get_title() == "1 matched, 20.0 px"
    assert instance_overlay([GREY], truth[:1], found[:1], 5.0).axes[0].get_title() == "0 matched; 1 missed; 1 false"


def test_overlay_without_truth_or_annotation() -> None:
    found = [[[[70.0, 5.0], [10.0, 12.0]], []]]
    figure = instance_overlay([GREY], None, found, names=["tip", "end"])
    assert sorted(drawn(figure.axes[0], "predicted")) == [(10, 12), (70, 5)]
    assert drawn(figure.axes[0], "false") == []
    assert figure.axes[0].get_title() == ""
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["predicted"]
    # away from the border that is near
    assert {t.get_ha() for t in figure.axes[0].texts if t.xy[0] == 70} == {"right"}
    assert {t.get_ha() for t in figure.axes[0].texts if t.xy[0] == 10} == {"left"}
    ignored = instance_overlay([GREY], [[[], []]], found, annotated=[[False, True]])
    assert drawn(ignored.axes[0], "predicted") == []
    assert ignored.axes[0].get_title() == "none annotated, none predicted"


def test_overlay_refuses_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="points of 1 images, got 2 predicted, none annotated"):
        instance_overlay([GREY], None, [[[]], [[]]])
    with pytest.raises(DataError, match="1 predicted, 0 annotated"):
        instance_overlay([GREY], [], [[[]]])
    with pytest.raises(DataError, match="at least one image"):
        instance_overlay([], None, [])
    with pytest.raises(ConfigError, match="captions"):
        instance_overlay([GREY], None, [[[]]], captions=["a", "b"])
