"""Figures with images in them: predictions over images, heatmaps over images.

Every panel is drawn in the pixel coordinates of its own image, so points go in unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.report import style

ImageArray = npt.NDArray[Any]

_EDGE = [withStroke(linewidth=2.2, foreground="#000000b0")]
_NAMED = 12  # with more landmarks than this the names would hide the image


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
        axes.set_title(text, fontsize=8.5, color=style.INK, pad=3)
    return figure, panels[: len(images)]


def as_displayed(image: ImageArray) -> npt.NDArray[np.uint8]:
    """Grey (H, W) or colour (H, W, 3), 8 bits; anything else is stretched from its 0.5 to its 99.5 percentile.

    >>> as_displayed(np.zeros((3, 4, 5), dtype=np.uint8)).shape
    (4, 5, 3)
    """
    values = np.asarray(image)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or values.size == 0:
        raise DataError(f"image to draw: expected (H, W), (C, H, W) or (H, W, C), C of 1 or 3, got {np.shape(image)}")
    if values.dtype == np.uint8:
        return values
    low, high = np.nanpercentile(values.astype(np.float32), [0.5, 99.5])
    spread = max(float(high - low), 1e-12)
    stretched = np.clip(np.nan_to_num((values.astype(np.float32) - low) / spread), 0.0, 1.0)
    eight: npt.NDArray[np.uint8] = np.round(255 * stretched).astype(np.uint8)
    return eight


def prediction_overlay(
    images: Sequence[ImageArray],
    truth: FloatArray | None,
    predicted: FloatArray | None,
    names: Sequence[str] = (),
    captions: Sequence[str] = (),
    columns: int = 4,
    crop: bool = False,
    spacing_mm: Sequence[float | None] | None = None,
    reduced: Sequence[float] | None = None,
) -> Figure:
    """True points as rings, predicted points as crosses, their error as a line, one panel per image.

    ``truth`` and ``predicted`` are (N, K, 2) in pixels of the images, NaN = missing, either may be None.
    Up to 12 landmarks are labelled with ``names``. ``crop`` shows only the surroundings of the points.
    Captions gain the mean error of the image in px, and in mm where ``spacing_mm`` states it. ``reduced``: how many
    times smaller each image and its points are shown; errors are told in pixels of the original.
    """
    count = len(images)
    for what, points in (("truth", truth), ("predicted", predicted)):
        if points is not None and (np.ndim(points) != 3 or len(points) != count or np.shape(points)[2] != 2):
            raise DataError(f"overlay: {what}: expected ({count}, K, 2) for {count} images, got {np.shape(points)}")
    texts = style.captions_or_blank(captions, count)
    if truth is not None and predicted is not None:
        spacings = spacing_mm if spacing_mm is not None else [None] * count
        times = reduced if reduced is not None else [1.0] * count
        texts = [_with_error(t, truth[i] * times[i], predicted[i] * times[i], spacings[i]) for i, t in enumerate(texts)]
    figure, panels = image_panels(images, texts, columns)
    for i, axes in enumerate(panels):
        a = None if truth is None else np.asarray(truth[i], dtype=np.float64)
        b = None if predicted is None else np.asarray(predicted[i], dtype=np.float64)
        draw_points(axes, a, b, names)
        if crop:
            _crop_to(axes, [points for points in (a, b) if points is not None])
    _key(figure, truth is not None, predicted is not None)
    return figure


def draw_points(axes: Axes, truth: FloatArray | None, predicted: FloatArray | None, names: Sequence[str] = ()) -> None:
    """Rings, crosses and error lines of one image; points (K, 2), NaN is not drawn."""
    if truth is not None and predicted is not None:
        for a, b in zip(truth, predicted, strict=True):
            if np.isfinite([*a, *b]).all():
                axes.plot([a[0], b[0]], [a[1], b[1]], color="#ffffff", linewidth=1.1, path_effects=_EDGE)
    shown = truth if truth is not None else predicted
    many = shown is not None and len(shown) > 30
    if truth is not None:
        ring: dict[str, Any] = {"marker": "o", "markersize": 4.8 if many else 6.5, "markerfacecolor": "none"}
        axes.plot(*truth.T, linestyle="", color=style.TRUTH, markeredgewidth=1.2, path_effects=_EDGE, **ring)
    if predicted is not None:
        cross: dict[str, Any] = {"marker": "x", "markersize": 3.2 if many else 5}
        axes.plot(*predicted.T, linestyle="", color=style.PREDICTED, markeredgewidth=1.4, path_effects=_EDGE, **cross)
    if shown is not None and 0 < len(names) <= _NAMED:
        for name, point in zip(names, shown, strict=True):
            if np.isfinite(point).all():
                place: dict[str, Any] = {"xytext": (5, 4), "textcoords": "offset points", "annotation_clip": True}
                axes.annotate(name, (point[0], point[1]), color="white", fontsize=7, path_effects=_EDGE, **place)


def heatmap_overlay(
    images: Sequence[ImageArray],
    heatmaps: FloatArray,
    points: FloatArray | None = None,
    captions: Sequence[str] = (),
    columns: int = 4,
) -> Figure:
    """The strongest response over all landmarks, laid over the network's input images.

    ``heatmaps`` (N, K, h, w) must cover exactly the images (N times (H, W) or (C, H, W)): H / h equals W / w.
    Each map is scaled to its own peak. ``points`` (N, K, 2), the truth in pixels of these images, are drawn as rings.
    """
    maps = np.asarray(heatmaps, dtype=np.float64)
    if maps.ndim != 4 or len(maps) != len(images):
        raise DataError(f"heatmaps: expected ({len(images)}, K, h, w) for {len(images)} images, got {maps.shape}")
    figure, panels = image_panels(images, captions, columns)
    for i, axes in enumerate(panels):
        picture = axes.get_images()[0]
        height, width = np.asarray(picture.get_array()).shape[:2]
        if abs(height / maps.shape[2] - width / maps.shape[3]) > 1e-6:
            raise DataError(
                f"heatmaps: expected maps of one stride of image {i} ({height} x {width}), got {maps.shape[2]} x "
                f"{maps.shape[3]}; pass the network's input images, not the stored ones"
            )
        draw_heatmaps(axes, maps[i])
        draw_points(axes, None if points is None else np.asarray(points[i], dtype=np.float64), None)
    _key(figure, points is not None, False)
    return figure


def draw_heatmaps(axes: Axes, heatmaps: FloatArray) -> None:
    """The strongest response over all landmarks, maps (K, h, w) each scaled to its own peak, over the image in
    ``axes``."""
    maps = np.asarray(heatmaps, dtype=np.float64)
    peaks = np.maximum(np.nanmax(maps, axis=(1, 2), keepdims=True), 1e-12)
    strongest = np.clip(np.nan_to_num(maps / peaks).max(axis=0), 0.0, 1.0)
    # The map is stretched over the extent of the image: pixel edges meet pixel edges at every stride.
    extent = axes.get_images()[0].get_extent()
    axes.imshow(strongest, cmap="inferno", alpha=0.75 * strongest, extent=extent, vmin=0, vmax=1)


def _with_error(caption: str, truth: FloatArray, predicted: FloatArray, spacing: float | None) -> str:
    annotated, given = np.isfinite(truth).all(axis=-1), np.isfinite(predicted).all(axis=-1)
    both, lost = annotated & given, int((annotated & ~given).sum())
    parts = ["no error known"]
    if both.any():
        mean = float(np.linalg.norm(np.asarray(truth)[both] - np.asarray(predicted)[both], axis=-1).mean())
        parts = [f"error {mean:.2f} px" + (f" = {mean * spacing:.2f} mm" if spacing is not None else "")]
    if lost:
        parts.append(f"{lost} not predicted")
    return "\n".join(part for part in (caption, ", ".join(parts)) if part)


def _crop_to(axes: Axes, sets: Sequence[FloatArray]) -> None:
    points = np.concatenate(list(sets)) if sets else np.empty((0, 2))
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return
    left, right, bottom, top = axes.get_images()[0].get_extent()
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(0.15 * float((high - low).max()), 0.06 * (right - left))
    axes.set_xlim(max(low[0] - margin, left), min(high[0] + margin, right))
    axes.set_ylim(min(high[1] + margin, bottom), max(low[1] - margin, top))


def _key(figure: Figure, truth: bool, predicted: bool) -> None:
    marks: list[Line2D] = []
    if truth:
        ring: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 1.6, "linestyle": ""}
        marks.append(Line2D([], [], color="#2f8fc9", label="annotated", **ring))
    if predicted:
        marks.append(Line2D([], [], color="#c98a00", marker="x", markeredgewidth=1.6, linestyle="", label="predicted"))
    if truth and predicted:
        marks.append(Line2D([], [], color=style.MUTED, linewidth=1.2, label="error"))
    if marks:
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=9)
