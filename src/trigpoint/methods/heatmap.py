"""Heatmap regression with targets whose precision moves: the method of the Adaloss paper (arXiv 1908.01070).

One training step: encode the points as Gaussian maps of each landmark's current width, let the network predict them,
compare (``losses``); with ``transfer``, stay near what a source model of another task says. One epoch: average each
landmark's loss over all images, processes and only where it is annotated, and let the schedule set the next widths.
Prediction: the network's maps, with ``flip_test`` their mean with those of the mirror image, decoded to input pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import torch
from torch import Tensor, nn

from trigpoint.codecs import GaussianHeatmap
from trigpoint.config import Component
from trigpoint.errors import ConfigError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch, Detections, LandmarkSet
from trigpoint.methods.base import StageRun, own_share, take_sums
from trigpoint.methods.graph import Calling, GraphStep
from trigpoint.methods.losses import LOSS, MapLoss
from trigpoint.methods.maps import NETWORK, SCHEDULE, MapMethod, channels_last
from trigpoint.methods.transfer import CrossTask
from trigpoint.recipe import DataConfig, MethodConfig, Stage


class HeatmapMethod(MapMethod):
    """Network, codec, schedule and loss wired for training and prediction; built as every ``LandmarkMethod``."""

    class Config(GaussianHeatmap.Config, MethodConfig):
        """What the method is made of; the codec's options are its own."""

        name: Literal["heatmap"] = "heatmap"
        network: Annotated[Component, NETWORK] = NETWORK.default("unet")
        """Network that makes the maps."""
        schedule: Annotated[Component, SCHEDULE] = SCHEDULE.default("adaloss")
        """How the width of the targets moves."""
        loss: Annotated[Component, LOSS] = LOSS.default("mse")
        """How maps are compared with their targets."""
        flip_test: bool = False
        """Predict from the mean of the maps of an image and of its mirror image: more exact, in twice the time."""
        transfer: CrossTask.Config | None = None
        """Regulariser by a frozen source model."""

        def stages(self) -> dict[str, Stage]:
            """The source model, where it is a run."""
            run = None if self.transfer is None else self.transfer.source.run
            return {} if run is None else {"source": Stage("source model", run)}

    def __init__(
        self,
        method: HeatmapMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
        stages: Mapping[str, StageRun] | None = None,
    ) -> None:
        super().__init__(landmark_names, ema)
        self.build_network(method.network, channels)
        self.transfer = None
        if method.transfer is not None:
            self.transfer = CrossTask(
                method.transfer, self.network, method.network, channels, (stages or {}).get("source")
            )
        self.codec = GaussianHeatmap(input_size, self.network.stride, method)
        if method.flip_test and input_size[1] % self.network.stride:
            raise ConfigError(
                f"method.flip_test: expected an input whose width is a multiple of {self.network.stride}, so that the "
                f"cells of a map and of its mirror image lie on each other, got {input_size[1]}; round it in "
                "data.input.size"
            )
        self.flip_test = method.flip_test
        self.flipped: list[int] | None = None  # which landmark each is in the mirror image
        self.loss: MapLoss = LOSS.find(method.loss.name)(method.loss)
        self.loss.check(self.codec)
        self.build_schedule(method.schedule, self.codec.map_size, epochs)
        self.schedule.mean_normalized = method.normalize == "mean"
        if self.schedule.needs_normalized_targets and (method.normalize != "mean" or method.loss.name != "mse"):
            raise ConfigError(
                f"schedule {method.schedule.name} expects targets divided by their mean and the mse loss, got "
                f"normalize={method.normalize}, loss={method.loss.name}; set method.normalize=mean method.loss=mse"
            )
        self.register_buffer("transfer_sums", torch.zeros(2, dtype=torch.float64), persistent=False)
        self.transfer_loss = float("nan")  # mean over the images of the last epoch

    transfer_sums: Tensor

    def meet(self, landmarks: LandmarkSet) -> None:
        if self.flip_test:
            self.flipped = landmarks.flip_permutation("method.flip_test=false").tolist()

    def applied(self, network: nn.Module, images: Tensor) -> Tensor:
        if self.flipped is None:
            return super().applied(network, images)
        plain, mirrored = super().applied(network, torch.cat([images, images.flip(-1)])).chunk(2)
        return (plain + mirrored[:, self.flipped].flip(-1)) / 2

    def check_data(self, data: DataConfig) -> None:
        """As every method, and refuse data that a source cannot be compared on."""
        if self.transfer is None:
            super().check_data(data)
        else:
            self.transfer.check_data(data)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean over the annotated landmarks of the batch, of all processes; raises RunError when it is not finite."""
        batch = self.shown(batch)
        images = channels_last(batch.images)
        output = self.network.run(images)
        sigma = self.widths(images)
        loss, misfit, energy = self.loss(output.maps.float(), batch.points, sigma, self.codec)
        for maps in output.earlier:  # intermediate supervision
            loss = loss + self.loss(maps.float(), batch.points, sigma, self.codec).loss
        loss = loss / (1 + len(output.earlier))
        present = batch.points.isfinite().all(-1)
        self.count_in(present, misfit, energy, self.near(output.maps, batch.points, sigma))
        penalty = self.schedule.penalty().to(loss)
        total = torch.where(present, loss + penalty, torch.zeros_like(loss)).sum() / own_share(present.sum())
        if self.transfer is not None and self.transfer.source is not None:
            penalty = self.transfer(self.network.padded(images), output.levels, batch.index, self.progress())
            self.transfer_sums += torch.stack([penalty.detach() * len(batch), penalty.new_tensor(len(batch))])
            total = total + penalty
        self.finite.watch(total, batch.index)
        return total

    @torch.no_grad()
    def near(self, maps: Tensor, points: Tensor, sigma: Tensor) -> Tensor | None:
        """Which points (B, K) found in the maps are near their labels, as the schedule asks; None where it does not."""
        if self.schedule.near is None:
            return None
        found, _ = self.decode_output(maps.detach().float())
        away = torch.linalg.vector_norm(found - points, dim=-1) / self.codec.stride  # heatmap px, as the widths
        return torch.lt(away, self.schedule.near * sigma)

    def begin_from(self, run: StageRun, names: tuple[str, ...]) -> None:
        if self.transfer is not None:
            raise ConfigError(
                "train.init: the network begins from method.transfer.source, got a run as well; drop one of the two"
            )
        super().begin_from(run, names)

    def progress(self) -> float:
        """How much of the training is done, from 0 to 1."""
        if self._trainer is None:  # a step by hand
            return 0.0
        return self.trainer.global_step / max(int(self.trainer.estimated_stepping_batches), 1)

    def epoch_results(self) -> dict[str, float]:
        regularised = self.transfer is not None and self.transfer.source is not None
        return {"transfer_loss": self.transfer_loss} if regularised else {}

    def on_train_start(self) -> None:
        """Lightning leaves modes as it finds them."""
        self.train()

    def train(self, mode: bool = True) -> Self:
        """As every module, but what is frozen of a source stays in inference mode."""
        super().train(mode)
        if self.transfer is not None:
            self.transfer.hold(self.network)
        return self

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        total, images = take_sums(self.transfer_sums).tolist()
        self.transfer_loss = total / images if images else float("nan")

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        """The decoded maps; a score is the value of its map's peak."""
        points, scores = self.decode_output(self.outputs(batch.images))
        return Detections(map_points(batch.to_original, points)[:, None], scores[:, None])

    def decode_output(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in input pixels and scores (B, K) of the network's output (B, K, h, w)."""
        return self.codec.decode(self.loss.maps(output))

    def graph_steps(self) -> list[GraphStep]:
        def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
            points, scores = self.decode_output(maps)
            return points[:, None], scores[:, None]

        return [self.map_step(), GraphStep(Calling(decode), ("maps",), ("points", "scores"))]

    @torch.no_grad()
    def heatmaps(self, images: Tensor) -> Tensor:
        return self.loss.maps(self.outputs(images))
