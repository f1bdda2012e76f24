"""Annotated and predicted points over images, one instance of each landmark or any number.

Every panel is drawn in the pixel coordinates of its own image, so points go in unchanged.
"""

from collections.abc import Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Spacing, spacing_pair
from trigpoint.report import style
from trigpoint.report.displayed import ImageArray, as_displayed
from trigpoint.report.palette import MISTAKEN

PerImage = FloatArray | Sequence[FloatArray]  # (N, K, 2), or one (M, K, 2) for each image

_NOWHERE = np.full(2, np.nan)
_SQUARE: dict[str, Any] = {"color": MISTAKEN, "marker": "s", "ms": 11, "mfc": "none", "mew": 1.6, "linestyle": ""}


def image_panels(images: Sequence[ImageArray], captions: Sequence[str], columns: int) -> tuple[Figure, list[Axes]]:
    """A grid of images, (H, W) or (C, H, W) with C of 1 or 3, or (H, W, 3); returns the figure and one axes each.

    Raises DataError for no image or an array that is no image.
    """
    if len(images) == 0:
        raise DataError("overlay: expected at least one image, got none; give the images to draw")
    texts = style.captions_or_blank(captions, len(images))
    pictures = [as_displayed(image) for image in images]
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    side = min(3.2, 13.0 / columns)
    shape = float(np.median([picture.shape[0] / picture.shape[1] for picture in pictures]))
    height = rows * (side * min(max(shape, 0.4), 2.5) + 0.3) + 0.35
    figure = style.new_figure(columns * side, height)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = [axes for line in grid for axes in line]
    for axes in panels:
        axes.set_axis_off()
    for axes, picture, text in zip(panels, pictures, texts, strict=False):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        style.caption(axes, text)
    return figure, panels[: len(images)]


def prediction_overlay(
    images: Sequence[ImageArray],
    truth: PerImage | None,
    predicted: PerImage | None,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    columns: int = 4,
    spacing_mm: Sequence[float | Sequence[float] | None] | None = None,
    reduced: Sequence[float] | None = None,
    radius: npt.ArrayLike | None = None,
    annotated: npt.ArrayLike | None = None,
) -> Figure:
    """True points as rings, predicted points as crosses, a line between the two of a pair, one panel per image.

    ``truth`` and ``predicted`` are (N, K, 2), or one (M, K, 2) for each image, M instances of K landmarks, in pixels of
    the images, NaN = missing; either may be None. ``reduced``: how many times smaller each image and its points are
    shown; errors are given in px of the original, and in mm where ``spacing_mm`` states it (one number, or x and y). Up
    to 12 landmarks are labelled with ``names``.

    Without ``radius`` the points are compared one by one, and captions gain the mean error of the image. With it (one,
    or one per image, pixels of the original) they are matched and counted as in ``metrics.detection_scores``: a pair is
    nearer than the radius, a square stands around a missed annotation and around a false prediction, and what
    ``annotated`` (N, K) excludes is not drawn. Raises DataError for shapes that do not fit.
    """
    count = len(images)
    true = None if truth is None else _instances("truth", truth, count, names)
    found = None if predicted is None else _instances("predicted", predicted, count, names)
    times = np.ones(count) if reduced is None else np.asarray(reduced, dtype=np.float64)
    spacings = [None] * count if spacing_mm is None else [spacing_pair(given) for given in spacing_mm]
    if radius is None and annotated is None:
        shown = _in_order(true, found, count)
    elif radius is None or true is None or found is None:
        raise DataError("overlay: expected truth, predicted and a radius to match them, got not all; give all or none")
    else:
        from trigpoint.metrics.detection import radii

        shown = matched_points(true, found, radii(radius, count) / times, annotated)
    texts = style.captions_or_blank(captions, count)
    if true is not None and found is not None:
        tell = _error if radius is None else counts_told
        told = [tell(one, float(scale), mm) for one, scale, mm in zip(shown, times, spacings, strict=True)]
        texts = ["\n".join(part for part in pair if part) for pair in zip(texts, told, strict=True)]
    figure, panels = image_panels(images, texts, columns)
    for axes, one in zip(panels, shown, strict=True):
        if radius is None:
            draw_points(axes, None if true is None else one.truth, None if found is None else one.predicted, names)
        else:
            _draw_matched(axes, one, names)
    _key(figure, true is not None, found is not None, matched=radius is not None)
    return figure


class Shown(NamedTuple):
    """Points of one image, (P, 2) each: row p of both is a pair, NaN = no partner; ``landmark`` (P,) says of which.

    ``matched``: pairs were found by distance, so a point without a partner is a miss or a false prediction.
    """

    truth: FloatArray
    predicted: FloatArray
    landmark: Sequence[int] = ()
    matched: bool = False


def _instances(what: str, points: PerImage, count: int, names: Sequence[str]) -> list[FloatArray]:
    """One array (M, K, 2) for each image."""
    given = [np.asarray(of_image, dtype=np.float64) for of_image in points]
    made = [of_image[None] if of_image.ndim == 2 else of_image for of_image in given]
    if len(made) != count or any(p.ndim != 3 or p.shape[1:] != (len(names) or made[0].shape[1], 2) for p in made):
        of_each = f"{len(names) or 'K'}, 2)"
        got = ", ".join(str(of_image.shape) for of_image in given) or "none"
        raise DataError(f"overlay: {what}: expected ({count}, {of_each}, or one (M, {of_each} per image, got {got}")
    return made


def _in_order(truth: list[FloatArray] | None, predicted: list[FloatArray] | None, count: int) -> list[Shown]:
    given = truth or predicted or [np.empty((0, 0, 2))] * count
    shown = []
    for i, like in enumerate(given):
        a, b = (np.full_like(like, np.nan) if points is None else points[i] for points in (truth, predicted))
        if a.shape != b.shape:
            raise DataError(
                f"overlay: truth {a.shape}, predicted {b.shape}: expected them alike; give a radius to match"
            )
        shown.append(Shown(a.reshape(-1, 2), b.reshape(-1, 2)))
    return shown


def matched_points(
    truth: list[FloatArray], predicted: list[FloatArray], radius: FloatArray, annotated: npt.ArrayLike | None
) -> list[Shown]:
    """Pairs, misses and false predictions of each image, nearer than ``radius`` (N,), as ``prediction_overlay``."""
    from trigpoint.metrics.detection import cells, match_instances  # with SciPy, which drawing itself does not need

    rows: list[list[tuple[FloatArray, FloatArray, int]]] = [[] for _ in truth]
    found, true = ([list(one.swapaxes(0, 1)) for one in points] for points in (predicted, truth))
    for i, k, p, t, _ in cells(found, true, None, annotated) if rows else ():
        match = match_instances(p, t, float(radius[i]), inclusive=False)
        rows[i] += [(t[b], p[a], k) for a, b in zip(match.pred, match.truth, strict=True)]
        rows[i] += [(missed, _NOWHERE, k) for missed in np.delete(t, match.truth, axis=0)]
        rows[i] += [(_NOWHERE, false, k) for false in np.delete(p, match.pred, axis=0)]
    pairs = [np.array([row[:2] for row in of_image]).reshape(-1, 2, 2) for of_image in rows]
    return [
        Shown(p[:, 0], p[:, 1], [row[2] for row in of_image], True) for p, of_image in zip(pairs, rows, strict=True)
    ]


def skeleton_lines(landmarks: LandmarkSet, points: FloatArray) -> FloatArray:
    """The two ends (L, 2, 2) of each line of the skeleton, of the points (K, 2) of one instance; NaN = missing.

    >>> marks = LandmarkSet(("a", "b", "c"), skeleton=(("c", "a"),))
    >>> skeleton_lines(marks, np.array([[1.0, 2.0], [0.0, 0.0], [5.0, 6.0]])).tolist()
    [[[5.0, 6.0], [1.0, 2.0]]]
    """
    ends = [[landmarks.index(name) for name in line] for line in landmarks.skeleton]
    lines: FloatArray = np.asarray(points, dtype=np.float64)[np.array(ends, dtype=int).reshape(-1, 2)]
    return lines


def draw_points(axes: Axes, truth: FloatArray | None, predicted: FloatArray | None, names: Sequence[str] = ()) -> None:
    """Rings, crosses and error lines of one image, points (P, 2), NaN is not drawn; ``names`` start over at each
    instance."""
    if truth is not None and predicted is not None:
        for a, b in zip(truth, predicted, strict=True):
            if np.isfinite([*a, *b]).all():
                axes.plot([a[0], b[0]], [a[1], b[1]], color="#ffffff", lw=1.1, path_effects=style.EDGE, gid="pair")
    shown = truth if truth is not None else predicted
    many = shown is not None and len(shown) > 30
    look: dict[str, Any] = {"linestyle": "", "path_effects": style.EDGE}
    if truth is not None:
        ring = {**look, "marker": "o", "ms": 4.8 if many else 6.5, "mfc": "none", "mew": 1.2}
        axes.plot(*truth.T, color=style.TRUTH, gid="annotated", **ring)
    if predicted is not None:
        cross = {**look, "marker": "x", "ms": 3.2 if many else 5, "mew": 1.4}
        axes.plot(*predicted.T, color=style.PREDICTED, gid="predicted", **cross)
    if shown is not None and len(names) <= style.NAMED:
        for name, point in zip(cycle(names), shown, strict=False):
            if np.isfinite(point).all():
                style.note(axes, name, point)


def _draw_matched(axes: Axes, shown: Shown, names: Sequence[str]) -> None:
    """Points, squares around those without a partner, and names."""
    truth, predicted, landmark, _ = shown
    draw_points(axes, truth, predicted)
    for gid, points, others in (("miss", truth, predicted), ("false", predicted, truth)):
        axes.plot(*points[np.isnan(others[:, 0])].T, gid=gid, path_effects=style.EDGE, **_SQUARE)
    if not 0 < len(names) <= style.NAMED:
        return
    for a, b, k in zip(truth, predicted, landmark, strict=True):
        # the name of a false prediction goes below it: the right one is often close by
        style.note(axes, names[k], *((b, (7, -12)) if np.isnan(a[0]) else (a, (7, 5))))


def mean_error(truth: FloatArray, predicted: FloatArray) -> tuple[float, int]:
    """Mean distance of points (P, 2) that are annotated and predicted (NaN = none are), and how many are not predicted.

    >>> mean_error(np.array([[0.0, 0.0], [9.0, 9.0]]), np.array([[3.0, 4.0], [np.nan, np.nan]]))
    (5.0, 1)
    """
    annotated, given = np.isfinite(truth).all(axis=-1), np.isfinite(predicted).all(axis=-1)
    errors = np.linalg.norm(truth[annotated & given] - predicted[annotated & given], axis=-1)
    return float(errors.mean()) if errors.size else np.nan, int((annotated & ~given).sum())


def _error(shown: Shown, scale: float, spacing: Spacing | None) -> str:
    mean, lost = mean_error(shown.truth, shown.predicted)
    error = "no error known" if np.isnan(mean) else f"error {_length(shown, scale, 2, spacing)}"
    return error + (f", {lost} not predicted" if lost else "")


def counts_told(shown: Shown, scale: float = 1.0, spacing: Spacing | None = None) -> str:
    """How many of the points of an image are matched, missed and false, in words."""
    if not len(shown.truth):
        return "none annotated, none predicted"
    mean, missed = mean_error(shown.truth, shown.predicted)
    false = int(np.isnan(shown.truth[:, 0]).sum())
    matched = f"{len(shown.truth) - missed - false} matched"
    parts = [matched if np.isnan(mean) else f"{matched}, {_length(shown, scale, 1, spacing)}"]
    return "; ".join(parts + [f"{n} {what}" for n, what in ((missed, "missed"), (false, "false")) if n])


def _length(shown: Shown, scale: float, digits: int, spacing: Spacing | None) -> str:
    """The mean error in px of the original, and in mm."""
    pixels = scale * mean_error(shown.truth, shown.predicted)[0]
    text = f"{pixels:.{digits}f} px"
    if spacing is None:
        return text
    if spacing[0] == spacing[1]:
        return text + f" = {pixels * spacing[0]:.2f} mm"
    return text + f" = {scale * mean_error(shown.truth * spacing, shown.predicted * spacing)[0]:.2f} mm"


def _key(figure: Figure, truth: bool, predicted: bool, matched: bool) -> None:
    ring, cross = style.ring(), style.cross()
    marks: dict[str, Any] = {"annotated": ring} if truth else {}
    if predicted:
        marks["predicted"] = cross
    if truth and predicted:
        marks["matched" if matched else "error"] = style.stroke()
    if matched:
        square = Line2D([], [], **_SQUARE)
        marks |= {"missed": (square, ring), "false": (square, cross)}
    style.key(figure, marks)
