"""How far people who label the same images agree: distances, bias, limits of agreement, intraclass correlation."""

import numpy as np
from scipy.stats import norm

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.functional import ArrayLike, as_array

LIMITS = float(norm.ppf(0.975))  # 1.96 standard deviations: 95 % of normal differences


def limits_of_agreement(differences: ArrayLike) -> tuple[float, float, float]:
    """Mean difference, and the limits between which 95 % of differences lie if they are normal (Bland and Altman 1986).

    ``differences`` (n,), NaN = unknown. Below two known ones the limits are NaN.

    >>> [round(value, 2) for value in limits_of_agreement([1.0, 2.0, 3.0, float("nan")])]
    [2.0, 0.04, 3.96]
    """
    known = as_array(differences).ravel()
    known = known[np.isfinite(known)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    wide = LIMITS * float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    return mean, mean - wide, mean + wide


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
