"""How sure a run is of its points, whatever its method: what it finds in views of an image that are cut a little."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trigpoint.data.pixels.images import ImageData, read_image
from trigpoint.landmarks import FloatArray, ImageDetections
from trigpoint.prediction.base import is_lazy
from trigpoint.prediction.predictor import Predictor

CUT = 0.04  # of the shorter side that a view lacks, at its left and upper or its right and lower border


def predict_views(predictor: Predictor, file: str | Path) -> tuple[ImageDetections, FloatArray]:
    """What is found in an image, and for each landmark (K,) how far its points in three views lie apart.

    That is the root mean square distance from their mean, original pixels. The views are cut at different borders, so
    they are also scaled otherwise. NaN for images that are read by tiles, and of multi-instance runs.
    """
    if is_lazy(file) or predictor.threshold is not None:
        return predictor.predict([file])[0], np.full(len(predictor.landmarks), np.nan)
    image = read_image(file)
    cut = max(1, round(CUT * min(image.height, image.width)))
    views = [image, _cut(image, cut, 0), _cut(image, 0, cut)]
    found = predictor.predict(views, names=[str(file)] * len(views)).detections
    points = np.stack([one.best().points[0] for one in found]) + np.array([[[0]], [[cut]], [[0]]])
    apart: FloatArray = np.sqrt(np.square(points - points.mean(0)).sum(-1).mean(0))
    return found[0], apart


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
