"""Detections against several true instances of a landmark in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import FloatArray, IntArray
from trigpoint.metrics.functional import ArrayLike, as_array


@dataclass(frozen=True)
class Matches:
    """Pairs of a prediction and a true instance, and how many were left over.

    ``pred`` and ``truth`` (P,) are row numbers of the arrays given, ``distance`` (P,) is in their unit, sorted by
    ``truth``. ``num_pred`` and ``num_truth`` count the rows without NaN.
    """

    pred: IntArray
    truth: IntArray
    distance: FloatArray
    num_pred: int
    num_truth: int

    @property
    def true_positives(self) -> int:
        """Number of pairs."""
        return len(self.distance)

    @property
    def false_positives(self) -> int:
        """Predictions without a true instance."""
        return self.num_pred - self.true_positives

    @property
    def false_negatives(self) -> int:
        """True instances without a prediction."""
        return self.num_truth - self.true_positives


def match_instances(pred: ArrayLike, truth: ArrayLike, radius: float) -> Matches:
    """Pair predictions (M, 2) with true instances (N, 2) one to one, at most ``radius`` apart.

    As many pairs as possible, and among those the smallest sum of distances (Hungarian method). Everything unpaired is
    counted, unlike in evaluations that count a miss only when there are fewer predictions than instances. Rows with
    NaN are no detection, or no instance. Raises DataError for other shapes, ConfigError for a radius not above 0.

    >>> found = match_instances([[0.0, 1.0], [50.0, 50.0]], [[0.0, 0.0], [10.0, 0.0]], radius=5)
    >>> found.pred.tolist(), found.truth.tolist(), found.false_positives, found.false_negatives
    ([0], [0], 1, 1)
    """
    if not radius > 0:
        raise ConfigError(f"radius: expected above 0, got {radius}")
    p, t = _rows(pred, "predictions"), _rows(truth, "truth")
    if p.shape[1] != t.shape[1]:
        raise DataError(f"predictions and truth: expected points alike, got {p.shape} and {t.shape}")
    valid_p, valid_t = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (p, t))
    distance = np.linalg.norm(p[valid_p][:, None] - t[valid_t][None], axis=-1)
    # One pair beyond the radius must cost more than all pairs within it, or a short sum could mean fewer pairs.
    cost = np.where(distance <= radius, distance, radius * (min(distance.shape) + 1.0))
    i, j = linear_sum_assignment(cost)
    within = distance[i, j] <= radius
    i, j = i[within], j[within]
    order = np.argsort(j, kind="stable")
    i, j = i[order], j[order]
    return Matches(valid_p[i], valid_t[j], distance[i, j], len(valid_p), len(valid_t))


def _rows(points: ArrayLike, what: str) -> FloatArray:
    rows = as_array(points)
    if rows.size == 0:
        return rows.reshape(0, rows.shape[-1] if rows.ndim == 2 and rows.shape[-1] else 2)
    if rows.ndim != 2:
        raise DataError(f"{what}: expected shape (M, 2), got {rows.shape}")
    return rows
