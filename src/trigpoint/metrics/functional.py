"""The formulas of every reported number, as pure functions.

Predictions and truth are arrays or tensors (N, K, n): N images, K landmarks, in pixels of the original image, or in mm
after ``to_millimetres``; results are float64 arrays or floats in the same unit. Three rules hold everywhere:

- A landmark whose truth has a NaN coordinate is missing: its error is NaN, and it never counts.
- An annotated landmark without a finite prediction has the error ``inf``: it counts as a failure in every share (SDR,
  FR, CED, AUC) and in the median. Means would be infinite, so they refuse it, unless ``missing="ignore"`` leaves
  those points out of the mean.
- Where nothing is annotated the result is NaN, not zero.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Normalizer
from trigpoint.metrics.units import ArrayLike, as_array, check_lengths, spacing_sides

Missing = Literal["raise", "ignore"]
Scale = Literal["length", "share", "difference"]
MIN_SUBJECTS = 5  # fewer say too little about others for an interval


def radial_error(pred: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Euclidean distance (N, K); NaN where the truth is missing, inf where only the prediction is.

    >>> radial_error([[[3.0, 4.0], [1.0, 1.0]]], [[[0.0, 0.0], [float("nan"), 1.0]]]).tolist()
    [[5.0, nan]]
    """
    p, t = as_array(pred), as_array(truth)
    if p.shape != t.shape or t.ndim != 3:
        raise DataError(
            f"predictions and truth: expected two arrays of one shape (N, K, 2), got {p.shape} and {t.shape}"
        )
    if np.isinf(t).any():
        n, k = (int(i) for i in np.argwhere(np.isinf(t))[0][:2])
        raise DataError(f"truth of image {n}, landmark {k}: expected finite numbers or NaN for missing, got inf")
    annotated, predicted = ~np.isnan(t).any(-1), np.isfinite(p).all(-1)
    known = annotated & predicted
    errors = np.full(t.shape[:2], np.nan)
    errors[annotated] = np.inf
    errors[known] = np.sqrt(((p[known] - t[known]) ** 2).sum(-1))
    return errors


def radial_error_mm(pred: ArrayLike, truth: ArrayLike, spacing_mm: ArrayLike) -> FloatArray:
    """As ``radial_error`` of points in pixels, in mm, where pixels are ``spacing_mm`` (N,) or (N, 2) wide and high.

    >>> radial_error_mm([[[3.0, 4.0]]], [[[0.0, 0.0]]], [[0.2, 0.1]]).round(4).tolist()
    [[0.7211]]
    """
    errors, sides = radial_error(pred, truth), spacing_sides(spacing_mm, len(as_array(pred)))
    square = sides[:, 0] == sides[:, 1]
    if square.all():
        return errors * sides[:, :1]
    p, t = as_array(pred) * sides[:, None, :], as_array(truth) * sides[:, None, :]
    return np.where(square[:, None], errors * sides[:, :1], radial_error(p, t))


def mean_radial_error(pred: ArrayLike, truth: ArrayLike, missing: Missing = "raise") -> float:
    """MRE: mean distance over all annotated landmarks of all images together.

    >>> mean_radial_error([[[3.0, 4.0], [0.0, 1.0]]], [[[0.0, 0.0], [0.0, 0.0]]])
    3.0
    """
    return mean_error(radial_error(pred, truth), missing)


def success_detection_rate(pred: ArrayLike, truth: ArrayLike, thresholds: Sequence[float]) -> dict[float, float]:
    """SDR: share (0 to 1) of the annotated landmarks whose error is at most each threshold.

    >>> success_detection_rate([[[3.0, 4.0], [0.0, 1.0]]], [[[0.0, 0.0], [0.0, 0.0]]], [2, 5])
    {2.0: 0.5, 5.0: 1.0}
    """
    return success_rate(radial_error(pred, truth), thresholds)


def normalized_error(
    pred: ArrayLike, truth: ArrayLike, normalizer: ArrayLike | Normalizer, landmarks: LandmarkSet | None = None
) -> FloatArray:
    """Errors (N, K) divided by each image's length; NaN for an image whose length is NaN.

    ``normalizer``: lengths (N,) in the unit of the points, or a Normalizer with the LandmarkSet it refers to.
    Raises DataError for a given length that is not positive.
    """
    errors = radial_error(pred, truth)
    if isinstance(normalizer, Normalizer):
        if landmarks is None:
            raise ConfigError(f"normalizer '{normalizer.name}': expected the landmark set it refers to, got none")
        lengths = normalizer_lengths(truth, normalizer, landmarks)
    else:
        lengths = as_array(normalizer)
    check_lengths(lengths, len(errors), "normaliser lengths")
    bad = np.flatnonzero((lengths <= 0) | np.isinf(lengths))
    if bad.size:
        raise DataError(f"normaliser length of image {int(bad[0])}: expected above 0, got {lengths[bad[0]]}")
    return np.where(np.isnan(errors), np.nan, errors / lengths[:, None])


def normalizer_lengths(truth: ArrayLike, normalizer: Normalizer, landmarks: LandmarkSet) -> FloatArray:
    """Length (N,) of each image from its truth; NaN where a landmark that it needs is missing or the length is zero.

    >>> marks = LandmarkSet(("left", "right"))
    >>> eyes = Normalizer("inter_ocular", between=("left", "right"))
    >>> normalizer_lengths([[[0.0, 0.0], [30.0, 40.0]]], eyes, marks).tolist()
    [50.0]
    """
    t = as_array(truth)
    if t.ndim != 3 or t.shape[1] != len(landmarks):
        raise DataError(f"truth: expected shape (N, {len(landmarks)}, 2), got {t.shape}")
    if normalizer.between is not None:
        a, b = (landmarks.index(name) for name in normalizer.between)
        lengths = np.sqrt(((t[:, a] - t[:, b]) ** 2).sum(-1))
    elif normalizer.box:
        annotated = ~np.isnan(t).any(-1, keepdims=True)
        low = np.where(annotated, t, np.inf).min(1, initial=np.inf)
        high = np.where(annotated, t, -np.inf).max(1, initial=-np.inf)
        lengths = np.maximum(high - low, 0.0).prod(-1) ** (1 / t.shape[-1])
    else:
        raise ConfigError(f"normalizer '{normalizer.name}': expected 'between' or 'box', got neither")
    return np.where(lengths > 0, lengths, np.nan)


def normalized_mean_error(
    pred: ArrayLike,
    truth: ArrayLike,
    normalizer: ArrayLike | Normalizer,
    landmarks: LandmarkSet | None = None,
    missing: Missing = "raise",
) -> float:
    """NME: mean over images of the mean error of an image divided by its length (300-W's definition).

    Images without an annotated landmark or without a length do not count. Say which normaliser it was beside the
    number.

    >>> normalized_mean_error([[[0.0, 1.0], [10.0, 0.0]]], [[[0.0, 0.0], [10.0, 0.0]]], [10.0])
    0.05
    """
    return mean_error(image_errors(normalized_error(pred, truth, normalizer, landmarks), missing))


def image_errors(errors: ArrayLike, missing: Missing = "raise") -> FloatArray:
    """Mean error (N,) of each image's annotated landmarks from errors (N, K); NaN without any."""
    e = _finite(as_array(errors), missing)
    if e.ndim != 2:
        raise DataError(f"errors: expected shape (N, K), got {e.shape}")
    return mean_by_image(e)


def mean_by_image(errors: FloatArray) -> FloatArray:
    """As ``image_errors``, but inf for an image that lacks a prediction, which is a failure."""
    counts = (~np.isnan(errors)).sum(1)
    return np.where(counts > 0, np.nansum(errors, 1) / np.maximum(counts, 1), np.nan)


def mean_error(errors: ArrayLike, missing: Missing = "raise") -> float:
    """Mean of the errors of any shape, NaN left out; inf is refused with DataError or left out, as ``missing`` says."""
    return _reduce(np.mean, _finite(as_array(errors), missing))


def standard_deviation(errors: ArrayLike, missing: Missing = "raise") -> float:
    """SD of the errors with N - 1 below, as the ISBI cephalogram challenge reports it; NaN for fewer than two."""
    values = _counted(_finite(as_array(errors), missing))
    return float(np.std(values, ddof=1)) if values.size > 1 else float("nan")


def median_error(errors: ArrayLike) -> float:
    """Median of the errors, NaN left out; a missing prediction counts as inf."""
    return _reduce(np.median, as_array(errors))


def success_rate(errors: ArrayLike, thresholds: Sequence[float]) -> dict[float, float]:
    """Share (0 to 1) of the errors that are at most each threshold, NaN left out."""
    values = _counted(errors)
    return {float(t): float((values <= t).mean()) if values.size else float("nan") for t in thresholds}


def failure_rate(errors: ArrayLike, threshold: float) -> float:
    """FR: share (0 to 1) of the errors above the threshold, NaN left out.

    >>> failure_rate([0.02, 0.08, 0.2, float("nan"), float("inf")], 0.08)
    0.5
    """
    return _reduce(np.mean, np.where(np.isnan(as_array(errors)), np.nan, as_array(errors) > threshold))


def cumulative_error(errors: ArrayLike, thresholds: ArrayLike | None = None) -> tuple[FloatArray, FloatArray]:
    """CED: (thresholds, shares), the share (0 to 1) of errors at most each threshold.

    Without ``thresholds`` the curve's own steps are returned, which are the distinct finite errors in order.

    >>> [values.tolist() for values in cumulative_error([2.0, 1.0, 2.0, float("inf")])]
    [[1.0, 2.0], [0.25, 0.75]]
    """
    values = np.sort(_counted(errors))
    steps = np.unique(values[np.isfinite(values)]) if thresholds is None else as_array(thresholds)
    if not values.size:
        return steps, np.full(steps.shape, np.nan)
    return steps, np.searchsorted(values, steps, side="right") / values.size


def area_under_ced(errors: ArrayLike, threshold: float) -> float:
    """AUC: area under the CED from 0 to ``threshold``, divided by it: 1 - mean(min(error, threshold)) / threshold.

    1 means no error at all, 0 that every error is at least the threshold. Exact, no integration steps.

    >>> area_under_ced([0.0, 0.05, 0.1, float("inf")], 0.1)
    0.375
    """
    if not threshold > 0:
        raise ConfigError(f"threshold: expected above 0, got {threshold}")
    return 1.0 - _reduce(np.mean, np.minimum(as_array(errors), threshold)) / threshold


def bootstrap_interval(
    values: ArrayLike,
    groups: Sequence[Any] | npt.NDArray[Any] | None = None,
    statistic: Callable[[FloatArray], float] = mean_error,
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    scale: Scale | None = None,
) -> tuple[float, float]:
    """Confidence interval (low, high) of a statistic for new subjects, from a bootstrap over subjects, not images.

    ``values`` (N, ...) has one row per image, ``groups`` (N,) its subject (None: each row is its own). The statistic
    gets the rows of ``n`` draws of subjects with replacement. Percentiles of these are too narrow for few subjects (of
    5, "95 %" held the truth in 80 %), so their standard deviation goes into an interval of Student's t:

    - ``scale="length"``, numbers above 0: on the logarithm, because errors are skewed
    - ``scale="share"``, numbers from 0 to 1: Wilson's interval (1927) of as many independent trials as have this
      deviation, or as there are subjects where all draws agree
    - ``scale="difference"``: as it is. None: a length, or a difference where any value is negative

    (NaN, NaN) for fewer than ``MIN_SUBJECTS``. Raises DataError when the lengths differ, ConfigError for a level
    outside 0 to 1 or n below 2.

    >>> errors = [1.0, 2.0, 1.5, 3.0, 2.5, 2.0, 4.0, 2.0]
    >>> low, high = bootstrap_interval(errors, list("aabbccde"))
    >>> round(low, 1), round(high, 1), bootstrap_interval(errors, list("aabbccdd"))
    (1.4, 3.6, (nan, nan))
    """
    rows = np.atleast_1d(as_array(values))
    labels = np.arange(len(rows)) if groups is None else np.asarray(groups)
    if labels.shape != rows.shape[:1]:
        raise DataError(f"groups: expected one for each of the {len(rows)} rows of values, got shape {labels.shape}")
    if not 0 < level < 1 or n < 2:
        raise ConfigError(f"bootstrap: expected 0 < level < 1 and n >= 2, got level={level}, n={n}")
    subject, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    if len(counts) < MIN_SUBJECTS:
        return float("nan"), float("nan")
    order = np.argsort(subject, kind="stable")
    starts = np.cumsum(counts) - counts
    random = np.random.default_rng(seed)
    results = np.empty(n)
    for i in range(n):
        drawn = random.integers(len(counts), size=len(counts))
        lengths = counts[drawn]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        results[i] = statistic(rows[order[np.repeat(starts[drawn], lengths) + within]])
    found, results = float(statistic(rows)), results[~np.isnan(results)]
    if len(results) < 2 or math.isnan(found):
        return float("nan"), float("nan")
    chosen = scale or ("difference" if (rows < 0).any() else "length")
    return _t_interval(found, results, len(counts), level, chosen)


def _t_interval(found: float, draws: FloatArray, subjects: int, level: float, scale: Scale) -> tuple[float, float]:
    t = float(student_t.ppf((1 + level) / 2, subjects - 1))
    # Draws vary less than samples do, by (S - 1) / S; the rest is for skewed subjects. Coverage is simulated in tests.
    inflation = math.sqrt((subjects + 1) / (subjects - 1))
    if scale == "share":
        deviation = inflation * float(draws.std(ddof=1))
        trials = found * (1 - found) / deviation**2 if deviation > 1e-12 else subjects
        trials = max(trials, 1.0)
        middle, width = found + t**2 / (2 * trials), t * math.sqrt(found * (1 - found) / trials + (t / trials / 2) ** 2)
        low, high = np.clip(np.array([middle - width, middle + width]) / (1 + t**2 / trials), 0, 1).tolist()
        return low, high
    if scale == "length" and found > 0 and (draws > 0).all():
        width = t * inflation * float(np.log(draws).std(ddof=1))
        return found * math.exp(-width), found * math.exp(width)
    width = t * inflation * float(draws.std(ddof=1))
    return found - width, found + width


def plain(value: float) -> float | None:
    """A number for JSON: None where it is not defined."""
    return float(value) if np.isfinite(value) else None


def plain_pair(interval: tuple[float, float]) -> list[float] | None:
    """An interval for JSON: None where it is not defined."""
    return [float(bound) for bound in interval] if np.isfinite(interval).all() else None


def _counted(errors: ArrayLike) -> FloatArray:
    values = as_array(errors).ravel()
    return values[~np.isnan(values)]


def _reduce(function: Callable[[FloatArray], Any], errors: FloatArray) -> float:
    values = _counted(errors)
    return float(function(values)) if values.size else float("nan")


def _finite(errors: FloatArray, missing: Missing) -> FloatArray:
    """Errors without inf: refused, or turned into NaN."""
    if missing not in ("raise", "ignore"):
        raise ConfigError(f"missing: expected 'raise' or 'ignore', got {missing!r}")
    lost = np.isinf(errors)
    if missing == "raise" and lost.any():
        where = ", ".join(str(int(i)) for i in np.argwhere(lost)[0])
        raise DataError(
            f"{int(lost.sum())} annotated landmarks have no finite prediction, the first at index ({where}); "
            "a mean over them is not defined: pass missing='ignore' to leave them out, and report how many"
        )
    return np.where(lost, np.nan, errors)
