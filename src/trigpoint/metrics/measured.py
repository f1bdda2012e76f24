"""How well measurements are predicted: error, bias, limits of agreement and intraclass correlation of each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trigpoint.landmarks import FloatArray
from trigpoint.metrics.agreement import LIMITS, deviation, intraclass_correlation
from trigpoint.metrics.functional import bootstrap_interval, plain, plain_pair
from trigpoint.metrics.measurements import apart
from trigpoint.metrics.units import ArrayLike, as_array

Values = Mapping[str, FloatArray]  # (N,) by measurement


def summarize_measurements(
    found: Values,
    truth: Values,
    units: Mapping[str, str],
    subjects: Sequence[str],
    widths: Mapping[str, ArrayLike] | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Numbers of each measurement that is known in some image, and their 95 % intervals for new subjects.

    ``found`` and ``truth`` in the ``units``, NaN = missing; ``subjects`` (N,) whom the images show. A value that is
    true but was not found is counted in ``n_unpredicted`` and in ``within``, and left out of the rest. ``limits``: of
    agreement, between which 95 % of the differences in images of new subjects lie, see ``deviation``. ``icc``: ICC(2,1)
    of the predicted and the true value. ``half_width`` of the interval by ``widths`` (one number, or (N,): their
    median), and the share of images ``within`` it, in which every subject weighs the same. A number that cannot be
    given is None.

    >>> truth = np.arange(8.0)
    >>> found, _ = summarize_measurements({"x": truth + 1}, {"x": truth}, {"x": "deg"}, list("abcdefgh"), {"x": 2.0})
    >>> found["x"]["bias"], found["x"]["limits"], found["x"]["within"]
    (1.0, [1.0, 1.0], 1.0)
    """
    numbers: dict[str, dict[str, Any]] = {}
    intervals: dict[str, dict[str, Any]] = {}
    for name, true in truth.items():
        if np.isfinite(true).any():
            width = np.broadcast_to(as_array((widths or {}).get(name, np.nan)), true.shape)
            given = (found[name], true, units[name], np.asarray(subjects), width)
            numbers[name], intervals[name] = _one(*given)
    return numbers, intervals


def _one(
    found: FloatArray, truth: FloatArray, unit: str, subjects: Any, width: FloatArray
) -> tuple[dict[str, Any], dict[str, Any]]:
    there = np.isfinite(truth)
    error = apart(found, truth, unit)
    known = np.isfinite(error)
    e, own = error[known], subjects[known]
    pairs = np.stack([truth[known] + e, truth[known]], axis=1)
    bias, sd = float(e.mean()) if len(e) else float("nan"), deviation(e, own)
    mae = float(np.abs(e).mean()) if len(e) else float("nan")
    inside = np.where(known, np.abs(error) <= width, False)[there]
    values = {
        "unit": unit,
        "n_images": int(known.sum()),
        "n_subjects": len(set(own.tolist())),
        "n_unpredicted": int((there & ~known).sum()),
        "mae": plain(mae),
        "bias": plain(bias),
        "sd": plain(sd),
        "limits": plain_pair((bias - LIMITS * sd, bias + LIMITS * sd)),
        "icc": plain(intraclass_correlation(pairs)) if len(e) else None,
        "half_width": plain(float(np.median(width[there]))),
        "within": plain(_by_subject(inside, subjects[there])) if np.isfinite(width[there]).all() else None,
    }
    bounds: dict[str, Any] = {"mae": None, "bias": None, "icc": None}
    if len(e):
        bounds["mae"] = plain_pair(bootstrap_interval(np.abs(e), own, _mean, scale="length"))
        bounds["bias"] = plain_pair(bootstrap_interval(e, own, _mean, scale="difference"))
        bounds["icc"] = _icc_interval(pairs, own)
    return values, bounds


def _icc_interval(pairs: FloatArray, subjects: Any) -> list[float] | None:
    """By Fisher's transformation, in which a correlation is nearly normal, so that no end lies beyond 1."""

    def transformed(rows: FloatArray) -> float:
        return float(np.arctanh(np.clip(intraclass_correlation(rows), -1 + 1e-12, 1 - 1e-12)))

    low, high = bootstrap_interval(pairs, subjects, transformed, scale="difference")
    return plain_pair((float(np.tanh(low)), float(np.tanh(high))))


def _by_subject(inside: FloatArray, subjects: Any) -> float:
    _, member, counts = np.unique(subjects, return_inverse=True, return_counts=True)
    return float((inside / counts[member]).sum() / len(counts))


def _mean(values: FloatArray) -> float:
    return float(values.mean())
