"""Precision, recall, F1 and distance of detections over a set of images, with intervals.

Micro averages: counts are added up over images (and over landmarks for the total) before anything is divided. A ratio
of 0 and 0 is not defined and is NaN, never 0 or 1: the precision without a prediction, the recall without a true
instance. F1 is 2 TP / (2 TP + FP + misses), which is 0 where there are instances and nothing was found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.detection import COUNTINGS, Counting, DetectionCounts, PerLandmark, count_detections, radii
from trigpoint.metrics.functional import bootstrap_interval, plain, plain_pair
from trigpoint.metrics.units import ArrayLike, as_array


@dataclass(frozen=True)
class DetectionScores:
    """Scores of one landmark, or of all together, over a set; NaN where not defined.

    ``distance`` is the mean distance of the pairs, in the unit of the points. ``intervals`` holds the 95 % intervals
    (low, high) of ``precision``, ``recall``, ``f1`` and ``distance_px``.
    """

    precision: float
    recall: float
    f1: float
    distance: float
    true_positives: int
    false_positives: int
    misses: int
    intervals: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON without the intervals, None where not defined."""
        measures = {"precision": self.precision, "recall": self.recall, "f1": self.f1, "distance_px": self.distance}
        counts = {name: getattr(self, name) for name in ("true_positives", "false_positives", "misses")}
        return {name: plain(value) for name, value in measures.items()} | counts


@dataclass(frozen=True)
class DetectionReport:
    """Result of ``detection_scores``: for each way of counting the scores of each landmark and of all together.

    ``radius`` (I,) is that of each image; ``threshold`` as given, None = every prediction counts.
    """

    per_landmark: Mapping[Counting, Mapping[str, DetectionScores]]
    total: Mapping[Counting, DetectionScores]
    counts: DetectionCounts
    radius: FloatArray
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Keys of an evaluation's dict: ``detection`` and ``detection_lenient`` per landmark, ``detection_total`` per
        way of counting, ``detection_radius_px`` (or [smallest, largest]), ``detection_threshold``.
        """
        low, high = float(self.radius.min()), float(self.radius.max())
        return {
            **{key: {name: row.to_dict() for name, row in rows.items()} for key, rows in self._tables().items()},
            "detection_radius_px": low if low == high else [low, high],
            "detection_threshold": self.threshold,
        }

    def intervals(self) -> dict[str, dict[str, dict[str, list[float] | None]]]:
        """What belongs under ``ci95``: {key of ``to_dict``: {row: {measure: [low, high], or None}}}."""
        return {
            key: {name: {measure: plain_pair(b) for measure, b in row.intervals.items()} for name, row in rows.items()}
            for key, rows in self._tables().items()
        }

    def _tables(self) -> dict[str, dict[str, DetectionScores]]:
        return {
            "detection": dict(self.per_landmark["strict"]),
            "detection_lenient": dict(self.per_landmark["lenient"]),
            "detection_total": {str(counting): row for counting, row in self.total.items()},
        }


def detection_scores(
    pred: PerLandmark,
    truth: PerLandmark,
    radius: ArrayLike,
    names: Sequence[str],
    *,
    scores: PerLandmark | None = None,
    threshold: float | None = None,
    annotated: npt.ArrayLike | None = None,
    groups: Sequence[Any] | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> DetectionReport:
    """Precision, recall, F1 and mean distance of a set of images, counted strictly and leniently.

    ``names`` of the K landmarks; the other arguments before ``groups`` are those of ``count_detections``. ``groups``
    (I,): what the 95 % intervals are drawn over, such as subjects or sequences (None: images); (NaN, NaN) for fewer
    than ``MIN_SUBJECTS``. ``draws=0`` leaves the intervals out.

    >>> truth = [[[[10.0, 10.0], [60.0, 60.0]]], [[]]]  # two images of one landmark: two instances, then none
    >>> found = [[[[13.0, 14.0], [90.0, 90.0]]], [[]]]
    >>> report = detection_scores(found, truth, 20.0, ["tip"])
    >>> tip = report.per_landmark["strict"]["tip"]
    >>> tip.precision, tip.recall, tip.f1, tip.distance
    (0.5, 0.5, 0.5, 5.0)
    >>> report.per_landmark["lenient"]["tip"].recall  # as many predictions as instances: no miss
    1.0
    """
    counts = count_detections(pred, truth, radius, scores=scores, threshold=threshold, annotated=annotated)
    if counts.actual.shape[1] != len(names):
        raise DataError(f"names: expected {counts.actual.shape[1]}, one per landmark, got {len(names)}")
    score = partial(_scores, groups=groups, draws=draws, seed=seed)
    per_landmark: dict[Counting, dict[str, DetectionScores]] = {}
    total: dict[Counting, DetectionScores] = {}
    for counting in COUNTINGS:
        per_landmark[counting] = {name: score(summed(counts, k, counting)) for k, name in enumerate(names)}
        total[counting] = score(summed(counts, None, counting))
    return DetectionReport(per_landmark, total, counts, radii(radius, len(counts.actual)), threshold)


def summed(counts: DetectionCounts, landmark: int | None = None, counting: Counting = "strict") -> FloatArray:
    """True positives, predictions, misses and sum of distances (I, 4) of one landmark, or of all together."""
    parts = (counts.true_positives, counts.predicted, counts.misses(counting), counts.distance)
    rows = np.stack([part.astype(np.float64) for part in parts], axis=-1)  # (I, K, 4)
    return np.asarray(rows.sum(axis=1) if landmark is None else rows[:, landmark])


def ratio(above: ArrayLike, below: ArrayLike) -> FloatArray:
    """Quotient of counts; NaN for 0 / 0.

    >>> ratio([1, 0, 0], [2, 3, 0]).tolist()
    [0.5, 0.0, nan]
    """
    a, b = np.broadcast_arrays(as_array(above), as_array(below))
    return np.asarray(np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0))


# Of sums over images (true positives, predictions, misses, distance): what is divided by what.
MEASURES: dict[str, Callable[[FloatArray], FloatArray]] = {
    "precision": lambda s: ratio(s[0], s[1]),
    "recall": lambda s: ratio(s[0], s[0] + s[2]),
    "f1": lambda s: ratio(2 * s[0], s[0] + s[1] + s[2]),
    "distance_px": lambda s: ratio(s[3], s[0]),
}


def _scores(rows: FloatArray, groups: Sequence[Any] | None, draws: int, seed: int) -> DetectionScores:
    """Scores of rows (I, 4): true positives, predictions, misses and the sum of distances of each image."""
    sums = rows.sum(axis=0)
    precision, recall, f1, distance = (float(measure(sums)) for measure in MEASURES.values())
    intervals = {
        name: bootstrap_interval(
            rows, groups, partial(_of_drawn, measure), draws, seed, scale="length" if name == "distance_px" else "share"
        )
        for name, measure in MEASURES.items()
        if draws
    }
    hits, predicted, misses = (int(value) for value in sums[:3])
    return DetectionScores(precision, recall, f1, distance, hits, predicted - hits, misses, intervals)


def _of_drawn(measure: Callable[[FloatArray], FloatArray], drawn: FloatArray) -> float:
    return float(measure(drawn.sum(axis=0)))
