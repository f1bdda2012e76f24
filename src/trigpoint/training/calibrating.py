"""What a run knows of its own errors, from what it finds in the images that it was validated on."""

import math
from typing import NamedTuple

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray, LandmarkSet, Prediction, Widths
from trigpoint.methods.base import Calibration
from trigpoint.methods.measuring import half_widths
from trigpoint.metrics import bootstrap_interval, radial_error
from trigpoint.metrics.shape_prior import ShapePrior
from trigpoint.metrics.together import Together
from trigpoint.metrics.trust import Trust
from trigpoint.prediction import Predictor, Progress


class Calibrated(NamedTuple):
    """``error``: mean radial error, original pixels, NaN of multi-instance runs, with its 95 % ``interval`` over
    subjects; the rest see there."""

    found: Prediction
    calibration: Calibration
    trust: Trust | None
    widths: Widths
    error: float
    interval: tuple[float, float]
    together: Together | None
    shape: ShapePrior | None


def calibrated(
    predictor: Predictor,
    data: LandmarkDataset,
    landmarks: LandmarkSet,
    shapes: FloatArray,
    progress: Progress | None = None,
    held: bool = False,
    shape: ShapePrior | None = None,
) -> Calibrated:
    """Radii, threshold and intervals from the validation images ``data``; ``shapes`` (M, K, 2): the labels that were
    learned from. Measurements are those of ``data``. ``held``: the prior is ``shape``, and not learned here."""
    predictor.trust = predictor.shape = None  # of what was calibrated before
    found = predictor.candidates(data, progress)
    measured = data.aligned(landmarks.names, blank=predictor.untaught) if predictor.untaught else data
    if predictor.recipe.train.shape_prior and not held:
        shape = ShapePrior.fit(shapes, found.points, measured.points)
    if shape is not None:
        for one in found.detections:
            one.points = shape.applied(one.points)
    trusted = Trust.fit(found, measured.points, measured.groups, shapes)
    if trusted is not None:
        for one, doubt in zip(found.detections, trusted[1], strict=True):
            one.doubt = doubt
    result = predictor.method.calibrate(found, measured)
    widths = half_widths(found, measured, result.scale)
    error, interval, together = math.nan, (math.nan, math.nan), None
    if not found.multi_instance:
        errors = radial_error(found.points, measured.points)
        error = float(np.nanmean(errors))
        if math.isfinite(error):
            interval = bootstrap_interval(errors, measured.groups)
        together = Together.fit(found.points, measured.points)
    return Calibrated(found, result, None if trusted is None else trusted[0], widths, error, interval, together, shape)
