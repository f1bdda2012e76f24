"""Parts of the figures of glimpses: patches at their place in the image, one grey scale, checks of shapes."""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.report import style
from trigpoint.report.displayed import as_displayed

Extent = tuple[float, float, float, float]
"""Left, right, bottom and top, as matplotlib wants them: y grows downwards, so bottom is the larger."""


def show(axes: Axes, picture: npt.NDArray[Any], extent: Extent) -> None:
    """A picture over its extent, which fills the panel, without axes."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent)
    axes.set(xlim=extent[:2], ylim=extent[2:])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def outline(axes: Axes, left: float, top: float, right: float, bottom: float) -> None:
    """The outline of a patch."""
    look: dict[str, Any] = {"edgecolor": "#ffffff90", "linewidth": 0.7, "facecolor": "none"}
    shade = [withStroke(linewidth=1.6, foreground="#00000060")]
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, path_effects=shade, zorder=2, **look))


def label_row(axes: Axes, text: str) -> None:
    """What a row of panels shows."""
    axes.set_ylabel(text, fontsize=8.5, color=style.INK)


def extent_of(corners: FloatArray) -> Extent:
    """The extent between two corners (2, 2)."""
    (left, top), (right, bottom) = corners
    return float(left), float(right), float(bottom), float(top)


def if_inside(point: FloatArray, extent: Extent) -> FloatArray:
    """The point (2,) if it lies within the extent, else NaN."""
    left, right, bottom, top = extent
    within = left <= point[0] <= right and top <= point[1] <= bottom
    return point if within else np.full(2, np.nan)


def grey_scale(stack: npt.NDArray[Any]) -> list[npt.NDArray[np.uint8]]:
    """Patches (L, C, g, g) as they are displayed, all with the same grey scale."""
    levels, channels, side = stack.shape[:3]
    joined = np.moveaxis(stack, 1, -1).reshape(levels * side, side, channels)
    return np.split(as_displayed(joined), levels)


def stacks_of(glimpses: npt.NDArray[Any], extents: FloatArray) -> tuple[npt.NDArray[Any], FloatArray]:
    """Glimpses (N, L, C, g, g) and their corners (N, L, 2, 2), checked."""
    stacks, corners = np.asarray(glimpses), np.asarray(extents, dtype=np.float64)
    if stacks.ndim != 5 or stacks.shape[2] not in (1, 3) or 0 in stacks.shape:
        raise DataError(f"glimpses: expected (N, L, C, g, g) with C of 1 or 3, got {stacks.shape}")
    expect("extents", corners, (*stacks.shape[:2], 2, 2))
    return stacks, corners


def points_or_nan(what: str, points: FloatArray | None, count: int) -> FloatArray:
    """Points (count, 2), NaN where there are none."""
    if points is None:
        return np.full((count, 2), np.nan)
    expect(what, points, (count, 2))
    return np.asarray(points, dtype=np.float64)


def expect(what: str, values: npt.NDArray[Any], shape: tuple[int | None, ...]) -> None:
    """Raise DataError unless the shape is as given; None stands for any number."""
    got = np.shape(values)
    if len(got) != len(shape) or any(want is not None and want != n for want, n in zip(shape, got, strict=True)):
        wanted = ", ".join("n" if n is None else str(n) for n in shape)
        raise DataError(f"{what}: expected ({wanted}), got {got}")
