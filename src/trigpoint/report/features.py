"""Which features of the foveated pyramid keep their place beside a landmark, and pictures of them.

The trunk reduces a patch to maps; what the head is told of a map is where it lies on average and how strong it is. All
points and corners are (x, y) in pixels of the original image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trigpoint.errors import DataError
from trigpoint.geometry import center, pixel_centers
from trigpoint.landmarks import FloatArray
from trigpoint.report import patches, style

_PLUS: dict[str, Any] = {"marker": "+", "ms": 7, "mew": 1.4, "linestyle": "", "path_effects": style.EDGE}
_DOT: dict[str, Any] = {"marker": "o", "ms": 4.5, "mec": "white", "mew": 0.8, "linestyle": ""}
_FOCUSED = 0.25  # share of its cells that a map may spread over to count as a feature with a position


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
    true = patches.points_or_nan("truth", truth, len(maps))
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
    stacks, corners = patches.stacks_of(glimpses, extents)
    count, levels = stacks.shape[:2]
    patches.expect("maps", maps, (count, levels, None, None, None))
    true = patches.points_or_nan("truth", truth, count)
    chosen = np.asarray(stable_features(maps, corners, true) if features is None else features, dtype=np.int64)
    patches.expect("features", chosen, (levels, None))
    labels = style.captions_or_blank(captions, count)
    places = expected_positions(maps, corners)
    columns = [(level, int(feature)) for level in range(levels) for feature in chosen[level]]
    side = min(2.2, 13.0 / len(columns))
    figure = style.new_figure(max(len(columns) * side + 0.6, 4.0), count * side + 0.8)
    grid = figure.subplots(count, len(columns), squeeze=False)
    for n in range(count):
        shown = patches.grey_scale(stacks[n])
        for column, (level, feature) in enumerate(columns):
            axes: Axes = grid[n, column]
            extent = patches.extent_of(corners[n, level])
            patches.show(axes, shown[level], extent)
            values = np.asarray(maps[n, level, feature], dtype=np.float64)
            values = values / max(float(values.max()), 1e-12)
            axes.imshow(values, cmap="viridis", alpha=0.7 * values, extent=extent, vmin=0, vmax=1)
            axes.plot(*places[n, level, feature], color="white", **_PLUS)
            axes.plot(*patches.if_inside(true[n], extent), color=style.RED, **_DOT)
            if n == 0:
                style.caption(axes, f"{extent[1] - extent[0]:.0f} px, map {feature}")
        patches.label_row(grid[n, 0], labels[n])
    marks = {"expected position": Line2D([], [], color=style.INK, marker="+", ms=8, mew=1.6, linestyle="")}
    if np.isfinite(true).any():
        marks["annotated"] = Line2D([], [], color=style.RED, marker="o", linestyle="")
    style.key(figure, marks)
    return figure
