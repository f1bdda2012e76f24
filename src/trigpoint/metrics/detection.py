"""Detections against several true instances of a landmark in one image: matching and counting.

Counts come from one-to-one pairs of predictions and true instances of the same landmark in the same image. What is left
over can be counted in two ways, because published numbers mix them:

- ``strict``: a true instance without a partner is a miss, a prediction without a partner is a false positive.
- ``lenient``: misses are counted only where an image has fewer predictions of the landmark than instances, and only as
  many as it has fewer. A prediction far from every instance is a false positive, but hides a miss. Pairs and false
  positives are those of ``strict``, so only recall and F1 differ.

``lenient`` counts misses as the public evaluation of EndoVis 2015 poses by Kayhan et al. (2019) does. That code also
pairs by the smallest sum of squared distances before it looks at the radius, and never counts predictions beyond the
number of instances. Both are left out: with the second, a detector that marks every pixel would score 100 %.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import linear_sum_assignment

from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import FloatArray, IntArray
from trigpoint.metrics.units import ArrayLike, as_array

Counting = Literal["strict", "lenient"]
COUNTINGS: tuple[Counting, ...] = ("strict", "lenient")
PerLandmark = Sequence[Sequence[ArrayLike]] | npt.NDArray[Any] | torch.Tensor  # [image][landmark]: points, or scores


def matching_radius(height: float) -> float:
    """Radius of a match in an image of this height: 20 px at 720 x 576, as in EndoVis 2015, so 20 * height / 576.

    >>> matching_radius(576), matching_radius(288)
    (20.0, 10.0)
    """
    if not 0 < height < np.inf:
        raise ConfigError(f"height of the image: expected pixels above 0, got {height}")
    return 20.0 * height / 576


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


def match_instances(pred: ArrayLike, truth: ArrayLike, radius: float, inclusive: bool = True) -> Matches:
    """Pair predictions (M, 2) with true instances (N, 2) one to one, at most ``radius`` apart.

    As many pairs as possible, and among those the smallest sum of distances (Hungarian method). Rows with NaN are no
    detection, or no instance. ``inclusive=False`` wants pairs nearer than the radius, as the scores of a set do. Raises
    DataError for other shapes, ConfigError for a radius not above 0.

    >>> found = match_instances([[0.0, 1.0], [50.0, 50.0]], [[0.0, 0.0], [10.0, 0.0]], radius=5)
    >>> found.pred.tolist(), found.truth.tolist(), found.false_positives, found.false_negatives
    ([0], [0], 1, 1)
    """
    if not radius > 0:
        raise ConfigError(f"radius: expected above 0, got {radius}")
    p, t = _points(pred, "predictions"), _points(truth, "truth")
    valid_p, valid_t = (np.flatnonzero(np.isfinite(rows).all(1)) for rows in (p, t))
    distance = distances(p[valid_p], t[valid_t])
    near = distance <= radius if inclusive else distance < radius
    # One pair beyond the radius must cost more than all pairs within it, or a short sum could mean fewer pairs.
    i, j = linear_sum_assignment(np.where(near, distance, radius * (min(distance.shape) + 1.0)))
    within = near[i, j]
    i, j = i[within], j[within]
    order = np.argsort(j, kind="stable")
    i, j = i[order], j[order]
    return Matches(valid_p[i], valid_t[j], distance[i, j], len(valid_p), len(valid_t))


@dataclass(frozen=True)
class DetectionCounts:
    """What was found of each landmark in each image, arrays (I, K), zero where the landmark is not annotated.

    ``true_positives`` pairs, ``predicted`` predictions, ``actual`` true instances, ``distance`` sum of the distances of
    the pairs.
    """

    true_positives: IntArray
    predicted: IntArray
    actual: IntArray
    distance: FloatArray

    @property
    def false_positives(self) -> IntArray:
        """Predictions without a partner (I, K)."""
        return self.predicted - self.true_positives

    def misses(self, counting: Counting = "strict") -> IntArray:
        """Missed instances (I, K); ``lenient`` never counts more than ``strict``."""
        if counting not in COUNTINGS:
            raise ConfigError(f"counting: unknown '{counting}'; {did_you_mean(counting, COUNTINGS)}")
        found = self.true_positives if counting == "strict" else self.predicted
        return np.asarray(np.maximum(self.actual - found, 0))


def count_detections(
    pred: PerLandmark,
    truth: PerLandmark,
    radius: ArrayLike,
    *,
    scores: PerLandmark | None = None,
    threshold: float | None = None,
    annotated: npt.ArrayLike | None = None,
) -> DetectionCounts:
    """Pairs, predictions, instances and distances per image and landmark.

    ``pred[i][k]`` (N, 2) and ``truth[i][k]`` (M, 2) are the predicted and the true instances of landmark ``k`` in image
    ``i``, in pixels of the original image; arrays (I, K, N, 2) padded with NaN rows will do (instances (M, K, 2) of an
    image: swap the first two axes). ``radius``: one length, or one per image (I,), see ``matching_radius``; the points
    of a pair are **nearer** than it: strict <, as in the evaluations to compare with, though SDR and
    ``match_instances`` take <=. ``scores[i][k]`` (N,) and ``threshold``: only predictions with score > threshold count,
    as when decoding. ``annotated`` (I, K): where False, the predictions and instances of that landmark in that image
    are ignored altogether. Raises DataError for shapes that do not fit, ConfigError for impossible options.

    >>> counts = count_detections([[[[13.0, 14.0], [90.0, 90.0]]]], [[[[10.0, 10.0], [60.0, 60.0]]]], radius=20)
    >>> counts.true_positives.tolist(), counts.false_positives.tolist(), counts.distance.tolist()
    ([[1]], [[1]], [[5.0]])
    >>> counts.misses("strict").tolist(), counts.misses("lenient").tolist()
    ([[1]], [[0]])
    """
    if threshold is not None and scores is None:
        raise ConfigError(f"threshold: expected scores to compare with {threshold}, got none; pass scores too")
    if threshold is not None and np.isnan(threshold):
        raise ConfigError("threshold: expected a score, got NaN; choose one on images with predictions")
    shape = shape_of(pred, truth)
    within = radii(radius, shape[0])
    hits, predicted, actual = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    distance = np.zeros(shape)
    for i, k, p, t, s in cells(pred, truth, scores, annotated):
        kept = p if threshold is None else p[s > threshold]
        found = match_instances(kept, t, float(within[i]), inclusive=False)
        hits[i, k], predicted[i, k], actual[i, k] = found.true_positives, len(kept), len(t)
        distance[i, k] = found.distance.sum()
    return DetectionCounts(hits, predicted, actual, distance)


def cells(
    pred: PerLandmark, truth: PerLandmark, scores: PerLandmark | None, annotated: npt.ArrayLike | None
) -> Iterator[tuple[int, int, FloatArray, FloatArray, FloatArray]]:
    """(image, landmark, predictions (N, 2), instances (M, 2), scores (N,)) of all that is annotated, without NaN rows.

    Scores are NaN when none are given. Raises DataError naming image and landmark for what does not fit.
    """
    pred, truth, scores = _fetched(pred), _fetched(truth), None if scores is None else _fetched(scores)
    shape = shape_of(pred, truth)
    known = np.ones(shape, dtype=bool) if annotated is None else np.asarray(annotated, dtype=bool)
    if known.shape != shape:
        raise DataError(f"annotated: expected one flag per image and landmark {shape}, got shape {known.shape}")
    for what, given in (("predictions", pred), ("truth", truth), ("scores", scores)):
        if given is None:
            continue
        if len(given) != shape[0]:
            raise DataError(f"{what}: expected {shape[0]} images, got {len(given)}")
        for i, of_image in enumerate(given):
            if len(of_image) != shape[1]:
                raise DataError(f"{what} of image {i}: expected {shape[1]} landmarks, got {len(of_image)}")
    for i, k in np.argwhere(known).tolist():
        where = f"of image {i}, landmark {k}"
        p, t = (_points(given[i][k], f"{what} {where}") for given, what in ((pred, "predictions"), (truth, "truth")))
        s = np.full(len(p), np.nan) if scores is None else as_array(scores[i][k]).ravel()
        if len(s) != len(p):
            raise DataError(f"scores {where}: expected one for each of the {len(p)} predictions, got {len(s)}")
        valid = np.isfinite(p).all(1)
        if scores is not None and np.isnan(s[valid]).any():
            raise DataError(f"scores {where}: expected numbers, got NaN for a prediction that has a point")
        yield i, k, p[valid], t[np.isfinite(t).all(1)], s[valid]


def shape_of(pred: PerLandmark, truth: PerLandmark) -> tuple[int, int]:
    """(I, K) of a set; raises DataError for predictions and truth of different numbers of images, or of none."""
    if len(pred) != len(truth) or len(truth) == 0:
        raise DataError(f"predictions and truth: expected them of the same images, got {len(pred)} and {len(truth)}")
    return len(truth), len(truth[0])


def radii(radius: ArrayLike, images: int) -> FloatArray:
    """One radius per image (I,); raises ConfigError for another number of them, or for one not above 0."""
    values = as_array(radius)
    if values.shape not in ((), (images,)) or not (values > 0).all():
        raise ConfigError(
            f"radius: expected one length above 0, or one for each of {images} images, got {values.tolist()}"
        )
    return np.broadcast_to(values, (images,)).astype(np.float64)


def distances(pred: FloatArray, truth: FloatArray) -> FloatArray:
    """Distance (N, M) of every prediction (N, n) to every true instance (M, n)."""
    return np.asarray(np.linalg.norm(pred[:, None] - truth[None], axis=-1))


def _fetched(values: PerLandmark) -> PerLandmark:
    return as_array(values) if isinstance(values, torch.Tensor) else values  # from its device at once, not by cell


def _points(values: ArrayLike, what: str) -> FloatArray:
    points = as_array(values)
    if points.size and (points.ndim != 2 or points.shape[1] != 2):
        raise DataError(f"{what}: expected shape (M, 2), got {points.shape}")
    return points.reshape(-1, 2)
