"""Differences of two predictions of the same images, paired, with their intervals over subjects."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.detection import DetectionCounts
from trigpoint.metrics.detection_report import MEASURES, summed
from trigpoint.metrics.functional import bootstrap_interval, mean_error

Errors = Sequence[FloatArray]  # (N, K) of each seed
Gap = tuple[float, tuple[float, float]]  # a difference and its 95 % interval


def difference(ours: Errors, others: Errors, subjects: Sequence[str]) -> tuple[float, tuple[float, float]]:
    """Mean of ``ours`` minus that of ``others``, errors (N, K) of each seed, and its 95 % interval over subjects.

    Images and landmarks are the same and paired, so their difficulty cancels; seeds are averaged first, as far as a
    setting has them. NaN when a point has no prediction.

    >>> difference([np.array([[1.0], [2.0]])], [np.array([[2.0], [2.0]])], ["anna", "ben"])[0]
    -0.5
    """
    means = [np.stack(list(seeds)).mean(axis=0) for seeds in (ours, others)]
    if np.isinf(means).any():
        return math.nan, (math.nan, math.nan)
    gaps = means[0] - means[1]
    return mean_error(gaps), bootstrap_interval(gaps, list(subjects))


def detection_differences(
    ours: DetectionCounts, others: DetectionCounts, subjects: Sequence[str], landmark: int | None = None
) -> dict[str, Gap]:
    """Precision, recall, F1 and mean distance of ``ours`` minus those of ``others``, counted strictly, and their 95 %
    intervals over subjects (I,); of one landmark, or of all together.

    >>> one, none = np.array([[1], [1]]), np.array([[0], [1]])
    >>> better, worse = (DetectionCounts(hits, one, one, 0.0 * hits) for hits in (one, none))
    >>> detection_differences(better, worse, ["anna", "ben"])["recall"][0]
    0.5
    """
    pair = summed(ours, landmark), summed(others, landmark)
    if len(pair[0]) != len(pair[1]):
        raise DataError(f"detections: expected counts of the same images, got {len(pair[0])} and {len(pair[1])}")
    rows = np.concatenate(pair, axis=1)
    found: dict[str, Gap] = {}
    for name, measure in MEASURES.items():
        gap = partial(_gap, measure)
        found[name] = gap(rows), bootstrap_interval(rows, list(subjects), gap, scale="difference")
    return found


def _gap(measure: Callable[[FloatArray], FloatArray], drawn: FloatArray) -> float:
    sums = drawn.sum(axis=0)
    half = len(sums) // 2
    return float(measure(sums[:half]) - measure(sums[half:]))
