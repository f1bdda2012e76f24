"""Precision and recall of detections against the score threshold, exactly: one point for each distinct score.

Predictions are taken in by falling score. Of each only this is asked: does it lead to one more pair, by an augmenting
path (Kuhn's algorithm)? So the whole curve costs about one matching, and its counts are those that ``count_detections``
finds with a threshold just below each score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, IntArray
from trigpoint.metrics.detection import PerLandmark, cells, distances, radii, shape_of
from trigpoint.metrics.detection_report import ratio
from trigpoint.metrics.units import ArrayLike


@dataclass(frozen=True)
class PrecisionRecall:
    """Counts of each landmark at each level of the score, over a set of images.

    ``levels`` (T,) are the distinct scores, falling; at each, the predictions with this score or a higher one count.
    ``true_positives`` and ``predicted`` (T, K) are pairs and predictions; ``actual`` (K,) are the true instances, each
    without a partner a miss (``strict``). T is 0 without predictions.
    """

    levels: FloatArray
    true_positives: IntArray
    predicted: IntArray
    actual: IntArray

    def precision(self) -> FloatArray:
        """Precision (T, K), NaN where nothing is predicted."""
        return ratio(self.true_positives, self.predicted)

    def recall(self) -> FloatArray:
        """Recall (T, K), NaN without true instances."""
        return ratio(self.true_positives, self.actual)

    def f1(self) -> FloatArray:
        """F1 (T, K), NaN where there are neither predictions nor true instances."""
        return ratio(2 * self.true_positives, self.predicted + self.actual)

    def pooled(self) -> PrecisionRecall:
        """All landmarks together as one, K = 1."""
        hits, predicted = (n.sum(axis=1, keepdims=True) for n in (self.true_positives, self.predicted))
        return PrecisionRecall(self.levels, hits, predicted, self.actual.sum(keepdims=True))

    def average_precision(self) -> FloatArray:
        """Area (K,) under the curve of precision against strict recall; NaN for a landmark without true instances.

        Precision at a recall is the largest one at that or a higher recall, as in PASCAL VOC since 2010; recall that
        is never reached adds nothing.
        """
        if not self.levels.size:
            return np.where(self.actual > 0, 0.0, np.nan)
        best = np.maximum.accumulate(np.nan_to_num(self.precision())[::-1], axis=0)[::-1]
        found = np.diff(self.true_positives, axis=0, prepend=0)
        return ratio((found * best).sum(axis=0), self.actual)


def precision_recall(
    pred: PerLandmark,
    truth: PerLandmark,
    scores: PerLandmark,
    radius: ArrayLike,
    *,
    annotated: npt.ArrayLike | None = None,
) -> PrecisionRecall:
    """The counts at every level of the scores (N,) of ``scores[i][k]``; arguments as of ``count_detections``.

    >>> found, truth = [[[[0.0, 1.0], [50.0, 50.0], [9.0, 0.0]]]], [[[[0.0, 0.0], [10.0, 0.0]]]]
    >>> curve = precision_recall(found, truth, [[[0.9, 0.6, 0.3]]], radius=5)
    >>> curve.levels.tolist(), curve.precision()[:, 0].round(3).tolist(), curve.recall()[:, 0].tolist()
    ([0.9, 0.6, 0.3], [1.0, 0.5, 0.667], [0.5, 0.5, 1.0])
    >>> curve.average_precision().round(3).tolist(), round(best_threshold(curve), 3)
    ([0.833], 0.3)
    """
    images, count = shape_of(pred, truth)
    within = radii(radius, images)
    actual = np.zeros(count, dtype=np.int64)
    scored: list[FloatArray] = [np.empty(0)]
    steps: list[IntArray] = [np.empty((0, 2), dtype=np.int64)]  # landmark, one more pair
    for i, k, p, t, s in cells(pred, truth, scores, annotated):
        order = np.argsort(-s, kind="stable")
        gains = _gains(distances(p[order], t) < within[i])
        scored.append(s[order])
        steps.append(np.stack([np.full(len(p), k), gains], axis=1))
        actual[k] += len(t)
    level, step = np.concatenate(scored), np.concatenate(steps)
    order = np.argsort(-level, kind="stable")
    level, step = level[order], step[order]
    last = np.flatnonzero(np.append(level[1:] != level[:-1], True)[: len(level)])
    owner = step[:, :1] == np.arange(count)
    hits, predicted = (np.cumsum(owner * gain, axis=0)[last] for gain in (step[:, 1:], 1))
    return PrecisionRecall(level[last], hits, predicted, actual)


def best_threshold(curve: PrecisionRecall) -> float:
    """The score threshold with the largest F1, mean over landmarks; of equal ones the highest.

    Choose it on **validation** images, never on those that are reported. It lies just below the lowest score that is to
    count, by one step of float32, so that this score exceeds it in either precision. Landmarks without a true instance
    have no F1 and are left out. NaN when there was no prediction to choose by; raises DataError when there was no
    instance.
    """
    known = curve.actual > 0
    if not known.any():
        raise DataError("threshold: expected at least one true instance to choose by, got none; add annotated images")
    if not curve.levels.size:
        return float("nan")
    mean = curve.f1()[:, known].mean(axis=1)
    level = curve.levels[np.argmax(mean >= mean.max() - 1e-12)]  # rounding must not decide between equals
    return float(np.nextafter(np.float32(level), np.float32(-np.inf)))


def _gains(near: npt.NDArray[np.bool_]) -> IntArray:
    """For predictions (N, M) in order, near[n, m] = within the radius: 1 (N,) where one more pair becomes possible."""
    gains = np.zeros(len(near), dtype=np.int64)
    reach = [np.flatnonzero(row).tolist() for row in near]
    partner: dict[int, int] = {}

    def augment(prediction: int, seen: set[int]) -> bool:
        for instance in reach[prediction]:
            if instance in seen:
                continue
            seen.add(instance)
            if instance not in partner or augment(partner[instance], seen):
                partner[instance] = prediction
                return True
        return False

    for n in np.flatnonzero(near.any(axis=1)).tolist():
        gains[n] = augment(n, set())
    return gains
