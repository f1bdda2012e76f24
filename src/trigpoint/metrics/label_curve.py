"""What more labels would bring: errors of trainings with fewer labels, and the law through them.

Errors of learned models fall as a power of the number of examples until they reach what labels and images allow
(Hestness et al. 2017, Rosenfeld et al. ICLR 2020): error(n) = floor + scale * n ** slope. Two or three trainings do not
tell the floor, and a law without one promises far too much: it would have landmarks of faces found to 1.3 px that end
at 2.0. So floors from none to nearly the least error are all fitted. Each counts by how well its law goes through the
trainings, and higher ones count more, since labels are never exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray

DRAWS = 1000
LEVEL = 0.95
FLOORS = np.linspace(0.05, 0.95, 19)
"""Shares of the least error that may be its floor. Each counts by its size at first."""
TRAINING_SD = 0.015
"""Of the logarithm of the error, between trainings that differ in nothing but their seed."""
STEEPEST = -1.0


@dataclass(frozen=True)
class LabelCurve:
    """Mean errors (T,) after trainings with ``counts`` (T,) labelled images, all measured on the same images.

    ``laws`` (L, 3), floor, scale and slope of error = floor + scale * count ** slope, and ``weights`` (L,) of sum
    1: for draws of the subjects that were measured and of the trainings, and for floors of any height.
    """

    counts: FloatArray
    errors: FloatArray
    laws: FloatArray
    weights: FloatArray

    def expected(self, count: float) -> tuple[float, float, float]:
        """The error to expect of ``count`` labels, the median of all laws, and its interval of 95 % (low, high)."""
        floor, scale, slope = self.laws.T
        values = floor + scale * count**slope
        order = np.argsort(values)
        below = np.cumsum(self.weights[order])
        at = np.searchsorted(below, [0.5, (1 - LEVEL) / 2, (1 + LEVEL) / 2]).clip(max=len(order) - 1)
        middle, low, high = values[order][at].tolist()
        return middle, low, high


def label_curve(
    counts: Sequence[int], sums: FloatArray, points: FloatArray, subjects: Sequence[str], seed: int = 0
) -> LabelCurve:
    """The laws of trainings with ``counts`` (T,) labelled images.

    ``sums`` (T, N) are the errors of each measured image, summed over its ``points`` (N,) annotated points, and
    ``subjects`` (N,) whom it shows. More labels are taken to do no harm: no slope is above 0. Raises DataError for
    fewer than two trainings of different numbers, and for an error that is 0 or not known.

    >>> law = label_curve([50, 100, 200], np.array([[4.20], [3.39], [2.89]]), np.array([1.0]), ["ann"])
    >>> value, low, high = law.expected(2270)  # 2.29 was measured
    >>> round(value, 1), low < 2.29 < high
    (2.1, True)
    """
    numbers = np.asarray(counts, dtype=np.float64)
    if len(set(counts)) < 2:
        raise DataError(f"label curve: expected trainings with at least two numbers of images, got {list(counts)}")
    errors = sums.sum(1) / points.sum()
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise DataError(f"label curve: expected errors above 0 of each training, got {errors.tolist()}")
    names, owner = np.unique(np.asarray(subjects), return_inverse=True)
    rng = np.random.default_rng(seed)
    laws, weights = [], []
    for _ in range(DRAWS):
        times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[owner]
        drawn = (sums * times).sum(1) / max((points * times).sum(), 1e-12)
        if (drawn > 0).all():
            found, weight = _laws(numbers, drawn * np.exp(TRAINING_SD * rng.standard_normal(len(drawn))))
            laws.append(found)
            weights.append(weight)
    weight = np.concatenate(weights)
    return LabelCurve(numbers, errors, np.concatenate(laws), weight / weight.sum())


def _laws(counts: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The law through errors (T,) for each floor (F, 3), and how likely it is (F,)."""
    floor = FLOORS[:, None] * errors.min()
    x, y = np.log(counts), np.log(errors - floor)
    weight = np.square((errors - floor) / errors)  # so that each error counts by its own logarithm
    weight /= weight.sum(1, keepdims=True)
    x0, y0 = (weight * x).sum(1, keepdims=True), (weight * y).sum(1, keepdims=True)
    steep = (weight * (x - x0) * (y - y0)).sum(1, keepdims=True)
    slope = np.clip(steep / (weight * (x - x0) ** 2).sum(1, keepdims=True), STEEPEST, 0.0)
    scale = np.exp(y0 - slope * x0)
    rest = np.log(errors) - np.log(floor + scale * counts**slope)
    likely = FLOORS * np.exp(-np.square(rest / TRAINING_SD).sum(1) / 2)
    return np.concatenate([floor, scale, slope], 1), np.maximum(likely, 1e-300)
