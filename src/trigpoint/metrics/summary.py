"""Every reported number of a set of predictions in one dict; the formulas stand in ``functional``."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.metrics.functional import (
    Scale,
    area_under_ced,
    bootstrap_interval,
    failure_rate,
    mean_by_image,
    mean_error,
    median_error,
    normalized_error,
    plain,
    plain_pair,
    radial_error,
    radial_error_mm,
    standard_deviation,
    success_rate,
)

SDR_MM = (2.0, 2.5, 3.0, 4.0)
SDR_PX = (1.0, 2.0, 5.0, 10.0)
NME_LIMIT = 0.08

Units = tuple[tuple[str, FloatArray | None, Sequence[float]], ...]  # name, errors (N, K), thresholds of SDR


def summarize(
    pred: FloatArray,
    truth: FloatArray,
    landmarks: LandmarkSet,
    spacing_mm: FloatArray | None = None,
    subjects: Sequence[str] | None = None,
    *,
    sdr_mm: Sequence[float] = SDR_MM,
    sdr_px: Sequence[float] = SDR_PX,
    nme_limit: float = NME_LIMIT,
) -> dict[str, Any]:
    """Metrics of predictions (N, K, 2) against truth (N, K, 2), both in original pixels.

    ``spacing_mm`` (N,) or (N, 2) per image, NaN = unknown: one unknown image leaves all mm values null, because a mean
    over the rest would be a number of other images. ``subjects`` (N,) are what the 95 % intervals are drawn over (None:
    images); with fewer than ``MIN_SUBJECTS`` of them there are none. SDR counts errors <= threshold, FR counts images
    with NME > ``nme_limit``. MRE and SD are over all annotated points. An annotated point without prediction is a
    failure in SDR, FR, AUC and the median, left out of the means and counted in ``n_unpredicted``. A value that cannot
    be given is None.

    >>> marks = LandmarkSet(("tip",))
    >>> found = summarize(np.array([[[3.0, 4.0]], [[0.0, 1.0]]]), np.zeros((2, 1, 2)), marks)
    >>> found["mre_px"], found["sdr_px"]["1.0"], found["mre_mm"]
    (3.0, 0.5, None)
    """
    errors = radial_error(pred, truth)
    known = spacing_mm is not None and len(spacing_mm) > 0 and bool(np.isfinite(spacing_mm).all())
    in_mm = radial_error_mm(pred, truth, spacing_mm) if known and spacing_mm is not None else None
    units: Units = (("px", errors, sdr_px), ("mm", in_mm, sdr_mm))
    values: dict[str, Any] = {
        "n_images": len(errors),
        "n_subjects": len(errors) if subjects is None else len(set(subjects)),
        "n_landmarks": len(landmarks),
        "n_points": int((~np.isnan(errors)).sum()),
        "n_unpredicted": int(np.isinf(errors).sum()),
    }
    intervals: dict[str, Any] = {}
    for unit, lengths, thresholds in units:
        if lengths is None or np.isnan(lengths).all():
            values |= dict.fromkeys(f"{name}_{unit}" for name in ("mre", "sd", "median", "sdr"))
            continue
        values |= _lengths(lengths, unit, thresholds)
        intervals[f"mre_{unit}"] = mean_interval(np.where(np.isinf(lengths), np.nan, lengths), subjects, "length")
        hits = {limit: np.where(np.isnan(lengths), np.nan, lengths <= limit) for limit in map(float, thresholds)}
        intervals[f"sdr_{unit}"] = {str(limit): mean_interval(each, subjects, "share") for limit, each in hits.items()}
    normalized, bounds = _normalized(pred, truth, landmarks, nme_limit, subjects)
    values |= normalized | {"ci95": intervals | bounds}
    values["per_landmark"] = {name: _part(units, [k]) for k, name in enumerate(landmarks.names)}
    values["per_group"] = {
        group: _part(units, [landmarks.index(name) for name in names]) for group, names in landmarks.groups.items()
    }
    return values


def _lengths(errors: FloatArray, unit: str, thresholds: Sequence[float]) -> dict[str, Any]:
    """MRE, SD, median and SDR in one unit."""
    return {
        f"mre_{unit}": plain(mean_error(errors, missing="ignore")),
        f"sd_{unit}": plain(standard_deviation(errors, missing="ignore")),
        f"median_{unit}": plain(median_error(errors)),
        f"sdr_{unit}": {str(limit): plain(share) for limit, share in success_rate(errors, thresholds).items()},
    }


def _part(units: Units, index: list[int]) -> dict[str, Any]:
    """Numbers of some of the landmarks; SDR in one unit only."""
    found: dict[str, Any] = {}
    for unit, errors, thresholds in units:
        if errors is not None:
            found.pop("sdr_px", None)
            found |= {"n_points": int((~np.isnan(errors[:, index])).sum())}
            found |= _lengths(errors[:, index], unit, thresholds)
    return found


def mean_interval(values: FloatArray, subjects: Sequence[str] | None, scale: Scale) -> list[float] | None:
    """Interval of the mean over all points of ``values`` (N, K), from each image's sum and count."""
    rows = np.stack([np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)], axis=1)

    def mean(drawn: FloatArray) -> float:
        total, count = drawn.sum(axis=0)
        return float(total / count) if count else float("nan")

    return plain_pair(bootstrap_interval(rows, subjects, mean, scale=scale))


def _normalized(
    pred: FloatArray, truth: FloatArray, landmarks: LandmarkSet, limit: float, subjects: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """NME, FR and AUC, and their intervals; None without a normaliser."""
    found: dict[str, Any] = {
        "nme": {"name": landmarks.normalizer and landmarks.normalizer.name, "mean": None},
        "fr": {"threshold": limit, "value": None},
        "auc": {"threshold": limit, "value": None},
    }
    if landmarks.normalizer is None:
        return found, {}
    per_image = mean_by_image(normalized_error(pred, truth, landmarks.normalizer, landmarks))
    measures: dict[str, tuple[FloatArray, Callable[[FloatArray], float], Scale]] = {
        "nme": (np.where(np.isinf(per_image), np.nan, per_image), mean_error, "length"),
        "fr": (per_image, lambda errors: failure_rate(errors, limit), "share"),
        "auc": (per_image, lambda errors: area_under_ced(errors, limit), "share"),
    }
    intervals: dict[str, Any] = {}
    for key, (errors, measure, scale) in measures.items():
        found[key]["mean" if key == "nme" else "value"] = plain(measure(errors))
        intervals[key] = plain_pair(bootstrap_interval(errors, subjects, measure, scale=scale))
    return found, intervals
