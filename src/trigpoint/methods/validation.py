"""What validation computes, epoch by epoch, and what is calibrated once the weights are chosen.

A ``ValidationMetric`` is a torchmetrics ``Metric``: it sees every batch on every process and gives a few numbers, of
which the first chooses the weights. ``RadialError`` is that of methods that find one of each landmark,
``DetectionError`` that of multi-instance methods.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from trigpoint.data import LandmarkDataset, image_size
from trigpoint.data.instances import ImageInstances
from trigpoint.errors import RunError
from trigpoint.geometry import map_points
from trigpoint.landmarks import COVERAGE, Batch, Detections, FloatArray, Prediction, Spacing
from trigpoint.metrics import best_threshold, count_detections, match_instances, precision_recall

DISTANCE_WEIGHT = 0.1
"""Of the mean distance, in matching radii, beside 1 - F1 in the error that chooses the weights: where F1 no longer
tells epochs apart, the distance does."""


class ValidationMetric(Metric):
    """Numbers of one epoch over all validation images and processes.

    ``columns`` name what ``compute`` gives, as in ``metrics.csv``; the first is least for the best weights. A person is
    shown it times ``factor`` in ``unit`` as the ``title`` says.
    """

    columns: ClassVar[tuple[str, ...]]
    title: ClassVar[str]
    unit: str
    factor: float = 1.0
    values: list[Tensor]  # what the batches gave, float32, flat so that a process without any image can join
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def update(self, found: Any, batch: Batch) -> None:
        """Take in one batch: what the method found in it, and the batch with its points."""
        self.values.append(self.rows(found, batch).float().flatten())

    def compute(self) -> dict[str, float]:
        """The numbers by ``columns``; NaN where nothing was measured."""
        values = dim_zero_cat(self.values) if len(self.values) else torch.zeros(0)
        return dict(zip(self.columns, self.summary(values.double().cpu()), strict=True))

    @abstractmethod
    def rows(self, found: Any, batch: Batch) -> Tensor:
        """What is kept of a batch, rows (R, ...) of numbers."""

    @abstractmethod
    def summary(self, rows: Tensor) -> Sequence[float]:
        """The numbers of all rows of an epoch, flattened, in the order of ``columns``."""

    def show_in(self, spacing: Spacing | None) -> None:
        """Show lengths in mm where all images have the same square pixels, in px elsewhere."""

    @abstractmethod
    def told(self, values: Mapping[str, float]) -> str:
        """The numbers in words, such as ``MRE 2.31 px``."""

    def constant(self, training: LandmarkDataset, validation: LandmarkDataset) -> float:
        """The first number of an answer that does not look at the image; NaN where it is not known."""
        return math.nan


class RadialError(ValidationMetric):
    """Distances between found and annotated points, original pixels."""

    columns = ("val_mre_px", "val_median_px")
    title, unit = "mean radial error", "px"

    def show_in(self, spacing: Spacing | None) -> None:
        if spacing is not None and spacing[0] == spacing[1]:
            self.factor, self.unit = spacing[0], "mm"

    def rows(self, found: Detections, batch: Batch) -> Tensor:
        """Distances (R,) of the annotated landmarks."""
        away = found.points[:, 0] - map_points(batch.to_original, batch.points)
        distances: Tensor = torch.linalg.vector_norm(away, dim=-1)
        return distances[~distances.isnan()]

    def summary(self, rows: Tensor) -> Sequence[float]:
        return float(rows.mean()), float(rows.median()) if len(rows) else math.nan

    def told(self, values: Mapping[str, float]) -> str:
        px = values["val_mre_px"]
        return f"MRE {px:.2f} px" if self.unit == "px" else f"MRE {self.factor * px:.2f} {self.unit} ({px:.2f} px)"

    def constant(self, training: LandmarkDataset, validation: LandmarkDataset) -> float:
        """Always the mean training position, as a share of the image's sides."""
        sizes = [np.array([[image_size(s.image)[::-1] for s in part.samples]]) for part in (training, validation)]
        middle = np.nanmean(training.points / sizes[0].swapaxes(0, 1), axis=0)
        away = validation.points - middle * sizes[1].swapaxes(0, 1)
        return float(np.nanmean(np.linalg.norm(away, axis=-1)))


class DetectionError(ValidationMetric):
    """How many instances are found, how many of those are right, and how near they are.

    The error is 1 - F1 + ``DISTANCE_WEIGHT`` * distance / radius; with it come mean F1 over the landmarks and mean
    distance of pairs, both at the threshold with the largest F1, and that threshold. ``radius`` gives the matching
    radius for an image's height.
    """

    columns = ("val_error", "val_f1", "val_distance_px", "val_threshold")
    title, unit, factor = "error (1 - F1, plus a little of the distance)", "%", 100.0

    def __init__(self, landmarks: int, radius: Callable[[float], float]) -> None:
        super().__init__()
        self.landmarks, self.radius = landmarks, radius

    def rows(self, found: Detections, batch: Batch) -> Tensor:
        """Rows (R, 7) of what is found and what is true: position, landmark, 1 = found, x, y (original px), score,
        matching radius. Landmarks that are not annotated have none."""
        annotated, heights = instance_facts(batch)
        truth = map_points(batch.to_original, batch.points).transpose(1, 2)  # (B, K, M, 2)
        radius = batch.to_original.new_tensor([self.radius(float(height)) for height in heights])
        parts = []
        for is_found, points, scores in (
            (1.0, found.points.transpose(1, 2), found.scores.transpose(1, 2)),
            (0.0, truth, torch.zeros(truth.shape[:3])),
        ):
            known = points.isfinite().all(-1) & annotated[..., None]
            image, landmark, _ = known.nonzero(as_tuple=True)
            columns = [batch.index.to(image)[image], landmark, torch.full_like(landmark, int(is_found))]
            values = [*points[known].unbind(-1), scores.to(points)[known], radius[image]]
            parts.append(torch.stack([*(column.to(points) for column in columns), *values], 1))
        return torch.cat(parts)

    def summary(self, rows: Tensor) -> Sequence[float]:
        table = rows.reshape(-1, 7).numpy()
        if not (table[:, 2] == 0).any():
            return (math.nan,) * len(self.columns)
        sets = _by_image(table, self.landmarks)
        curve = precision_recall(sets.found, sets.truth, sets.scores, sets.radius)
        threshold = best_threshold(curve)
        if math.isnan(threshold):  # nothing was found
            return 1.0, 0.0, math.nan, threshold
        f1 = float(curve.f1()[np.flatnonzero(curve.levels > threshold)[-1], curve.actual > 0].mean())
        counts = count_detections(sets.found, sets.truth, sets.radius, scores=sets.scores, threshold=threshold)
        pairs = int(counts.true_positives.sum())
        if not pairs:
            return 1.0 - f1, f1, math.nan, threshold
        share = float((counts.distance / sets.radius[:, None]).sum()) / pairs
        return 1.0 - f1 + DISTANCE_WEIGHT * share, f1, float(counts.distance.sum()) / pairs, threshold

    def told(self, values: Mapping[str, float]) -> str:
        distance = values["val_distance_px"]
        return f"F1 {values['val_f1']:.3f}" + ("" if math.isnan(distance) else f" at {distance:.2f} px")

    def constant(self, training: LandmarkDataset, validation: LandmarkDataset) -> float:
        """To find nothing: F1 = 0, at the largest distance."""
        return 1.0


class _Sets(NamedTuple):
    """Points and scores by image and landmark, and the matching radius of each image."""

    found: list[list[FloatArray]]
    truth: list[list[FloatArray]]
    scores: list[list[FloatArray]]
    radius: FloatArray


def _by_image(rows: FloatArray, landmarks: int) -> _Sets:
    """Rows as of ``DetectionError``, sorted by image and landmark."""
    images, owner = np.unique(rows[:, 0], return_inverse=True)
    radius = np.ones(len(images))
    radius[owner] = rows[:, 6]
    cell = owner * landmarks + rows[:, 1].astype(np.int64)

    def parted(kind: int, columns: slice) -> list[list[FloatArray]]:
        own = np.flatnonzero(rows[:, 2] == kind)
        own = own[np.argsort(cell[own], kind="stable")]
        parts = np.split(rows[own][:, columns], np.searchsorted(cell[own], np.arange(1, len(images) * landmarks)))
        return [parts[i * landmarks : (i + 1) * landmarks] for i in range(len(images))]

    points, scores = slice(3, 5), slice(5, 6)
    return _Sets(parted(1, points), parted(0, points), parted(1, scores), radius)


def instance_facts(batch: Batch) -> tuple[Tensor, Tensor]:
    """Which landmarks are annotated (B, K), and how many rows the stored images have (B,). Raises RunError without."""
    if batch.annotated is None or batch.heights is None:
        raise RunError("expected batches of data.input.InstanceInputs, which say what is annotated, got others")
    return batch.annotated, batch.heights


# -- calibration -------------------------------------------------------------------------------------------------


def conformal_radius(
    errors: FloatArray, coverage: float = COVERAGE, subjects: Sequence[str] | npt.NDArray[Any] | None = None
) -> float:
    """Distance that the error in an image of a new subject stays below with probability ``coverage``, or NaN.

    ``errors`` (N,), NaN = not annotated; ``subjects`` (N,) whom they are of (None: each is its own). Split conformal
    prediction: the ceil((n + 1) * coverage)-th smallest of n errors (Vovk et al. 2005), where the errors of a subject
    share its weight, for they are alike (hierarchical conformal prediction: Lee, Barber and Willett 2023). NaN where
    there are too few subjects, of 0.9 fewer than 9. Valid for images like those of the validation subset; a little too
    small because the same subset chose the weights.

    >>> conformal_radius(np.arange(1.0, 20.0), 0.9)
    18.0
    >>> conformal_radius(np.arange(1.0, 9.0), 0.9)
    nan
    """
    there = ~np.isnan(errors)
    known = errors[there]
    owner = np.arange(len(known)) if subjects is None else np.asarray(subjects)[there]
    _, member, counts = np.unique(owner, return_inverse=True, return_counts=True)
    order = np.argsort(known, kind="stable")
    below = np.cumsum(1 / counts[member][order]) / (len(counts) + 1)  # the new subject has the rest
    enough = np.flatnonzero(below >= coverage - 1e-9)
    return float(known[order][enough[0]]) if len(enough) else float("nan")


def calibrated_instances(
    found: Prediction,
    images: Sequence[ImageInstances],
    subjects: Sequence[str],
    radius: Sequence[float],
    fallback: float,
) -> tuple[FloatArray, float]:
    """Radius (K,) of the pairs, input pixels, and the threshold with the best F1 (``fallback`` without any).

    Of each image: ``subjects`` whom it shows, and ``radius``, how near an instance has to be in original pixels.
    """
    sets = [one.by_landmark() for one in found.detections]
    points, scores = [one[0] for one in sets], [one[1] for one in sets]
    truth = [list(image.points.swapaxes(0, 1)) for image in images]
    known = np.array([image.annotated for image in images])
    threshold = best_threshold(precision_recall(points, truth, scores, np.array(radius), annotated=known))
    threshold = fallback if math.isnan(threshold) else threshold
    errors: list[list[float]] = [[] for _ in found.landmarks.names]
    owners: list[list[str]] = [[] for _ in found.landmarks.names]
    for i, k in np.argwhere(known).tolist():
        kept = points[i][k][scores[i][k] > threshold]
        pairs = match_instances(kept, truth[i][k], radius[i], inclusive=False).distance / found[i].scale
        errors[k] += pairs.tolist()
        owners[k] += [subjects[i]] * len(pairs)
    return np.array([conformal_radius(np.array(e), subjects=o) for e, o in zip(errors, owners, strict=True)]), threshold
