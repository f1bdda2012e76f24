"""How sure a run is of its points, whatever its method: what it finds in views of an image that are cut a little."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trigpoint.data.pixels.images import ImageData, read_image
from trigpoint.landmarks import FloatArray, ImageDetections
from trigpoint.prediction.base import is_lazy
from trigpoint.prediction.predictor import Predictor

TOGETHER = 16  # images whose views are in memory at a time
CUT = 0.04  # of the shorter side that a view lacks, at its left and upper or its right and lower border


def predict_views(predictor: Predictor, file: str | Path) -> tuple[ImageDetections, FloatArray]:
    """What is found in an image, and for each landmark (K,) how far its points in three views lie apart.

    That is the root mean square distance from their mean, original pixels. The views are cut at different borders, so
    they are also scaled otherwise. NaN for images that are read by tiles, and of multi-instance runs.
    """
    return predict_views_of(predictor, [file])[0]


def predict_views_of(
    predictor: Predictor, files: Sequence[str | Path], progress: Callable[[int, int], None] | None = None
) -> list[tuple[ImageDetections, FloatArray]]:
    """``predict_views`` of many images, which are predicted together."""
    out: list[tuple[ImageDetections, FloatArray]] = []
    for start in range(0, len(files), TOGETHER):
        out += _views_of(predictor, files[start : start + TOGETHER])
        if progress is not None:
            progress(len(out), len(files))
    return out


def _views_of(predictor: Predictor, files: Sequence[str | Path]) -> list[tuple[ImageDetections, FloatArray]]:
    if predictor.threshold is not None or any(is_lazy(file) for file in files):
        return [(predictor.predict([file])[0], np.full(len(predictor.landmarks), np.nan)) for file in files]
    views, cuts, names = list[ImageData](), list[int](), list[str]()
    for file in files:
        image = read_image(file)
        cuts.append(max(1, round(CUT * min(image.height, image.width))))
        views += [image, _cut(image, cuts[-1], 0), _cut(image, 0, cuts[-1])]
        names += [str(file)] * 3
    found = predictor.predict(views, names=names).detections
    out = []
    for cut, *own in zip(cuts, found[::3], found[1::3], found[2::3], strict=True):
        points = np.stack([one.best().points[0] for one in own]) + np.array([[[0]], [[cut]], [[0]]])
        apart: FloatArray = np.sqrt(np.square(points - points.mean(0)).sum(-1).mean(0))
        out.append((own[0], apart))
    return out


def mean_apart(apart: FloatArray) -> float:
    """The mean over the landmarks that are known; NaN where none is.

    >>> mean_apart(np.array([1.0, np.nan, 2.0]))
    1.5
    """
    known = apart[np.isfinite(apart)]
    return float(known.mean()) if len(known) else float("nan")


def _cut(image: ImageData, first: int, last: int) -> ImageData:
    """An image without its ``first`` rows and columns and without its ``last`` ones."""
    if min(image.height, image.width) <= first + last:
        return image
    inside = slice(first, image.height - last), slice(first, image.width - last)
    return replace(image, pixels=np.ascontiguousarray(image.pixels[:, inside[0], inside[1]]))
