"""How sure a measurement is: half the width of an interval that holds the true value in images of new subjects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray, Prediction
from trigpoint.methods.validation import conformal_radius
from trigpoint.metrics.measurements import apart, measure, measure_each, unit_of


def half_widths(found: Prediction, data: LandmarkDataset, scale: float | None) -> dict[str, dict[str, float]]:
    """Of each measurement of ``data`` by unit what its error stays below in ``COVERAGE`` of the images of new subjects.

    From what was ``found`` in these validation images, by the rule of the radii (``conformal_radius``). Angles in
    ``deg``, ratios as ``ratio``, lengths in ``px`` of an image with ``scale`` pixels to an input pixel, with which they
    grow (None: they do not), and in ``mm`` as well where the pixel size of all images is known. NaN where there are too
    few subjects. None of multi-instance runs, where nobody knows which landmarks are of one object.
    """
    marks = data.landmarks
    if found.threshold is not None or not marks.measurements:
        return {}
    points, truth, subjects = found.points, data.points, data.groups
    ours, length = measure_each(points, marks, data.spacings)
    theirs, _ = measure_each(truth, marks, data.spacings)
    in_px = measure(points, marks), measure(truth, marks)
    relative = found.scales / scale if scale else np.ones(len(found))
    widths: dict[str, dict[str, float]] = {}
    for name in marks.measurements:
        unit = unit_of(name, marks.measurements, length)
        one = {unit: half_width(ours[name], theirs[name], unit, subjects)} if unit != "px" else {}
        if unit in ("mm", "px"):
            one["px"] = half_width(in_px[0][name] / relative, in_px[1][name] / relative, "px", subjects)
        widths[name] = one
    return widths


def half_width(
    found: FloatArray, truth: FloatArray, unit: str, subjects: Sequence[str] | npt.NDArray[Any] | None = None
) -> float:
    """Half the width of the interval around each of the values ``found`` (N,), from the ``truth`` (N,), NaN = unknown.

    A value that was not found counts as an error without end; where these are too many the width is NaN.

    >>> half_width(np.arange(9.0), np.zeros(9), "deg")
    8.0
    """
    errors = np.abs(apart(found, truth, unit))
    errors = np.where(np.isfinite(truth) & ~np.isfinite(found), np.inf, errors)
    width = conformal_radius(errors, subjects=subjects)
    return width if np.isfinite(width) else float("nan")
