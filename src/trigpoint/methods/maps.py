"""What the methods whose network gives a map per landmark share: targets whose width a schedule moves, and averages.

The schedule moves at the end of an epoch, or, with its option ``every``, after so many optimizer steps.

A subclass calls ``build_network``, makes its codec, and calls ``build_schedule``, in this order.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.landmarks import Batch
from trigpoint.methods.base import LandmarkMethod, StageRun, take_sums
from trigpoint.methods.graph import Applying, GraphStep
from trigpoint.nn import LandmarkNetwork
from trigpoint.nn.inherit import inherit, landmark_axes, rows
from trigpoint.recipe import Recipe
from trigpoint.schedules import LearnedSigma, Schedule, resolve_sigma0

NETWORK = config.Choice("network", "trigpoint.nn:NETWORKS")
SCHEDULE = config.Choice("schedule", "trigpoint.schedules:SCHEDULES")


class MapMethod(LandmarkMethod):
    """A network that gives maps (B, K, h, w), trained towards targets with a width per landmark."""

    continues = True
    network: LandmarkNetwork
    schedule: Schedule
    epoch_sums: Tensor  # over the epoch so far: misfit, energy, points near, number of maps that counted, each (K,)
    move_sums: Tensor  # the same since the last move of a schedule that moves every so many steps
    _widths: tuple[Tensor, Tensor] | None = None  # as the schedule had them, and their copy on another device
    taught: Tensor | None = None  # (K,) bool, which landmarks are learned; None: all
    held: dict[str, Tensor] | None = None  # what the network has of the others

    def build_network(self, options: config.Component, channels: int) -> None:
        """The network of a config from ``NETWORKS``."""
        self.made_of = options, channels
        self.network = NETWORK.find(options.name)(channels, len(self.landmark_names), options)
        self.network.to(memory_format=torch.channels_last)  # faster convolutions

    def build_schedule(self, options: config.Component, map_size: tuple[int, ...], epochs: int | None) -> None:
        """The schedule of a config from ``SCHEDULES``, and what is averaged; raises ConfigError."""
        count, values = len(self.landmark_names), dict(options)
        values["sigma0"] = resolve_sigma0(values["sigma0"], map_size)
        chosen = config.parse(type(options), values, "method.schedule")
        self.schedule = SCHEDULE.find(options.name)(count, chosen, epochs=epochs)
        self.keep_average()
        for sums in ("epoch_sums", "move_sums"):
            self.register_buffer(sums, torch.zeros(4, count, dtype=torch.float64), persistent=False)

    def widths(self, images: Tensor) -> Tensor:
        """The schedule's widths (K,) where the ``images`` are, copied there only when they have moved."""
        sigma = self.schedule.sigma
        if sigma.device == images.device:
            return sigma
        if self._widths is None or self._widths[1].device != images.device or not self._widths[0].equal(sigma):
            self._widths = sigma, sigma.to(images.device)
        return self._widths[1]

    # -- beginning from another run ---------------------------------------------------------------------------------

    def _axes(self) -> dict[str, int]:
        """Where the landmarks are in the network."""
        options, channels = self.made_of
        plain = {key: value for key, value in (("weights", None), ("pretrained", False)) if hasattr(options, key)}
        bare = options.model_copy(update=plain)
        return landmark_axes(lambda count: NETWORK.find(bare.name)(channels, count, bare), len(self.landmark_names))

    def begin_from(self, run: StageRun, names: tuple[str, ...]) -> None:
        theirs: Any = cast(Recipe, run.recipe).method
        if theirs.network.name != self.made_of[0].name:
            raise ConfigError(
                f"train.init: expected the network of {run.folder}, {theirs.network.name}, got {self.made_of[0].name}; "
                f"take its recipe: trigpoint train {run.folder / 'config.yaml'} train.init={run.folder}"
            )
        left = inherit(self.network, run.weights, self._axes(), names, self.landmark_names)
        if left:
            raise ConfigError(
                f"train.init: expected the network of {run.folder} with its options, got others, of which "
                f"{len(left)} tensors do not fit, such as {left[0]}; take its recipe, {run.folder / 'config.yaml'}"
            )

    def learn_only(self, names: Sequence[str]) -> None:
        """All weights stay but those of the landmarks ``names`` in the layers that have some of each, and so do the
        statistics of normalisations: what the network says of the others does not change by a bit."""
        axes = self._axes()
        if any(axes.values()):
            raise ConfigError(
                f"train.only: expected a network that does not read its own maps, got {self.made_of[0].name}, in which "
                "new landmarks move the old ones; train without train.only"
            )
        self.taught = torch.tensor([name in names for name in self.landmark_names])
        self._own_axes = {key: axes[key] for key, _ in self.network.named_parameters() if key in axes}
        for key, parameter in self.network.named_parameters():
            parameter.requires_grad_(key in self._own_axes)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As every module; with ``learn_only`` the network stays in inference mode."""
        super().train(mode)
        if self.taught is not None:
            self.network.eval()
        return self

    def shown(self, batch: Batch) -> Batch:
        """The batch with only those landmarks annotated that are learned."""
        if self.taught is None:
            return batch
        taught = self.taught.to(batch.points.device)
        points = batch.points.masked_fill(~taught[:, None], torch.nan)
        return replace(batch, points=points, annotated=None if batch.annotated is None else batch.annotated & taught)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        super().validation_step(self.shown(batch), batch_idx)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Note what is not learned, before the first step moves it."""
        if self.taught is not None and self.held is None:
            self._others = (~self.taught).nonzero().flatten().tolist()
            tensors = dict(self.network.named_parameters())
            self.held = {key: rows(tensors[key], axis, self._others) for key, axis in self._own_axes.items()}

    @torch.no_grad()
    def settle(self) -> None:
        """Put back what is not learned: momentum and weight decay move it without a gradient."""
        tensors = dict(self.network.named_parameters())
        for key, kept in (self.held or {}).items():
            at = torch.tensor(self._others, device=kept.device)
            tensors[key].index_copy_(self._own_axes[key], at, kept)

    def plan(self, epochs: int, batches: int) -> list[str]:
        if self.schedule.every is not None:
            self.schedule.plan(epochs * batches // self.schedule.every)
        note = self.schedule.shortfall()
        return [] if note is None else [note]

    @torch.no_grad()
    def count_in(self, counted: Tensor, misfit: Tensor, energy: Tensor, near: Tensor | None = None) -> None:
        """Add a batch to the epoch's averages; all (B, K), entries that are not ``counted`` mean nothing. ``near``:
        which points found are near their labels, for schedules that ask for it."""
        zero = torch.zeros_like(misfit)
        said = zero if near is None else near.to(misfit)
        sums = [torch.where(counted, values, zero).sum(0) for values in (misfit, energy, said)]
        added = torch.stack([*sums, counted.sum(0)]).to(self.epoch_sums)
        self.epoch_sums += added
        if self.schedule.every is not None:
            self.move_sums += added

    def epoch_columns(self) -> dict[str, float]:
        """The width of each landmark's target, heatmap px."""
        widths = self.schedule.sigma.detach().cpu()
        return {
            f"sigma_{name}": round(float(width), 4) for name, width in zip(self.landmark_names, widths, strict=True)
        }

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move a schedule that moves every so many steps."""
        every = self.schedule.every
        if every is not None and self.trainer.global_step % every == 0:
            self._move(take_sums(self.move_sums))

    def on_train_epoch_end(self) -> None:
        """Move the schedule by the epoch's losses, the same on every process."""
        self.finite.ask()
        sums = take_sums(self.epoch_sums)
        self.epoch_loss = float(sums[0].sum() / sums[-1].sum())
        if self.schedule.every is None:
            self._move(sums)
        else:  # what the first process saves is then that of all
            sums = take_sums(self.move_sums)
            if self.global_rank == 0:
                self.move_sums.copy_(sums)

    def _move(self, sums: Tensor) -> None:
        misfit, energy, near, count = sums
        self.move_schedule(misfit / count, energy / count, near / count)  # 0 / 0 = NaN: not annotated since then

    def move_schedule(self, losses: Tensor, energy: Tensor, near: Tensor) -> None:
        """The step of the schedule, by the mean misfit and energy (K,) of the maps since the last one, and the share of
        points that were near."""
        self.schedule.step(losses, energy, near)

    @torch.no_grad()
    def outputs(self, images: Tensor) -> Tensor:
        """The network's output (B, K, h, w) float32 for inputs (B, C, H, W)."""
        return self.applied(self.inference_network(), channels_last(images))

    def applied(self, network: nn.Module, images: Tensor) -> Tensor:
        """What the ``network`` says of the images, float32, as predictions take it."""
        return cast(Tensor, network(images).float())

    def heatmaps(self, images: Tensor) -> Tensor:
        return self.outputs(images)

    def map_step(self, takes: str = "images", gives: str = "maps") -> GraphStep:
        """The network's output (1, K, h, w) float32 as a step of a graph."""
        return GraphStep(Applying(self.inference_network(), self.applied), (takes,), (gives,), network=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The learned schedule is a module and saved with the weights; the others add their own state."""
        if not isinstance(self.schedule, LearnedSigma):
            checkpoint["schedule"] = self.schedule.state_dict()
        if self.schedule.every is not None:
            checkpoint["move_sums"] = self.move_sums.cpu()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the schedule up where the checkpoint left it."""
        if not isinstance(self.schedule, LearnedSigma):
            cast(Any, self.schedule).load_state_dict(checkpoint["schedule"])
        if "move_sums" in checkpoint and self.global_rank == 0:
            self.move_sums.copy_(checkpoint["move_sums"])


def channels_last(images: Tensor) -> Tensor:
    """The same images, laid out as the network's convolutions are fast with."""
    return images.contiguous(memory_format=torch.channels_last)
