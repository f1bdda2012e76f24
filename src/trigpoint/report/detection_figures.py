"""Figures of several instances per image: precision against recall, and instances over their images.

Drawn with the same matching and counts as the numbers: strictly, a pair nearer than the radius.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.detection import PerLandmark, cells, match_instances, radii
from trigpoint.metrics.detection_curve import PrecisionRecall
from trigpoint.report import style
from trigpoint.report.overlays import ImageArray, image_panels

_EDGE = [withStroke(linewidth=2.4, foreground="#000000b0")]
_MOST_LINES = 10  # more curves than this cannot be told apart
_WRONG = "#ff5a5f"
_NAMED = 12  # with more landmarks than this the names would hide the image


def precision_recall_plot(curve: PrecisionRecall, names: Sequence[str], chosen: float | None = None) -> Figure:
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
    if len(shown) > _MOST_LINES:
        ranked = sorted(shown, key=lambda k: float(area[k]))
        named = [ranked[-1], ranked[0]]
        for k in shown:
            _line(axes, curve, k, None, color="#9aa5b0", linewidth=0.6, alpha=0.7)
    for i, k in enumerate(named):
        _line(axes, curve, k, chosen, label=f"{names[k]} (AP {area[k]:.3f})", linewidth=1.8, **style.line_style(i))
    if len(shown) > 1:
        pooled = curve.pooled()
        label = f"all together (AP {pooled.average_precision()[0]:.3f})"
        _line(axes, pooled, 0, chosen, label=label, color=style.INK, linewidth=2.4, linestyle=(0, (5, 2)))
    marked = chosen is not None and any(line.get_gid() == "chosen" for line in axes.get_lines())
    if marked:
        axes.plot([], [], **_POINT, color=style.MUTED, label=f"threshold {chosen:.3g}")
    style.dress(axes, "recall (strict)", "precision", "Precision and recall")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    if not shown:
        style.empty_note(axes, "nothing to find, or nothing was predicted")
    entries = len(axes.get_legend_handles_labels()[0])
    if 0 < entries <= 6:
        axes.legend(frameon=False, fontsize=9, labelcolor=style.INK, loc="lower left")
    else:
        style.legend(axes, entries)
    return figure


def instance_overlay(
    images: Sequence[ImageArray],
    truth: PerLandmark | None,
    predicted: PerLandmark,
    radius: npt.ArrayLike = 20.0,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    columns: int = 3,
    annotated: npt.ArrayLike | None = None,
    reduced: Sequence[float] | None = None,
) -> Figure:
    """Annotated instances as rings, predicted ones as crosses, one panel per image.

    ``truth[i][k]`` (M, 2) and ``predicted[i][k]`` (N, 2) are in pixels of the images, truth may be None. A line joins
    the two of a pair; a square stands around an annotation that was missed and around a false prediction. ``radius``,
    one or one per image, is in pixels of the original, ``reduced`` how many times smaller each image and its points are
    shown. What ``annotated`` (I, K) excludes is not drawn. Up to 12 landmarks are labelled with ``names``. Captions
    gain the counts of their image and the mean distance of its pairs, in pixels of the original.
    """
    count = len(images)
    if len(predicted) != count or (truth is not None and len(truth) != count):
        other = "none" if truth is None else len(truth)
        raise DataError(
            f"overlay: expected points of {count} images, got {len(predicted)} predicted, {other} annotated"
        )
    texts = style.captions_or_blank(captions, count)
    times = np.ones(count) if reduced is None else np.asarray(reduced, dtype=np.float64)
    within = radii(radius, count) / times
    # Without truth every landmark is empty: there is nothing to match, and nothing to be told apart.
    given = [[[] for _ in of_image] for of_image in predicted] if truth is None else truth
    marks = [_Marks([], [], [], [], []) for _ in range(count)]
    for i, k, p, t, _ in cells(predicted, given, None, annotated) if count else ():
        marks[i].add(p, t, float(within[i]), names[k] if 0 < len(names) <= _NAMED else "")
    if truth is not None:
        told = [mark.told(float(scale)) for mark, scale in zip(marks, times, strict=True)]
        texts = ["\n".join(part for part in pair if part) for pair in zip(texts, told, strict=True)]
    figure, panels = image_panels(images, texts, columns)
    for axes, mark in zip(panels, marks, strict=True):
        mark.draw(axes, told_apart=truth is not None)
    _key(figure, truth is not None)
    return figure


_RING: dict[str, Any] = {"marker": "o", "markersize": 6.5, "markerfacecolor": "none", "linestyle": ""}
_CROSS: dict[str, Any] = {"marker": "x", "markersize": 5, "linestyle": ""}
_SQUARE: dict[str, Any] = {"marker": "s", "markersize": 11, "markerfacecolor": "none", "linestyle": ""}
_POINT: dict[str, Any] = {
    "marker": "o",
    "markersize": 8,
    "markerfacecolor": "white",
    "markeredgewidth": 2,
    "linestyle": "",
}


@dataclass(frozen=True)
class _Marks:
    """What is drawn into one image: pairs (annotated, predicted), lone points, names above (0) or below (1) points."""

    pairs: list[tuple[FloatArray, FloatArray]]
    misses: list[FloatArray]
    false: list[FloatArray]
    labels: list[tuple[str, FloatArray, int]]
    near: list[float]

    def add(self, pred: FloatArray, truth: FloatArray, radius: float, name: str) -> None:
        """Match the instances of one landmark and sort them in."""
        found = match_instances(pred, truth, radius, inclusive=False)
        self.pairs.extend((truth[j], pred[i]) for i, j in zip(found.pred, found.truth, strict=True))
        self.near.extend(found.distance.tolist())
        missed, invented = np.delete(truth, found.truth, axis=0), np.delete(pred, found.pred, axis=0)
        self.misses.extend(missed)
        self.false.extend(invented)
        # the name of a false prediction goes below it: the right one is often close by
        self.labels.extend((name, point, below) for below, to in enumerate((truth, invented)) for point in to if name)

    def told(self, scale: float) -> str:
        """The counts in words."""
        parts = [f"{len(self.pairs)} matched" + (f", {scale * float(np.mean(self.near)):.1f} px" if self.near else "")]
        parts += [f"{len(self.misses)} missed"] if self.misses else []
        parts += [f"{len(self.false)} false"] if self.false else []
        return "; ".join(parts) if self.pairs or self.misses or self.false else "none annotated, none predicted"

    def draw(self, axes: Axes, told_apart: bool) -> None:
        for a, b in self.pairs:
            axes.plot([a[0], b[0]], [a[1], b[1]], color="#ffffff", linewidth=1.1, path_effects=_EDGE, gid="pair")
        rings = [*(a for a, _ in self.pairs), *self.misses]
        crosses = [*(b for _, b in self.pairs), *self.false]
        layers = [("annotated", rings, style.TRUTH, 1.3, _RING), ("predicted", crosses, style.PREDICTED, 1.5, _CROSS)]
        if told_apart:
            layers += [("miss", self.misses, _WRONG, 1.6, _SQUARE), ("false", self.false, _WRONG, 1.6, _SQUARE)]
        for gid, points, colour, width, look in layers:
            if points:
                x, y = np.stack(points).T
                axes.plot(x, y, color=colour, markeredgewidth=width, path_effects=_EDGE, gid=gid, **look)
        left, right = axes.get_xlim()
        for name, point, below in self.labels:
            inward = -1 if point[0] > left + 0.75 * (right - left) else 1  # away from the right border
            place: dict[str, Any] = {
                "xytext": (7 * inward, -12 if below else 5),
                "textcoords": "offset points",
                "annotation_clip": True,
                "ha": "right" if inward < 0 else "left",
            }
            axes.annotate(name, (point[0], point[1]), color="white", fontsize=7, path_effects=_EDGE, **place)


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


def _key(figure: Figure, told_apart: bool) -> None:
    ring = Line2D([], [], color="#2f8fc9", markeredgewidth=1.6, label="annotated", **_RING)
    cross = Line2D([], [], color="#c98a00", markeredgewidth=1.6, label="predicted", **_CROSS)
    handles: list[Any] = [cross]
    labels = ["predicted"]
    if told_apart:
        square = Line2D([], [], color=_WRONG, markeredgewidth=1.6, **_SQUARE)
        handles = [ring, cross, Line2D([], [], color=style.MUTED, linewidth=1.2), (square, ring), (square, cross)]
        labels = ["annotated", "predicted", "matched", "missed", "false"]
    overlaid = {tuple: HandlerTuple(ndivide=1)}
    place: dict[str, Any] = {"loc": "outside lower center", "ncols": len(labels), "frameon": False, "fontsize": 9}
    figure.legend(handles, labels, handler_map=overlaid, **place)
