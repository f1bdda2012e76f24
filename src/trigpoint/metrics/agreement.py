"""How far people who label the same images agree: distances, bias, limits of agreement, intraclass correlation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.units import ArrayLike, as_array

LIMITS = float(norm.ppf(0.975))  # 1.96 standard deviations: 95 % of normal differences


def limits_of_agreement(
    differences: ArrayLike, subjects: Sequence[Any] | npt.NDArray[Any] | None = None
) -> tuple[float, float, float]:
    """Mean difference, and the limits between which 95 % of differences lie if they are normal (Bland and Altman 1986).

    ``differences`` (n,), NaN = unknown. Below two known ones the limits are NaN. ``subjects`` (n,) whom they are of
    (None: each is its own): those of one subject are alike, so the limits are those of an image of another subject; see
    ``deviation``.

    >>> [round(value, 2) for value in limits_of_agreement([1.0, 2.0, 3.0, float("nan")])]
    [2.0, 0.04, 3.96]
    """
    values = as_array(differences).ravel()
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    wide = LIMITS * deviation(values, subjects)
    return mean, mean - wide, mean + wide


def deviation(differences: ArrayLike, subjects: Sequence[Any] | npt.NDArray[Any] | None = None) -> float:
    """Standard deviation of a difference in one image of a subject that is drawn anew, NaN below two of them.

    The variance within subjects and that between them, of a one-way analysis of variance (Bland and Altman 2007,
    section 3). With one image each it is the usual standard deviation.

    >>> round(deviation([1.0, 2.0, 3.0]), 3), round(deviation([0.0, 2.0, 5.0, 7.0], ["a", "a", "b", "b"]), 3)
    (1.0, 3.674)
    """
    values = as_array(differences).ravel()
    there = np.isfinite(values)
    known = values[there]
    owner = np.arange(len(known)) if subjects is None else np.asarray(subjects)[there]
    _, member, counts = np.unique(owner, return_inverse=True, return_counts=True)
    groups, total = len(counts), len(known)
    if groups < 2:
        return float("nan")
    means = np.bincount(member, known) / counts
    between = float((counts * np.square(means - known.mean())).sum()) / (groups - 1)
    if groups == total:
        return float(np.sqrt(between))
    within = float(np.square(known - means[member]).sum()) / (total - groups)
    each = (total - float(np.square(counts).sum()) / total) / (groups - 1)  # images of a subject, as far as they differ
    return float(np.sqrt(within + max(between - within, 0.0) / each))


def intraclass_correlation(ratings: ArrayLike, absolute: bool = True) -> float:
    """ICC of single ratings (n, k) of n targets by the same k raters; rows with a NaN do not count.

    ``absolute``: ICC(2,1), agreement in value of raters drawn from many, to which a bias counts; else ICC(3,1),
    consistency of these raters. From the mean squares of a two-way analysis of variance (Shrout and Fleiss 1979; A,1
    and C,1 of McGraw and Wong 1996). NaN below two targets, and where nothing varies.

    Raises DataError for anything but two or more raters.

    >>> judges = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> round(intraclass_correlation(judges), 2), round(intraclass_correlation(judges, absolute=False), 2)
    (0.29, 0.71)
    """
    values: FloatArray = as_array(ratings)
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(f"ratings: expected an array (n, k) of two raters or more, got {values.shape}")
    values = values[np.isfinite(values).all(1)]
    n, k = values.shape
    if n < 2:
        return float("nan")
    values = values - values.mean()  # so that large coordinates lose no digits
    targets, raters = values.mean(1), values.mean(0)
    between = k * float(np.square(targets).sum()) / (n - 1)
    bias = n * float(np.square(raters).sum()) / (k - 1)
    rest = float(np.square(values - targets[:, None] - raters).sum()) / ((n - 1) * (k - 1))
    total = between + (k - 1) * rest + (k * (bias - rest) / n if absolute else 0.0)
    return (between - rest) / total if total > 0 else float("nan")
