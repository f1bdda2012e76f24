"""Figures of the foveated pyramid: where the guess went, what the network saw, which features it found there.

Pure drawing. All points, and the corners of the patches, are (x, y) in pixels of the original image; a patch or a map
is drawn over the extent between its corners, so what lies on top of one another in the figure does so in the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from trigpoint.errors import DataError
from trigpoint.geometry import center, from_grid, pixel_centers
from trigpoint.landmarks import FloatArray
from trigpoint.report import style
from trigpoint.report.overlays import as_displayed, draw_points

Extent = tuple[float, float, float, float]

_EDGE = [withStroke(linewidth=2.2, foreground="#000000b0")]
_TEXT: dict[str, Any] = {"fontsize": 8, "color": "white", "path_effects": _EDGE}
_APART = 19.0  # points on paper between two guesses whose numbers can both be read
_MARGIN = 10.0  # points on paper from a guess to the middle of its number, and from that to the edge
_SMALLEST = 20.0  # pixels shown of the last moves at least
_FOCUSED = 0.25  # share of its cells that a map may spread over to count as a feature with a position


def guess_path(
    image: npt.NDArray[Any],
    path: FloatArray,
    squares: FloatArray,
    truth: FloatArray | None = None,
    names: Sequence[str] = (),
    factor: float = 1.0,
    patches: tuple[npt.NDArray[Any], FloatArray] | None = None,
) -> Figure:
    """The path of the guess over the image, and beside it the last moves enlarged; one such pair per landmark.

    ``image`` is ``factor`` times smaller than the original; ``path`` (T + 1, K, 2), guess 0 being the start;
    ``squares`` (K, L, 2, 2) the corners of the patches of the first look, drawn faintly; ``truth`` (K, 2), NaN =
    missing. ``patches``: glimpses (K, L, C, g, g) at the end of the path and their corners (K, L, 2, 2); the
    enlargement shows them where they reach, finest on top, and the reduced image elsewhere. Guesses too close together
    to be numbered one by one share a label. Raises DataError for shapes that do not fit.
    """
    path = np.asarray(path, dtype=np.float64)
    if path.ndim != 3 or path.shape[2] != 2 or path.shape[1] < 1:
        raise DataError(f"path: expected (T + 1, K, 2) with K of at least 1, got {path.shape}")
    count = path.shape[1]
    _expect("squares", squares, (count, None, 2, 2))
    true = _points("truth", truth, count)
    labels = style.captions_or_blank(names, count)
    picture = as_displayed(image)
    extent = _image_extent(picture.shape[0], picture.shape[1], factor)
    figure, pairs, inches = _pairs(count, picture.shape[0] / picture.shape[1])
    for k, (whole, near) in enumerate(pairs):
        for axes in (whole, near):
            _show(axes, picture, extent)
        whole.set(xlim=extent[:2], ylim=extent[2:])
        for (left, top), (right, bottom) in np.asarray(squares[k]):
            _square(whole, left, top, right, bottom)
        window = _last_moves(path[:, k], true[k])
        if patches is not None:
            _foveated(near, np.asarray(patches[0][k]), np.asarray(patches[1][k]))
        near.set(xlim=window[:2], ylim=window[2:])
        for axes in (whole, near):
            _draw_path(axes, path[:, k], true[k], inches)
        start = float(np.linalg.norm(path[-1, k] - path[0, k]))
        _title(whole, labels[k], f"moved {start:.0f} px in {len(path) - 1} looks")
        error = float(np.linalg.norm(path[-1, k] - true[k]))
        _title(
            near, f"{window[1] - window[0]:.0f} px around the end", "" if np.isnan(error) else f"error {error:.2f} px"
        )
    known = bool(np.isfinite(true).any())
    _key(figure, ["path", "square", *(["truth"] if known else [])])
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
    stacks, corners = _stacks(glimpses, extents)
    count, levels = stacks.shape[:2]
    crosses, rings = _points("found", found, count), _points("truth", truth, count)
    labels = style.captions_or_blank(names, count)
    figure, rows = _rows_of_panels(count, levels)
    for k in range(count):
        shown = _grey_scale(stacks[k])
        for level in range(levels):
            axes = rows[k][level]
            extent = _extent(corners[k, level])
            _show(axes, shown[level], extent)
            axes.set(xlim=extent[:2], ylim=extent[2:])
            if level:
                _square(axes, *corners[k, level - 1].ravel())
            ring, cross = (_if_inside(points[k], extent) for points in (rings, crosses))
            draw_points(axes, ring[None], cross[None])
            axes.set_title(f"{extent[1] - extent[0]:.0f} px", fontsize=8.5, color=style.INK, pad=3)
        error = float(np.linalg.norm(crosses[k] - rings[k]))
        about = [labels[k], "" if np.isnan(error) else f"error {error:.2f} px"]
        _row_label(rows[k][0], "\n".join(text for text in about if text))
    _key(figure, ["found", *(["truth"] if np.isfinite(rings).any() else [])])
    return figure


def stable_features(
    maps: npt.NDArray[Any], extents: FloatArray, truth: FloatArray, count: int = 1
) -> npt.NDArray[np.int64]:
    """The ``count`` features of each level that keep their place best relative to the true point: (L, count).

    ``maps`` (N, L, D, h, w), each softmaxed over its cells, of N glimpses of one landmark (or of several, where one
    network serves them all), ``extents`` (N, L, 2, 2), ``truth`` (N, 2), NaN = missing. The rule: a map's expected
    position minus the true point is an offset; a feature is the steadier the smaller the root mean square distance of
    its N offsets from their mean (of fewer than 3, from the true point itself). Features that stay where they are in
    the patch whatever it shows follow no point; to tell, the glimpses must lie differently around it. A map that is
    spread over many cells is such a feature too, so only maps count that spread over a quarter of the cells or less
    (exp of the entropy, mean over N); where a level has too few of them the most focused follow.

    >>> maps = np.full((3, 1, 2, 4, 4), 1 / 16)
    >>> maps[:, 0, 1] = 0
    >>> maps[:, 0, 1, 2, 3] = 1
    >>> corners = np.array([[[[-2.0, -2], [2, 2]]]] * 3)
    >>> stable_features(maps, corners, np.zeros((3, 2))).tolist()
    [[1]]
    """
    maps = np.asarray(maps, dtype=np.float64)
    if maps.ndim != 5 or not 1 <= count <= maps.shape[2]:
        raise DataError(f"maps: expected (N, L, D, h, w) with D of at least {count}, got {maps.shape}")
    true = _points("truth", truth, len(maps))
    known = np.isfinite(true).all(axis=1)
    if not known.any():
        raise DataError("features: expected a true point in at least one image, got none; name the features to draw")
    maps, true = maps[known], true[known]
    offsets = expected_positions(maps, np.asarray(extents)[known]) - true[:, None, None, :]
    if len(maps) >= 3:
        offsets = offsets - offsets.mean(axis=0)
    unsteady = np.sqrt((offsets**2).sum(axis=-1).mean(axis=0))  # (L, D)
    entropy = -(maps * np.log(np.maximum(maps, 1e-30))).sum(axis=(-2, -1))
    cells = np.exp(entropy).mean(axis=0)
    vague = cells > _FOCUSED * maps.shape[-1] * maps.shape[-2]
    order = np.lexsort((np.where(vague, cells, unsteady), vague), axis=-1)
    return order[:, :count].astype(np.int64)


def expected_positions(maps: npt.NDArray[Any], extents: FloatArray) -> FloatArray:
    """Where maps (..., L, D, h, w) that sum to 1 lie on average, for corners (..., L, 2, 2): (..., L, D, 2)."""
    maps, corners = np.asarray(maps, dtype=np.float64), np.asarray(extents, dtype=np.float64)
    height, width = maps.shape[-2:]
    middle, size = corners.mean(axis=-2), corners[..., 1, :] - corners[..., 0, :]
    x = (pixel_centers(width).numpy() - center((height, width))[0]) / width
    y = (pixel_centers(height).numpy() - center((height, width))[1]) / height
    shares = np.stack([maps.sum(axis=-2) @ x, maps.sum(axis=-1) @ y], axis=-1)
    return np.asarray(middle[..., None, :] + shares * size[..., None, :])


def feature_maps(
    maps: npt.NDArray[Any],
    glimpses: npt.NDArray[Any],
    extents: FloatArray,
    truth: FloatArray,
    features: npt.ArrayLike | None = None,
    captions: Sequence[str] = (),
) -> Figure:
    """Maps of chosen features over the patches they were made of, a row per glimpse, a column per feature.

    ``maps`` (N, L, D, h, w), each softmaxed over its cells; ``glimpses`` (N, L, C, g, g); ``extents`` (N, L, 2, 2);
    ``truth`` (N, 2), NaN = missing, a red dot where it lies inside. ``features`` (L, n): which maps of each level,
    None: the one that ``stable_features`` chooses. The plus is the expected position, what the head is told of a map.
    Each map is scaled to its own peak. Raises DataError for shapes that do not fit.
    """
    stacks, corners = _stacks(glimpses, extents)
    count, levels = stacks.shape[:2]
    _expect("maps", maps, (count, levels, None, None, None))
    true = _points("truth", truth, count)
    chosen = np.asarray(stable_features(maps, corners, true) if features is None else features, dtype=np.int64)
    _expect("features", chosen, (levels, None))
    labels = style.captions_or_blank(captions, count)
    places = expected_positions(maps, corners)
    columns = [(level, int(feature)) for level in range(levels) for feature in chosen[level]]
    side = min(2.2, 13.0 / len(columns))
    figure = style.new_figure(max(len(columns) * side + 0.6, 4.0), count * side + 0.8)
    grid = figure.subplots(count, len(columns), squeeze=False)
    for n in range(count):
        shown = _grey_scale(stacks[n])
        for column, (level, feature) in enumerate(columns):
            axes: Axes = grid[n, column]
            extent = _extent(corners[n, level])
            _show(axes, shown[level], extent)
            values = np.asarray(maps[n, level, feature], dtype=np.float64)
            values = values / max(float(values.max()), 1e-12)
            axes.imshow(values, cmap="viridis", alpha=0.7 * values, extent=extent, vmin=0, vmax=1)
            axes.set(xlim=extent[:2], ylim=extent[2:])
            _marks(axes, places[n, level, feature], _if_inside(true[n], extent))
            if n == 0:
                title = f"{extent[1] - extent[0]:.0f} px, map {feature}"
                axes.set_title(title, fontsize=8.5, color=style.INK, pad=3)
        _row_label(grid[n, 0], labels[n])
    _key(figure, ["expected", *(["dot"] if np.isfinite(true).any() else [])])
    return figure


# -- parts ------------------------------------------------------------------------------------------------------------


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


def _show(axes: Axes, picture: npt.NDArray[Any], extent: Extent) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _foveated(axes: Axes, stack: npt.NDArray[Any], corners: FloatArray) -> None:
    """The patches of one stack over one another, the finest on top."""
    for picture, edges in reversed(list(zip(_grey_scale(stack), corners, strict=True))):
        _show(axes, picture, _extent(edges))


def _draw_path(axes: Axes, path: FloatArray, true: FloatArray, inches: float) -> None:
    """Line, dots and numbers of one path (T + 1, 2), and the true point."""
    line: dict[str, Any] = {"color": "white", "linewidth": 1.1, "path_effects": _EDGE, "zorder": 3}
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


def _last_moves(path: FloatArray, true: FloatArray) -> Extent:
    """A square around the end of the path that shows the last two moves and a true point that is not far off."""
    end = path[-1]
    moved = float(np.linalg.norm(path[-3:] - end, axis=1).max())
    error = float(np.linalg.norm(true - end))
    if np.isnan(error) or error > 4 * max(moved, _SMALLEST):
        error = 0.0
    half = max(1.35 * moved, 1.35 * error, _SMALLEST / 2)
    return float(end[0] - half), float(end[0] + half), float(end[1] + half), float(end[1] - half)


def _marks(axes: Axes, expected: FloatArray, true: FloatArray) -> None:
    plus: dict[str, Any] = {"marker": "+", "markersize": 7, "markeredgewidth": 1.4, "path_effects": _EDGE}
    axes.plot(*expected, color="white", linestyle="", **plus)
    axes.plot(*true, color=style.RED, marker="o", markersize=4.5, markeredgecolor="white", markeredgewidth=0.8)


def _square(axes: Axes, left: float, top: float, right: float, bottom: float) -> None:
    look: dict[str, Any] = {"edgecolor": "#ffffff90", "linewidth": 0.7, "facecolor": "none"}
    shade = [withStroke(linewidth=1.6, foreground="#00000060")]
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, path_effects=shade, zorder=2, **look))


def _title(axes: Axes, bold: str, rest: str) -> None:
    axes.set_title(", ".join(text for text in (bold, rest) if text), fontsize=8.5, color=style.INK, pad=3)


def _row_label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=8.5, color=style.INK)


def _key(figure: Figure, which: Sequence[str]) -> None:
    blank: dict[str, Any] = {"linestyle": "", "markeredgewidth": 1.6}
    marks = {
        "path": Line2D([], [], color=style.MUTED, marker="o", markerfacecolor="#c98a00", markeredgewidth=0, lw=1.2,
                       label="guesses, 0 = start"),
        "square": Line2D([], [], color="#9aa5b0", marker="s", markersize=8, markerfacecolor="none", linestyle="",
                         label="patches of the first look"),
        "found": Line2D([], [], color="#c98a00", marker="x", label="found", **blank),
        "truth": Line2D([], [], color="#2f8fc9", marker="o", markerfacecolor="none", label="annotated", **blank),
        "expected": Line2D([], [], color=style.INK, marker="+", markersize=8, label="expected position", **blank),
        "dot": Line2D([], [], color=style.RED, marker="o", linestyle="", label="annotated"),
    }  # fmt: skip
    handles = [marks[name] for name in which]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)


def _image_extent(height: int, width: int, factor: float) -> Extent:
    """Edges of a reduced image in original pixels."""
    first, last = from_grid(np.array([0.0, 0.0]), factor), from_grid(np.array([width - 1, height - 1]), factor)
    (left, top), (right, bottom) = first - factor / 2, last + factor / 2
    return float(left), float(right), float(bottom), float(top)


def _extent(corners: FloatArray) -> Extent:
    (left, top), (right, bottom) = corners
    return float(left), float(right), float(bottom), float(top)


def _if_inside(point: FloatArray, extent: Extent) -> FloatArray:
    left, right, bottom, top = extent
    within = left <= point[0] <= right and top <= point[1] <= bottom
    return point if within else np.full(2, np.nan)


def _grey_scale(stack: npt.NDArray[Any]) -> list[npt.NDArray[np.uint8]]:
    """Patches (L, C, g, g) as they are displayed, all with the same grey scale."""
    levels, channels, side = stack.shape[:3]
    joined = np.moveaxis(stack, 1, -1).reshape(levels * side, side, channels)
    return np.split(as_displayed(joined), levels)


def _stacks(glimpses: npt.NDArray[Any], extents: FloatArray) -> tuple[npt.NDArray[Any], FloatArray]:
    stacks, corners = np.asarray(glimpses), np.asarray(extents, dtype=np.float64)
    if stacks.ndim != 5 or stacks.shape[2] not in (1, 3) or 0 in stacks.shape:
        raise DataError(f"glimpses: expected (N, L, C, g, g) with C of 1 or 3, got {stacks.shape}")
    _expect("extents", corners, (*stacks.shape[:2], 2, 2))
    return stacks, corners


def _points(what: str, points: FloatArray | None, count: int) -> FloatArray:
    """Points (count, 2), NaN where there are none."""
    if points is None:
        return np.full((count, 2), np.nan)
    _expect(what, points, (count, 2))
    return np.asarray(points, dtype=np.float64)


def _expect(what: str, values: npt.NDArray[Any], shape: tuple[int | None, ...]) -> None:
    got = np.shape(values)
    if len(got) != len(shape) or any(want is not None and want != n for want, n in zip(shape, got, strict=True)):
        wanted = ", ".join("n" if n is None else str(n) for n in shape)
        raise DataError(f"{what}: expected ({wanted}), got {got}")
