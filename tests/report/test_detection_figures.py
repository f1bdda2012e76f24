from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trigpoint.errors import DataError
from trigpoint.metrics import PrecisionRecall, precision_recall
from trigpoint.report.detection_figures import precision_recall_plot
from trigpoint.report.style import figure_png


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
    counts = (one.true_positives[:, columns], one.predicted[:, columns], one.actual[columns])
    many = PrecisionRecall(one.levels, *counts)
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
