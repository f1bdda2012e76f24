"""Heatmap regression with targets whose precision moves: the method of the Adaloss paper (arXiv 1908.01070).

One training step: encode the points as Gaussian maps of each landmark's current width, let the network predict them,
compare (``losses``). One epoch: average each landmark's loss over all images, processes and only where it is
annotated, and let the schedule set the next widths. Prediction: the network's maps, decoded to input pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, cast

import lightning as L
import torch
import torch.distributed as dist
from pydantic import Field, PlainValidator, SerializeAsAny
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trigpoint import config
from trigpoint.codecs import GaussianHeatmap
from trigpoint.config import choose
from trigpoint.errors import ConfigError, RunError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch
from trigpoint.methods.losses import LOSSES
from trigpoint.nn import NETWORKS
from trigpoint.schedules import SCHEDULES, LearnedSigma, resolve_sigma0


class HeatmapMethod(L.LightningModule):
    """Network, codec, schedule and loss wired for training and prediction.

    ``landmark_names`` (K names), ``channels`` of the input and ``input_size`` (H, W) come from the data, ``epochs``
    and ``ema`` (decay of the averaged weights, 0 = none) from training. Raises ConfigError for combinations that
    cannot work, before any of it is used.
    """

    class Config(config.Config):
        """What the method is made of; see ``trigpoint.nn``, ``trigpoint.schedules`` and ``methods.losses``."""

        name: Literal["heatmap"] = "heatmap"
        network: Annotated[SerializeAsAny[config.Config], PlainValidator(choose(NETWORKS, "network"))] = Field(
            default_factory=lambda: NETWORKS["unet"].Config()
        )
        schedule: Annotated[SerializeAsAny[config.Config], PlainValidator(choose(SCHEDULES, "schedule"))] = Field(
            default_factory=lambda: SCHEDULES["adaloss"].Config()
        )
        loss: Annotated[SerializeAsAny[config.Config], PlainValidator(choose(LOSSES, "loss"))] = Field(
            default_factory=lambda: LOSSES["mse"].Config()
        )
        decoder: Literal["argmax", "quarter", "dark", "centroid", "soft_argmax"] = "dark"
        normalize: Literal["peak", "mean"] = "peak"

    def __init__(
        self,
        method: HeatmapMethod.Config,
        landmark_names: tuple[str, ...],
        channels: int,
        input_size: tuple[int, int],
        epochs: int | None = None,
        ema: float = 0.0,
    ) -> None:
        super().__init__()
        self.landmark_names = landmark_names
        count = len(landmark_names)
        self.network = NETWORKS[_name(method.network)](channels, count, **method.network.options())
        self.network.to(memory_format=torch.channels_last)  # faster convolutions
        self.codec = GaussianHeatmap(input_size, self.network.stride, method.decoder, method.normalize)
        self.loss = LOSSES[_name(method.loss)](**method.loss.options())
        self.loss.check(self.codec)
        options = method.schedule.options()
        options["sigma0"] = resolve_sigma0(options.get("sigma0"), self.codec.map_size)
        self.schedule = SCHEDULES[_name(method.schedule)](num_landmarks=count, epochs=epochs, **options)
        if self.schedule.needs_normalized_targets and (method.normalize != "mean" or _name(method.loss) != "mse"):
            raise ConfigError(
                f"schedule {_name(method.schedule)} expects targets divided by their mean and the mse loss, got "
                f"normalize={method.normalize}, loss={_name(method.loss)}; set method.normalize=mean method.loss=mse"
            )
        self.average: AveragedModel | None = None
        if ema:
            self.average = AveragedModel(self.network, multi_avg_fn=_warm_average(ema), use_buffers=True)
            self.average.requires_grad_(False)
        self.epoch_loss = float("nan")  # mean misfit of the annotated landmarks in the last epoch
        # sums over the epoch so far: misfit, energy, number of annotations, each (K,)
        self.register_buffer("epoch_sums", torch.zeros(3, count, dtype=torch.float64), persistent=False)

    epoch_sums: Tensor
    # filled in by training: (parameters, number of optimizer steps) -> what Lightning's configure_optimizers returns
    make_optimizers: Callable[[list[nn.Parameter], int], Any]

    # -- training ---------------------------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean over the annotated landmarks of the batch; raises RunError when it is not finite."""
        output = self.network(_channels_last(batch.images)).float()
        loss, misfit, energy = self.loss(output, batch.points, self.schedule.sigma.to(output.device), self.codec)
        present = batch.points.isfinite().all(-1)
        zero = torch.zeros_like(loss)
        with torch.no_grad():
            sums = [torch.where(present, values, zero).sum(0) for values in (misfit, energy)]
            self.epoch_sums += torch.stack([*sums, present.sum(0)]).to(self.epoch_sums)
        penalty = self.schedule.penalty().to(loss)
        total = torch.where(present, loss + penalty, zero).sum() / present.sum().clamp_min(1)
        if not torch.isfinite(total):
            raise NotFinite(batch.index.tolist())
        return total

    def configure_optimizers(self) -> Any:
        """Optimizer and learning rate schedule over everything that is trained; the averaged weights only follow."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return self.make_optimizers(trained, max(int(self.trainer.estimated_stepping_batches), 1))

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then let the averaged weights follow."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.network)

    def on_train_epoch_end(self) -> None:
        """Move the schedule by the epoch's losses, the same on every process."""
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.epoch_sums)
        loss, energy, count = self.epoch_sums.cpu()
        self.epoch_loss = float(loss.sum() / count.sum())
        self.schedule.step(loss / count, energy / count)  # 0 / 0 = NaN: landmark not annotated in this epoch
        self.epoch_sums.zero_()

    # -- validation and prediction ----------------------------------------------------------------------------------

    @torch.no_grad()
    def predict_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in pixels of the original images and scores (B, K), by the averaged weights if kept."""
        points, scores = self.codec.decode(self.loss.maps(self.heatmaps(batch.images)))
        return map_points(batch.to_original, points), scores

    @torch.no_grad()
    def heatmaps(self, images: Tensor) -> Tensor:
        """The network's output (B, K, h, w) float32 for inputs (B, C, H, W)."""
        output: Tensor = self.inference_network()(_channels_last(images)).float()
        return output

    def inference_network(self) -> nn.Module:
        """The network whose weights are validated, kept and used: the averaged one where there is one."""
        return self.network if self.average is None else self.average.module

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Distances (B, K) in original pixels, NaN where not annotated; training keeps the book."""
        points, _ = self.predict_batch(batch)
        truth = map_points(batch.to_original, batch.points)
        distances: Tensor = torch.linalg.vector_norm(points - truth, dim=-1)
        return distances

    # -- state ------------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The learned schedule is a module and saved with the weights; the others add their own state."""
        if not isinstance(self.schedule, LearnedSigma):
            checkpoint["schedule"] = self.schedule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the schedule up where the checkpoint left it."""
        if not isinstance(self.schedule, LearnedSigma):
            cast(Any, self.schedule).load_state_dict(checkpoint["schedule"])


class NotFinite(RunError):
    """Loss is NaN or infinite for these positions in the dataset; training names the images."""

    def __init__(self, index: list[int]) -> None:
        super().__init__(f"the training loss is not finite for samples {index}")
        self.index = index


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _name(component: config.Config) -> str:
    return str(cast(Any, component).name)


def _warm_average(decay: float) -> Any:
    """Exponential moving average whose decay starts low, so that early weights are soon forgotten."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        """All tensors are of one type, as ``AveragedModel`` gives them."""
        done = int(count)
        if averaged[0].is_floating_point():
            share = min(decay, (1 + done) / (10 + done))
            cast(Any, get_ema_multi_avg_fn)(share)(averaged, current, count)
        else:
            for mean, value in zip(averaged, current, strict=True):
                mean.copy_(value)

    return update
