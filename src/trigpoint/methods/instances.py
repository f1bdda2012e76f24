"""Several instances of each landmark in an image: the instruments of the Adaloss paper (arXiv 1908.01070, EndoVis).

One training step: encode all instances of a landmark as one map, the maximum of their Gaussians, let the network
predict it, compare by squared error. A landmark that an image does not show has a map of zeros, which is learned like
any other; one that is not annotated there counts nowhere. Prediction: as many points as the map shows
(``codecs.InstanceHeatmap``) with a score above the threshold that was best on the validation images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from trigpoint.codecs import InstanceHeatmap, maxima
from trigpoint.codecs.instance_graph import candidate_nodes, chosen_nodes
from trigpoint.codecs.instances import MOST
from trigpoint.config import Component
from trigpoint.errors import ConfigError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch, Detections
from trigpoint.methods.base import own_share
from trigpoint.methods.graph import Calling, GraphStep, Nodes
from trigpoint.methods.maps import NETWORK, SCHEDULE, MapMethod, channels_last
from trigpoint.methods.validation import instance_facts
from trigpoint.recipe import MethodConfig


class InstanceMethod(MapMethod):
    """Network, codec and schedule wired for training and prediction; built as every ``LandmarkMethod``.

    Sets without instances are taken, too: each image has one instance of each landmark, or none is annotated.
    """

    class Config(InstanceHeatmap.Config, MethodConfig):
        """What the method is made of; the codec's options are its own."""

        name: Literal["instances"] = "instances"
        network: Annotated[Component, NETWORK] = NETWORK.default("unet", activation="leaky_relu")
        """Network that makes the maps."""
        schedule: Annotated[Component, SCHEDULE] = SCHEDULE.default("adaloss", sigma_min=3.0)
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
        self.threshold, self.radius = method.threshold, method.radius
        self.build_schedule(method.schedule, self.codec.map_size, epochs)
        self._check_widths(method.schedule)

    def _check_widths(self, options: Component) -> None:
        """Refuse targets that become too narrow for the median, or that a schedule narrows without end."""
        name, values, needed = options.name, dict(options), self.codec.smallest_sigma
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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean over the annotated landmarks of the batch, of all processes; raises RunError when it is not finite."""
        batch = self.shown(batch)
        known, _ = instance_facts(batch)
        output = self.network.run(channels_last(batch.images))
        with torch.no_grad():
            target = self.codec.encode(batch.points, self.widths(batch.images))
        maps = [output.maps, *output.earlier]  # earlier: intermediate supervision
        misfits = [(each.float() - target).square().mean((-2, -1)) for each in maps]
        loss = torch.stack(misfits).mean(0)
        self.count_in(known, misfits[0].detach(), target.square().mean((-2, -1)))
        total = torch.where(known, loss, torch.zeros_like(loss)).sum() / own_share(known.sum())
        self.finite.watch(total, batch.index)
        return total

    def move_schedule(self, losses: Tensor, energy: Tensor, near: Tensor) -> None:
        """A landmark without any instance in the epoch says nothing about the width of its target, which stays."""
        self.schedule.step(losses.masked_fill(energy == 0, torch.nan), energy)  # no point is near by its name

    def matching_radius(self, height: float) -> float:
        """How near a prediction has to be in an image of this many rows, original pixels."""
        return super().matching_radius(height) if self.radius is None else self.radius

    def graph_steps(self) -> list[GraphStep]:
        codec = self.codec

        def refine(maps: Tensor, owner: Tensor, centre: Tensor, height: Tensor) -> Tensor:
            return maxima.refined(maps[0], maxima.Maxima(owner, centre, height), codec.window, codec.median)

        found = ("owner", "centre", "height")
        return [
            self.map_step(),
            GraphStep(Candidates(codec, len(self.landmark_names)), ("maps", "threshold"), found),
            GraphStep(Calling(refine), ("maps", *found), ("place",), rows=True),
            GraphStep(Chosen(codec, len(self.landmark_names)), ("place", "owner", "height"), ("points", "scores")),
        ]

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        """The instances with a score above ``threshold``."""
        found = self.codec.decode(self.outputs(batch.images), self.threshold)
        points, scores = map_points(batch.to_original, found.points), found.scores
        return Detections(points.transpose(1, 2), scores.transpose(1, 2))


class Candidates(Nodes):
    """The maxima of maps (1, K, h, w) above a threshold (): map (C,), centre (C, 2), height (C,)."""

    def __init__(self, codec: InstanceHeatmap, count: int) -> None:
        super().__init__()
        self.codec, self.count = codec, count

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros(3, dtype=torch.long), torch.full((3, 2), 2.0), torch.ones(3)

    def nodes(self, g: Any, *given: str) -> Sequence[str]:
        size = (self.count, self.codec.map_size[0], self.codec.map_size[1])
        return candidate_nodes(g, given[0], given[1], size, self.codec.median, MOST)


class Chosen(Nodes):
    """Points (1, N, K, 2) and scores (1, N, K) of the maxima at places (C, 2)."""

    def __init__(self, codec: InstanceHeatmap, count: int) -> None:
        super().__init__()
        self.codec, self.count = codec, count

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return torch.zeros(1, 3, self.count, 2), torch.zeros(1, 3, self.count)

    def nodes(self, g: Any, *given: str) -> Sequence[str]:
        place, owner, height = given
        return chosen_nodes(g, place, owner, height, self.count, self.codec.window, self.codec.stride)
