"""Every reported number of a set of predictions in one dict; the formulas stand in ``functional``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.metrics.functional import (
    area_under_ced,
    bootstrap_interval,
    failure_rate,
    image_errors,
    mean_error,
    median_error,
    normalized_error,
    radial_error,
    standard_deviation,
    success_rate,
    to_millimetres,
)

SDR_MM = (2.0, 2.5, 3.0, 4.0)
SDR_PX = (1.0, 2.0, 5.0, 10.0)
NME_LIMIT = 0.08


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

    ``spacing_mm`` (N,) per image, NaN = unknown: one unknown image leaves all mm values null, because a mean over the
    rest would be a number of other images. ``subjects`` (N,) are what the 95 % intervals are drawn over (None: images).
    SDR counts errors <= threshold, FR counts images with NME > ``nme_limit``. MRE and SD are over all annotated points.
    An annotated point without prediction is a failure in SDR, FR, AUC and the median, left out of the means and
    counted in ``n_unpredicted``. A value that cannot be given is None.

    >>> marks = LandmarkSet(("tip",))
    >>> found = summarize(np.array([[[3.0, 4.0]], [[0.0, 1.0]]]), np.zeros((2, 1, 2)), marks)
    >>> found["mre_px"], found["sdr_px"]["1.0"], found["mre_mm"]
    (3.0, 0.5, None)
    """
    errors = radial_error(pred, truth)
    values: dict[str, Any] = {
        "n_images": len(errors),
        "n_landmarks": len(landmarks),
        "n_points": int((~np.isnan(errors)).sum()),
        "n_unpredicted": int(np.isinf(errors).sum()),
    }
    intervals: dict[str, Any] = {}
    known = spacing_mm is not None and len(spacing_mm) > 0 and bool(np.isfinite(spacing_mm).all())
    in_mm = to_millimetres(errors, spacing_mm) if known and spacing_mm is not None else None
    for unit, lengths, thresholds in (("px", errors, sdr_px), ("mm", in_mm, sdr_mm)):
        found, bounds = _lengths(lengths, unit, thresholds, subjects)
        values |= found
        intervals |= bounds
    relative = None
    if landmarks.normalizer is not None:
        relative = normalized_error(pred, truth, landmarks.normalizer, landmarks)
    values |= _normalized(relative, landmarks, nme_limit)
    intervals |= _normalized_intervals(relative, subjects, nme_limit)
    values["ci95"] = intervals
    values["per_landmark"] = {
        name: _part(errors[:, [k]], in_mm if in_mm is None else in_mm[:, [k]], sdr_px, sdr_mm)
        for k, name in enumerate(landmarks.names)
    }
    values["per_group"] = {
        group: _part(errors[:, index], in_mm if in_mm is None else in_mm[:, index], sdr_px, sdr_mm)
        for group, names in landmarks.groups.items()
        for index in [[landmarks.index(name) for name in names]]
    }
    return values


def _lengths(
    errors: FloatArray | None, unit: str, thresholds: Sequence[float], subjects: Sequence[str] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """MRE, SD, median and SDR in one unit, and their intervals; all None without errors."""
    keys = [f"{name}_{unit}" for name in ("mre", "sd", "median", "sdr")]
    if errors is None or np.isnan(errors).all():
        return dict.fromkeys(keys), {}
    mean, spread, median, rates = keys
    shares = success_rate(errors, thresholds)
    found = {
        mean: _plain(mean_error(errors, missing="ignore")),
        spread: _plain(standard_deviation(errors, missing="ignore")),
        median: _plain(median_error(errors)),
        rates: {str(limit): _plain(share) for limit, share in shares.items()},
    }
    finite = np.where(np.isinf(errors), np.nan, errors)
    within = {limit: np.where(np.isnan(errors), np.nan, errors <= limit) for limit in shares}
    bounds: dict[str, Any] = {
        mean: _mean_interval(finite, subjects),
        rates: {str(limit): _mean_interval(hits, subjects) for limit, hits in within.items()},
    }
    return found, bounds


def _mean_interval(values: FloatArray, subjects: Sequence[str] | None) -> list[float] | None:
    """Interval of the mean over all points of ``values`` (N, K), from each image's sum and count."""
    rows = np.stack([np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)], axis=1)

    def mean(drawn: FloatArray) -> float:
        total, count = drawn.sum(axis=0)
        return float(total / count) if count else float("nan")

    return _pair(bootstrap_interval(rows, None if subjects is None else list(subjects), mean))


def _normalized(relative: FloatArray | None, landmarks: LandmarkSet, limit: float) -> dict[str, Any]:
    name = None if landmarks.normalizer is None else landmarks.normalizer.name
    found: dict[str, Any] = {
        "nme": {"name": name, "mean": None},
        "fr": {"threshold": limit, "value": None},
        "auc": {"threshold": limit, "value": None},
    }
    if relative is not None:
        per_image = _per_image(relative)
        finite = np.where(np.isinf(per_image), np.nan, per_image)
        found["nme"]["mean"] = _plain(mean_error(finite))
        found["fr"]["value"] = _plain(failure_rate(per_image, limit))
        found["auc"]["value"] = _plain(area_under_ced(per_image, limit))
    return found


def _normalized_intervals(
    relative: FloatArray | None, subjects: Sequence[str] | None, limit: float
) -> dict[str, list[float] | None]:
    if relative is None:
        return {}
    per_image = _per_image(relative)
    groups = None if subjects is None else list(subjects)
    finite = np.where(np.isinf(per_image), np.nan, per_image)
    return {
        "nme": _pair(bootstrap_interval(finite, groups, mean_error)),
        "fr": _pair(bootstrap_interval(per_image, groups, lambda drawn: failure_rate(drawn, limit))),
        "auc": _pair(bootstrap_interval(per_image, groups, lambda drawn: area_under_ced(drawn, limit))),
    }


def _per_image(relative: FloatArray) -> FloatArray:
    """NME of each image (N,); inf where a prediction is missing, NaN where nothing is annotated."""
    lost = np.isinf(relative).any(axis=1)
    return np.where(lost, np.inf, image_errors(relative, missing="ignore"))


def _part(
    errors: FloatArray, in_mm: FloatArray | None, sdr_px: Sequence[float], sdr_mm: Sequence[float]
) -> dict[str, Any]:
    """Numbers of one landmark or group."""
    found: dict[str, Any] = {"n_points": int((~np.isnan(errors)).sum())}
    for unit, lengths, thresholds in (("px", errors, sdr_px), ("mm", in_mm, sdr_mm)):
        if lengths is None:
            continue
        found[f"mre_{unit}"] = _plain(mean_error(lengths, missing="ignore"))
        found[f"sd_{unit}"] = _plain(standard_deviation(lengths, missing="ignore"))
        found[f"median_{unit}"] = _plain(median_error(lengths))
        if unit == "mm" or in_mm is None:
            shares = success_rate(lengths, thresholds)
            found[f"sdr_{unit}"] = {str(limit): _plain(share) for limit, share in shares.items()}
    return found


def _plain(value: float) -> float | None:
    """A number for JSON: None where it is not defined."""
    return float(value) if np.isfinite(value) else None


def _pair(interval: tuple[float, float]) -> list[float] | None:
    return [float(interval[0]), float(interval[1])] if np.isfinite(interval).all() else None
