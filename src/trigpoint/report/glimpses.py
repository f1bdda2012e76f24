"""Figures of the foveated pyramid: where the guess went, and what the network saw there.

Pure drawing. All points, and the corners of the patches, are (x, y) in pixels of the original image; a patch
is drawn over the extent between its corners, so what lies on top of one another in the figure does so in the image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trigpoint.errors import DataError
from trigpoint.geometry import from_grid
from trigpoint.landmarks import FloatArray
from trigpoint.report import patches, style
from trigpoint.report.displayed import as_displayed
from trigpoint.report.overlays import draw_points

_TEXT: dict[str, Any] = {"fontsize": 8, "color": "white", "path_effects": style.EDGE}
_APART = 19.0  # points on paper between two guesses whose numbers can both be read
_MARGIN = 10.0  # points on paper from a guess to the middle of its number, and from that to the edge
_SMALLEST = 20.0  # pixels shown of the last moves at least


def guess_path(
    image: npt.NDArray[Any],
    path: FloatArray,
    squares: FloatArray,
    truth: FloatArray | None = None,
    names: Sequence[str] = (),
    factor: float = 1.0,
    stacks: tuple[npt.NDArray[Any], FloatArray] | None = None,
) -> Figure:
    """The path of the guess over the image, and beside it the last moves enlarged; one such pair per landmark.

    ``image`` is ``factor`` times smaller than the original; ``path`` (T + 1, K, 2), guess 0 being the start;
    ``squares`` (K, L, 2, 2) the corners of the patches of the first glimpse, drawn faintly; ``truth`` (K, 2), NaN =
    missing. ``stacks``: glimpses (K, L, C, g, g) at the end of the path and their corners (K, L, 2, 2); the
    enlargement shows them where they reach, finest on top, and the reduced image elsewhere. Guesses too close together
    to be numbered one by one share a label. Raises DataError for shapes that do not fit.
    """
    path = np.asarray(path, dtype=np.float64)
    if path.ndim != 3 or path.shape[2] != 2 or path.shape[1] < 1:
        raise DataError(f"path: expected (T + 1, K, 2) with K of at least 1, got {path.shape}")
    count = path.shape[1]
    patches.expect("squares", squares, (count, None, 2, 2))
    true = patches.points_or_nan("truth", truth, count)
    labels = style.captions_or_blank(names, count)
    picture = as_displayed(image)
    extent = _image_extent(picture.shape[0], picture.shape[1], factor)
    figure, pairs, inches = _pairs(count, picture.shape[0] / picture.shape[1])
    for k, (whole, near) in enumerate(pairs):
        for axes in (whole, near):
            patches.show(axes, picture, extent)
        for (left, top), (right, bottom) in np.asarray(squares[k]):
            patches.outline(whole, left, top, right, bottom)
        window = _last_moves(path[:, k], true[k])
        if stacks is not None:
            _foveated(near, np.asarray(stacks[0][k]), np.asarray(stacks[1][k]))
        near.set(xlim=window[:2], ylim=window[2:])
        for axes in (whole, near):
            _draw_path(axes, path[:, k], true[k], inches)
        start = float(np.linalg.norm(path[-1, k] - path[0, k]))
        error = float(np.linalg.norm(path[-1, k] - true[k]))
        told = "" if np.isnan(error) else f", error {error:.2f} px"
        style.caption(whole, f"{labels[k]}{', ' if labels[k] else ''}moved {start:.0f} px in {len(path) - 1} steps")
        style.caption(near, f"{window[1] - window[0]:.0f} px around the end{told}")
    dots: dict[str, Any] = {"marker": "o", "mfc": style.ON_WHITE[style.PREDICTED], "mew": 0, "lw": 1.2}
    square: dict[str, Any] = {"marker": "s", "ms": 8, "mfc": "none", "linestyle": ""}
    marks = {
        "guesses, 0 = start": Line2D([], [], color=style.MUTED, **dots),
        "patches of the first glimpse": Line2D([], [], color=style.FAINT, **square),
    }
    style.key(figure, marks | _annotated(true))
    return figure


def glimpse_stack(
    glimpses: npt.NDArray[Any],
    extents: FloatArray,
    found: FloatArray,
    truth: FloatArray | None = None,
    names: Sequence[str] = (),
) -> Figure:
    """The patches that the network sees at each landmark, finest first, a row per landmark.

    ``glimpses`` (K, L, C, g, g) in any intensities, one grey scale per row; ``extents`` (K, L, 2, 2) their corners, of
    which the title gives the width in pixels; the outline in a patch is the patch before it. ``found`` (K, 2) as
    crosses and ``truth`` (K, 2), NaN = missing, as rings, where they lie inside. Raises DataError for shapes that do
    not fit.
    """
    stacks, corners = patches.stacks_of(glimpses, extents)
    count, levels = stacks.shape[:2]
    crosses, rings = patches.points_or_nan("found", found, count), patches.points_or_nan("truth", truth, count)
    labels = style.captions_or_blank(names, count)
    figure, rows = _rows_of_panels(count, levels)
    for k in range(count):
        shown = patches.grey_scale(stacks[k])
        for level in range(levels):
            axes = rows[k][level]
            extent = patches.extent_of(corners[k, level])
            patches.show(axes, shown[level], extent)
            if level:
                patches.outline(axes, *corners[k, level - 1].ravel())
            ring, cross = (patches.if_inside(points[k], extent) for points in (rings, crosses))
            draw_points(axes, ring[None], cross[None])
            style.caption(axes, f"{extent[1] - extent[0]:.0f} px")
        error = float(np.linalg.norm(crosses[k] - rings[k]))
        about = [labels[k], "" if np.isnan(error) else f"error {error:.2f} px"]
        patches.label_row(rows[k][0], "\n".join(text for text in about if text))
    style.key(figure, {"found": style.cross()} | _annotated(rings))
    return figure


def _annotated(points: FloatArray) -> dict[str, Line2D]:
    """The ring of the key, where there is any."""
    return {"annotated": style.ring()} if np.isfinite(points).any() else {}


def _pairs(count: int, shape: float) -> tuple[Figure, list[tuple[Axes, Axes]], float]:
    """``count`` pairs of panels, an image ``shape`` times as high as wide and a square; how high they are in inches."""
    across = 1 if count == 1 else 2
    rows = -(-count // across)
    high = {1: 4.6, 2: 3.3}.get(count, 3.1)
    wide = high / min(max(shape, 0.5), 2.0)
    figure = style.new_figure(across * (wide + high + 0.3), rows * (high + 0.35) + 0.4)
    grid = figure.subplots(rows, 2 * across, squeeze=False, width_ratios=[wide, high] * across)
    flat = [axes for line in grid for axes in line]
    for axes in flat[2 * count :]:
        axes.set_axis_off()
    return figure, [(flat[2 * k], flat[2 * k + 1]) for k in range(count)], high


def _rows_of_panels(count: int, levels: int) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a row of ``levels`` square panels for each of ``count``; two rows abreast where there are few."""
    abreast = 2 if count > 2 and levels <= 4 else 1
    lines, columns = -(-count // abreast), abreast * levels
    side = min(2.2, 13.0 / columns)
    figure = style.new_figure(max(columns * side + 0.5 * abreast, 4.0), lines * (side + 0.3) + 0.45)
    grid = figure.subplots(lines, columns, squeeze=False)
    rows = [list(line[i : i + levels]) for line in grid for i in range(0, columns, levels)]
    for axes in (axes for row in rows[count:] for axes in row):
        axes.set_axis_off()
    return figure, rows[:count]


def _foveated(axes: Axes, stack: npt.NDArray[Any], corners: FloatArray) -> None:
    """The patches of one stack over one another, the finest on top."""
    for picture, edges in reversed(list(zip(patches.grey_scale(stack), corners, strict=True))):
        patches.show(axes, picture, patches.extent_of(edges))


def _draw_path(axes: Axes, path: FloatArray, true: FloatArray, inches: float) -> None:
    """Line, dots and numbers of one path (T + 1, 2), and the true point."""
    line: dict[str, Any] = {"color": "white", "linewidth": 1.1, "path_effects": style.EDGE, "zorder": 3}
    axes.plot(*path.T, **line)
    dots: dict[str, Any] = {"marker": "o", "markersize": 4.2, "linestyle": "", "markeredgecolor": "#000000b0"}
    axes.plot(*path.T, color=style.PREDICTED, markeredgewidth=0.6, zorder=4, **dots)
    draw_points(axes, true[None], None)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    shown = [i for i, p in enumerate(path) if left <= p[0] <= right and top <= p[1] <= bottom]
    point = max(right - left, bottom - top) / (72 * inches)  # a point on paper, in pixels
    low, high = np.array([left, top]) + _MARGIN * point, np.array([right, bottom]) - _MARGIN * point
    for at, text in numbered(path, shown, _APART * point):
        # away from the other guesses, so that no number hides one, but inside the panel
        away = at - path[shown].mean(axis=0)
        length = float(np.linalg.norm(away))
        place = at + _MARGIN * point * (away / length if length > point else np.array([0.7, -0.7]))
        x, y = np.clip(place, low, high)
        axes.text(x, y, text, ha="center", va="center", zorder=5, **_TEXT)


def numbered(path: FloatArray, shown: Sequence[int], reach: float) -> list[tuple[FloatArray, str]]:
    """Labels of the guesses ``shown``, later ones first; those closer than ``reach`` to a labelled one join it.

    >>> [text for _, text in numbered(np.array([[0.0, 0], [90, 0], [99, 0], [100, 0]]), range(4), 15.0)]
    ['1-3', '0']
    """
    groups: list[list[int]] = []
    for i in sorted(shown, reverse=True):
        near = [group for group in groups if np.linalg.norm(path[group[0]] - path[i]) < reach]
        if near:
            near[0].append(i)
        else:
            groups.append([i])
    return [(path[group[0]], _spoken(sorted(group))) for group in groups]


def _spoken(numbers: list[int]) -> str:
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(map(str, numbers))


def _last_moves(path: FloatArray, true: FloatArray) -> patches.Extent:
    """A square around the end of the path that shows the last two moves and a true point that is not far off."""
    end = path[-1]
    moved = float(np.linalg.norm(path[-3:] - end, axis=1).max())
    error = float(np.linalg.norm(true - end))
    if np.isnan(error) or error > 4 * max(moved, _SMALLEST):
        error = 0.0
    half = max(1.35 * moved, 1.35 * error, _SMALLEST / 2)
    return float(end[0] - half), float(end[0] + half), float(end[1] + half), float(end[1] - half)


def _image_extent(height: int, width: int, factor: float) -> patches.Extent:
    """Edges of a reduced image in original pixels."""
    first, last = from_grid(np.array([0.0, 0.0]), factor), from_grid(np.array([width - 1, height - 1]), factor)
    (left, top), (right, bottom) = first - factor / 2, last + factor / 2
    return float(left), float(right), float(bottom), float(top)
