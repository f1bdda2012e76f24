"""Several methods on the same images side by side, as in the qualitative figure of the cross-task paper."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.report import style
from trigpoint.report.displayed import ImageArray, as_displayed
from trigpoint.report.overlays import draw_points, mean_error

# inches: side of a panel, between methods, above the panels, below each row, and below all of them
_SIDE, _GAP, _HEAD, _TEXT, _FOOT = 1.75, 0.12, 0.3, 0.28, 0.3
_MOST_PAIRS = 3  # with more methods than this, two panels each would be too small on a page
_LETTERS, _NAME = 26, 19  # that fit below and above a panel


class Compared(NamedTuple):
    """What a method found: ``points`` (N, K, 2), NaN = not predicted, and its ``heatmaps`` (N, K, h, w), if any."""

    points: FloatArray
    heatmaps: FloatArray | None = None


def comparison_grid(
    images: Sequence[ImageArray],
    truth: FloatArray,
    methods: Mapping[str, Compared],
    captions: Sequence[str] = (),
    combined: bool | None = None,
    scale: float | Sequence[float] = 1.0,
    unit: str = "px",
) -> Figure:
    """One row per image: the annotated image, then what each method found, with its error in that image below.

    ``images`` N of (H, W), (C, H, W) or (H, W, C); ``truth`` (N, K, 2), NaN = not annotated; points in pixels of these
    images. Maps must cover exactly the images, so with maps give the network's input images, and points in their
    pixels. A method with maps has a panel of points and a panel of maps; with ``combined`` one panel with the points
    over the maps (None: from four methods on). Each map is scaled to its own peak.

    The error is the mean distance in the image times ``scale`` (one number, or one per image: how many of the ``unit``
    a pixel is). The least of a row is bold. ``captions`` stand below the annotated images. A point outside its image
    counts and is not drawn. Raises DataError for no image or method and for shapes that do not fit.
    """
    known, count = np.asarray(truth, dtype=np.float64), len(images)
    if count == 0 or not methods:
        raise DataError(f"comparison: expected images and methods to draw, got {count} and {len(methods)}")
    if known.ndim != 3 or len(known) != count or known.shape[2] != 2:
        raise DataError(f"comparison: truth: expected ({count}, K, 2) for {count} images, got {known.shape}")
    texts = style.captions_or_blank(captions, count)
    factors = np.asarray(scale, dtype=np.float64)
    if factors.shape not in ((), (count,)):
        raise DataError(f"comparison: scale: expected one number or {count}, one per image, got {factors.shape}")
    factors = np.broadcast_to(factors, (count,))
    pictures = [as_displayed(image) for image in images]
    for name, found in methods.items():
        _check(name, found, known, pictures)
    both = len(methods) > _MOST_PAIRS if combined is None else combined
    widths = [2 if found.heatmaps is not None and not both else 1 for found in methods.values()]
    figure, panels = _panels(pictures, [1, *widths])
    for i, line in enumerate(panels):
        draw_points(line[0], known[i], None)
        _write(line[0], -0.03, _short(texts[i], _LETTERS))
        told = [_error(known[i], found.points[i], float(factors[i]), unit) for found in methods.values()]
        least = min((error for error, _ in told if np.isfinite(error)), default=np.nan) if len(told) > 1 else np.nan
        at = 1
        for found, width, (error, text) in zip(methods.values(), widths, told, strict=True):
            _draw(line[at : at + width], known[i], found, i)
            _write(line[at], -0.03, text, width, bold=error == least)
            at += width
    at = 0
    for name, width in zip(["annotated", *methods], [1, *widths], strict=True):
        _write(panels[0][at], 1.03, _short(name, width * _NAME), width, size=10, bold=True)
        at += width
    style.key(figure, {"annotated": style.ring(), "predicted": style.cross(), "error": style.stroke()})
    return figure


def _check(name: str, found: Compared, truth: FloatArray, pictures: Sequence[npt.NDArray[np.uint8]]) -> None:
    if np.shape(found.points) != truth.shape:
        raise DataError(f"comparison: {name}: expected points {truth.shape} as the truth, got {np.shape(found.points)}")
    if found.heatmaps is None:
        return
    shape = np.shape(found.heatmaps)
    if len(shape) != 4 or shape[:2] != truth.shape[:2]:
        raise DataError(f"comparison: {name}: expected maps {(*truth.shape[:2], 'h', 'w')}, got {shape}")
    for i, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        if abs(height / shape[2] - width / shape[3]) > 1e-6:
            raise DataError(
                f"comparison: {name}: expected maps of one stride of image {i} ({height} x {width}), got {shape[2]} x "
                f"{shape[3]}; pass the network's input images, not the stored ones"
            )


def _panels(pictures: Sequence[npt.NDArray[np.uint8]], widths: Sequence[int]) -> tuple[Figure, list[list[Axes]]]:
    """Rows of panels, each row with its picture in every panel; the panels of a method stand close together."""
    shape = float(np.median([picture.shape[0] / picture.shape[1] for picture in pictures]))
    height = _SIDE * min(max(shape, 0.4), 2.5)
    lefts, x = [], _GAP
    for width in widths:
        lefts += [x + i * (_SIDE + _GAP / 3) for i in range(width)]
        x = lefts[-1] + _SIDE + _GAP
    tall = _HEAD + len(pictures) * (height + _TEXT) + _FOOT
    figure = style.new_figure(x, tall)
    figure.set_layout_engine("none")  # texts below panels would push them apart
    panels = []
    for row, picture in enumerate(pictures):
        bottom = tall - _HEAD - (row + 1) * height - row * _TEXT
        line = [figure.add_axes((left / x, bottom / tall, _SIDE / x, height / tall)) for left in lefts]
        for axes in line:
            axes.set_axis_off()
            axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
            axes.set_autoscale_on(False)
        panels.append(line)
    return figure, panels


def _draw(panels: Sequence[Axes], truth: FloatArray, found: Compared, i: int) -> None:
    """Points in the first panel, maps in the last one."""
    if found.heatmaps is not None:
        _draw_heatmaps(panels[-1], found.heatmaps[i])
        if len(panels) > 1:
            draw_points(panels[-1], truth, None)
    draw_points(panels[0], truth, np.asarray(found.points[i], dtype=np.float64))


def _draw_heatmaps(axes: Axes, heatmaps: FloatArray) -> None:
    """The strongest response over all landmarks, maps (K, h, w) each scaled to its own peak, over the image."""
    maps = np.asarray(heatmaps, dtype=np.float64)
    peaks = np.maximum(np.nanmax(maps, axis=(1, 2), keepdims=True), 1e-12)
    strongest = np.clip(np.nan_to_num(maps / peaks).max(axis=0), 0.0, 1.0)
    # The map is stretched over the extent of the image: pixel edges meet pixel edges at every stride.
    extent = axes.get_images()[0].get_extent()
    axes.imshow(strongest, cmap="inferno", alpha=0.75 * strongest, extent=extent, vmin=0, vmax=1)


def _error(truth: FloatArray, found: FloatArray, scale: float, unit: str) -> tuple[float, str]:
    """Mean distance and its text; inf, which is never the least, where a prediction is missing."""
    mean, lost = mean_error(truth, np.asarray(found))
    if np.isnan(mean):
        return np.inf, f"{lost} not predicted" if lost else ""
    mean *= scale
    return np.inf if lost else mean, f"{mean:.2f} {unit}" + (f", {lost} not predicted" if lost else "")


def _write(panel: Axes, y: float, text: str, width: int = 1, size: float = 8.5, bold: bool = False) -> None:
    """Text above (``y`` over 1) or below ``width`` panels side by side, of which ``panel`` is the first."""
    middle = (width + (width - 1) * _GAP / 3 / _SIDE) / 2  # in widths of a panel
    look: dict[str, Any] = {"fontsize": size, "fontweight": "bold" if bold else "normal", "color": style.INK}
    panel.text(middle, y, text, ha="center", va="bottom" if y > 1 else "top", transform=panel.transAxes, **look)


def _short(text: str, letters: int) -> str:
    """The text, its middle left out where it is longer than ``letters``.

    >>> _short("a_long_name.png", 9)
    'a_lo….png'
    """
    half = letters // 2
    return text if len(text) <= letters else f"{text[: letters - half - 1]}…{text[-half:]}"
