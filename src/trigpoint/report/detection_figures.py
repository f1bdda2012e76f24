"""Precision against recall, for methods that find any number of instances."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trigpoint.errors import DataError
from trigpoint.metrics.detection_curve import PrecisionRecall
from trigpoint.report import style

_POINT: dict[str, Any] = {"marker": "o", "ms": 8, "mfc": "white", "mew": 2, "linestyle": ""}


TITLE = "Precision and recall"


def precision_recall_plot(
    curve: PrecisionRecall, names: Sequence[str], chosen: float | None = None, title: str = TITLE
) -> Figure:
    """Precision against strict recall for each of the K landmarks ``names``, and for all together.

    The legend gives the average precision (AP). ``chosen`` marks the points of that score threshold. Up to 10 landmarks
    are named; of more, all are drawn thin, the one with the highest and the one with the lowest AP named. Landmarks
    without a true instance have no recall and are left out.
    """
    if len(names) != len(curve.actual):
        raise DataError(f"precision and recall: expected {len(curve.actual)} names, one per landmark, got {len(names)}")
    figure = style.new_figure(6.4, 4.6)
    axes = figure.subplots()
    shown = [int(k) for k in np.flatnonzero(curve.actual > 0) if curve.predicted[:, k].any()]
    area = curve.average_precision()
    named = shown
    if len(shown) > style.MOST_LINES:
        ranked = sorted(shown, key=lambda k: float(area[k]))
        named = [ranked[-1], ranked[0]]
        for k in shown:
            _line(axes, curve, k, None, color=style.FAINT, linewidth=0.6, alpha=0.7)
    for i, k in enumerate(named):
        _line(axes, curve, k, chosen, label=f"{names[k]} (AP {area[k]:.3f})", linewidth=1.8, **style.line_style(i))
    if len(shown) > 1:
        pooled = curve.pooled()
        label = f"all together (AP {pooled.average_precision()[0]:.3f})"
        _line(axes, pooled, 0, chosen, label=label, color=style.INK, linewidth=2.4, linestyle=(0, (5, 2)))
    marked = chosen is not None and any(line.get_gid() == "chosen" for line in axes.get_lines())
    if marked:
        axes.plot([], [], **_POINT, color=style.MUTED, label=f"threshold {chosen:.3g}")
    _finish(axes, title, "" if shown else "nothing to find, or nothing was predicted")
    return figure


def precision_recall_of_runs(curves: Mapping[str, tuple[PrecisionRecall, float]], title: str = TITLE) -> Figure:
    """Precision against strict recall of several runs, all landmarks together; ``curves``: the run's name, its counts
    and its score threshold, which is marked."""
    figure = style.new_figure(6.4, 4.6)
    axes = figure.subplots()
    for i, (name, (curve, threshold)) in enumerate(curves.items()):
        pooled = curve.pooled()
        label = f"{name} (AP {pooled.average_precision()[0]:.3f})"
        _line(axes, pooled, 0, threshold, label=label, linewidth=1.8, **style.line_style(i))
    axes.plot([], [], **_POINT, color=style.MUTED, label="at the threshold of the run")
    _finish(axes, title, "")
    return figure


def _finish(axes: Axes, title: str, empty: str) -> None:
    """Axes, legend, and why nothing is drawn."""
    style.dress(axes, "recall (strict)", "precision", title)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    if empty:
        style.empty_note(axes, empty)
    entries = style.entries(axes)
    if 0 < len(entries) <= 6:
        axes.legend(handles=entries, frameon=False, fontsize=9, labelcolor=style.INK, loc="lower left")
    else:
        style.legend(axes)


def _line(axes: Axes, curve: PrecisionRecall, k: int, chosen: float | None, **look: Any) -> None:
    recall, precision = curve.recall()[:, k], curve.precision()[:, k]
    known = np.isfinite(precision)
    axes.plot(recall[known], precision[known], **look)
    if chosen is None:
        return
    kept = np.flatnonzero(known & (curve.levels > chosen))
    if kept.size:  # the lowest score that still counts
        at = kept[-1]
        axes.plot([recall[at]], [precision[at]], **_POINT, color=look["color"], gid="chosen", zorder=5)
