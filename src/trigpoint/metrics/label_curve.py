"""What more labels would bring: errors of trainings with fewer labels, and the power law through them.

Errors of learned models fall as a power of the number of examples over a wide range (Hestness et al. 2017, Rosenfeld et
al. ICLR 2020), until they reach what labels and images allow. The law knows no such floor, so that it is too hopeful
where the floor is near: hence it is said for at most ten times the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class LabelCurve:
    """Mean errors (T,) after trainings with ``counts`` (T,) labelled images, all measured on the same images.

    ``error`` = exp(``intercept``) * count ** ``slope``, fitted to the logarithms. ``covariance`` (2, 2) of the two: of
    the images that were measured, by draws of their subjects, and of the distance of the trainings from the line.
    """

    counts: FloatArray
    errors: FloatArray
    intercept: float
    slope: float
    covariance: FloatArray

    def expected(self, count: float) -> tuple[float, float, float]:
        """The error to expect of ``count`` labels, and its interval of 95 % (low, high)."""
        at = np.array([1.0, np.log(count)])
        middle = float(at @ (self.intercept, self.slope))
        width = 1.96 * float(np.sqrt(max(at @ self.covariance @ at, 0.0)))
        return float(np.exp(middle)), float(np.exp(middle - width)), float(np.exp(middle + width))


def label_curve(
    counts: Sequence[int], sums: FloatArray, points: FloatArray, subjects: Sequence[str], seed: int = 0
) -> LabelCurve:
    """The power law of trainings with ``counts`` (T,) labelled images.

    ``sums`` (T, N) are the errors of each measured image, summed over its ``points`` (N,) annotated points, and
    ``subjects`` (N,) whom it shows. More labels are taken to do no harm: the slope is at most 0. Raises DataError for
    fewer than two trainings of different numbers, and for an error that is 0 or not known.

    >>> law = label_curve([25, 50, 100], np.array([[8.0], [4.0], [2.0]]), np.array([1.0]), ["ann"])
    >>> round(law.slope, 6), [round(value, 6) for value in law.expected(200)]
    (-1.0, [1.0, 1.0, 1.0])
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if len(set(counts)) < 2:
        raise DataError(f"label curve: expected trainings with at least two numbers of images, got {list(counts)}")
    errors = sums.sum(1) / points.sum()
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise DataError(f"label curve: expected errors above 0 of each training, got {errors.tolist()}")
    ways = np.stack([np.ones_like(numbers), np.log(numbers)], 1)
    intercept, slope = _line(ways, np.log(errors))
    names, owner = np.unique(np.asarray(subjects), return_inverse=True)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        weight = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[owner]
        drawn = (sums * weight).sum(1) / max((points * weight).sum(), 1e-12)
        if (drawn > 0).all():
            draws.append(_line(ways, np.log(drawn)))
    spread = np.cov(np.array(draws).T) if len(draws) > 1 else np.zeros((2, 2))
    rest = np.log(errors) - ways @ (intercept, slope)
    off = float(rest @ rest) / max(len(numbers) - 2, 1) * np.linalg.inv(ways.T @ ways)
    return LabelCurve(numbers, errors, intercept, slope, spread + off)


def _line(ways: FloatArray, values: FloatArray) -> tuple[float, float]:
    intercept, slope = np.linalg.lstsq(ways, values, rcond=None)[0].tolist()
    return (intercept, slope) if slope <= 0 else (float(values.mean()), 0.0)
