"""Several instances of each landmark in an image: the instruments of the Adaloss paper (arXiv 1908.01070, EndoVis).

One training step: encode all instances of a landmark as one map, the maximum of their Gaussians, let the network
predict it, compare by squared error. A landmark that an image does not show has a map of zeros, which is learned like
any other; one that is not annotated there counts nowhere. Prediction: as many points as the map shows
(``codecs.InstanceHeatmap``) with a score above the threshold that was best on the validation images.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, PlainValidator, SerializeAsAny
from torch import Tensor

from trigpoint import config
from trigpoint.codecs import GaussianHeatmap, InstanceHeatmap
from trigpoint.codecs.instances import Instances
from trigpoint.config import choose
from trigpoint.errors import ConfigError, RunError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch, FloatArray
from trigpoint.methods.base import Found, NotFinite, component
from trigpoint.methods.maps import MapMethod, channels_last
from trigpoint.metrics import best_threshold, count_detections, matching_radius, precision_recall
from trigpoint.nn import NETWORKS
from trigpoint.schedules import SCHEDULES

CANDIDATES = 0.05
"""Score above which a maximum is a candidate when a threshold is chosen: below it is noise, and costs time."""
DISTANCE_WEIGHT = 0.1
"""Of the mean distance, in matching radii, beside 1 - F1 in the error that chooses the weights: where F1 no longer
tells epochs apart, the distance does."""


class InstanceMethod(MapMethod):
    """Network, codec and schedule wired for training and prediction; built as every ``LandmarkMethod``.

    Sets without instances are taken, too: each image has one instance of each landmark, or none is annotated.
    """

    several: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("val_error", "val_f1", "val_distance_px", "val_threshold")

    class Config(InstanceHeatmap.Config, config.Component):
        """What the method is made of; the codec's options are its own."""

        name: Literal["instances"] = "instances"
        network: Annotated[SerializeAsAny[config.Config], PlainValidator(choose(NETWORKS, "network"))] = Field(
            default_factory=lambda: NETWORKS["unet"].Config.model_validate({"activation": "leaky_relu"})
        )
        """Network that makes the maps."""
        schedule: Annotated[SerializeAsAny[config.Config], PlainValidator(choose(SCHEDULES, "schedule"))] = Field(
            default_factory=lambda: SCHEDULES["adaloss"].Config.model_validate({"sigma_min": 3.0})
        )
        """How the width of the targets moves; they have to stay wide enough for the median, 3 px with 7 x 7."""
        radius: float | None = Field(default=None, gt=0)
        """How near a prediction has to be, original pixels; null: 20/576 of the image's height, as in EndoVis."""

    def __init__(
        self,
        method: InstanceMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
    ) -> None:
        super().__init__(landmark_names, ema)
        self.build_network(method.network, channels)
        stride = self.network.stride
        self.codec = InstanceHeatmap(input_size, stride, method)
        self.single = GaussianHeatmap(input_size, stride)
        self.radius = method.radius
        self.build_schedule(method.schedule, self.codec.map_size, epochs)
        self._check_widths(method.schedule)

    def _check_widths(self, options: config.Config) -> None:
        """Refuse targets that become too narrow for the median, or that a schedule narrows without end."""
        name, values, needed = component(options), dict(options), self.codec.smallest_sigma
        if self.schedule.needs_normalized_targets:
            raise ConfigError(
                f"schedule {name}: expected one for targets of height 1, since a map without instances has no mean to "
                "be divided by; use fixed, linear, exponential or adaloss"
            )
        if values.get("guard") == "literal":
            raise ConfigError(f"schedule {name}: expected guard=bounded, got literal, which has no least width")
        key = "sigma_min" if "sigma_min" in values else "sigma0"
        least = float(values.get("sigma_min", self.schedule.sigma.min()))
        if least < needed:
            raise ConfigError(
                f"method.schedule.{key}: expected at least {needed:.3g} heatmap px, got {least:g}: of narrower peaks "
                f"the {self.codec.median} x {self.codec.median} median leaves too little; raise it, or lower "
                "method.median"
            )

    # -- training ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean over the annotated landmarks of the batch; raises RunError when it is not finite."""
        known = _facts(batch).annotated
        output = self.network.run(channels_last(batch.images))
        with torch.no_grad():
            target = self.codec.encode(batch.points, self.schedule.sigma.to(batch.images.device))
        maps = [output.maps, *output.earlier]  # earlier: intermediate supervision
        misfits = [(each.float() - target).square().mean((-2, -1)) for each in maps]
        loss = torch.stack(misfits).mean(0)
        self.count_in(known, misfits[0].detach(), target.square().mean((-2, -1)))
        total = torch.where(known, loss, torch.zeros_like(loss)).sum() / known.sum().clamp_min(1)
        if not torch.isfinite(total):
            raise NotFinite(batch.index.tolist())
        return total

    def move_schedule(self, losses: Tensor, energy: Tensor) -> None:
        """A landmark without any instance in the epoch says nothing about the width of its target, which stays."""
        super().move_schedule(losses.masked_fill(energy == 0, torch.nan), energy)

    # -- validation -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Rows (R, 7) of what is found and what is true: position, landmark, 1 = found, x, y (original px), score,
        matching radius. Landmarks that are not annotated have none. ``validated`` reads them."""
        facts = _facts(batch)
        found = self.find(batch, CANDIDATES)
        truth = map_points(batch.to_original, batch.points).transpose(1, 2)  # (B, K, M, 2)
        radius = batch.to_original.new_tensor([self.matching_radius(float(height)) for height in facts.heights])
        parts = []
        for is_found, points, scores in (
            (1.0, found.points, found.scores),
            (0.0, truth, torch.zeros(truth.shape[:3])),
        ):
            known = points.isfinite().all(-1) & facts.annotated[..., None]
            image, landmark, _ = known.nonzero(as_tuple=True)
            columns = [batch.index[image], landmark, torch.full_like(landmark, int(is_found))]
            values = [*points[known].unbind(-1), scores.to(points)[known], radius[image]]
            parts.append(torch.stack([*(column.to(points) for column in columns), *values], 1))
        return torch.cat(parts)

    def validated(self, values: Tensor) -> tuple[float, ...]:
        """``measures`` of all rows of an epoch, flattened: the error that chooses the weights, least is best; mean F1
        over the landmarks and mean distance of pairs, both at the threshold with the largest F1; that threshold.

        The error is 1 - F1 + ``DISTANCE_WEIGHT`` * distance / radius. NaN without any instance.
        """
        rows = values.reshape(-1, 7).double().cpu().numpy()
        sets = _by_image(rows, len(self.landmark_names))
        if not (rows[:, 2] == 0).any():
            return (float("nan"),) * len(self.measures)
        curve = precision_recall(sets.found, sets.truth, sets.scores, sets.radius)
        threshold = best_threshold(curve)
        if np.isnan(threshold):  # nothing was found
            return 1.0, 0.0, float("nan"), threshold
        f1 = float(curve.f1()[np.flatnonzero(curve.levels > threshold)[-1], curve.actual > 0].mean())
        counts = count_detections(sets.found, sets.truth, sets.radius, scores=sets.scores, threshold=threshold)
        pairs = int(counts.true_positives.sum())
        if not pairs:
            return 1.0 - f1, f1, float("nan"), threshold
        share = float((counts.distance / sets.radius[:, None]).sum()) / pairs
        return 1.0 - f1 + DISTANCE_WEIGHT * share, f1, float(counts.distance.sum()) / pairs, threshold

    def matching_radius(self, height: float) -> float:
        """How near a prediction has to be in an image of this many rows, original pixels."""
        return matching_radius(height) if self.radius is None else self.radius

    # -- prediction -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def find(self, batch: Batch, threshold: float | None = None) -> Instances:
        """Instances in pixels of the original images, those with a score above ``threshold`` (None: the codec's)."""
        found = self.codec.decode(self.heatmaps(batch.images), threshold)
        return Instances(map_points(batch.to_original, found.points), found.scores)

    @torch.no_grad()
    def predict_batch(self, batch: Batch) -> Found:
        """One point of each landmark, the highest place of its map, even of one that shows no instance; ``find`` gives
        all of them."""
        points, scores = self.single.decode(self.heatmaps(batch.images))
        return Found(map_points(batch.to_original, points), scores)


class _Facts(NamedTuple):
    annotated: Tensor
    heights: Tensor


class _Sets(NamedTuple):
    """Points and scores by image and landmark, and the matching radius of each image."""

    found: list[list[FloatArray]]
    truth: list[list[FloatArray]]
    scores: list[list[FloatArray]]
    radius: FloatArray


def _facts(batch: Batch) -> _Facts:
    if batch.annotated is None or batch.heights is None:
        raise RunError("expected batches of data.loading.InstanceInputs, which say what is annotated, got others")
    return _Facts(batch.annotated, batch.heights)


def _by_image(rows: FloatArray, landmarks: int) -> _Sets:
    """Rows as of ``validation_step``, sorted by image and landmark."""
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
