"""What training asks of anything that learns, and what every method that finds landmarks has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, cast

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trigpoint import config
from trigpoint.errors import RunError
from trigpoint.geometry import map_points
from trigpoint.landmarks import Batch
from trigpoint.methods.averaging import RunningAverage


class Found(NamedTuple):
    """Points (B, K, 2) and scores (B, K); ``spread`` (B, K), how far several attempts at a point lie apart, or None."""

    points: Tensor
    scores: Tensor
    spread: Tensor | None = None


class TrainedModule(L.LightningModule, ABC):
    """What training asks of anything that learns: its optimizer, averaged weights, and what to note of an epoch."""

    network: nn.Module
    # filled in by training: (parameters, number of optimizer steps) -> what Lightning's configure_optimizers returns
    make_optimizers: Callable[[list[nn.Parameter], int], Any]
    steps_per_batch: int = 1  # optimizer steps
    clip: float | None = None  # largest gradient norm, for methods that step by themselves; filled in by training

    def __init__(self, ema: float) -> None:
        super().__init__()
        self.ema = ema
        self.average: RunningAverage | None = None
        self.epoch_loss = float("nan")  # mean of the last epoch

    def observe(self, points: Tensor) -> None:
        """Learn what is needed to know of all training points (N, K, 2) in input pixels before it starts."""

    def epoch_columns(self) -> dict[str, float]:
        """Numbers that ``metrics.csv`` keeps of the epoch about to be trained, by column."""
        return {}

    def epoch_results(self) -> dict[str, float]:
        """Numbers beside the loss that ``metrics.csv`` keeps of the epoch just trained, by column."""
        return {}

    def keep_average(self) -> None:
        """Begin to average the weights of ``network``, when that is asked for; called once the network is there."""
        if self.ema:
            self.average = RunningAverage(self.network, self.ema)

    def follow(self) -> None:
        """Let the averaged weights follow an optimizer step."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def inference_network(self) -> nn.Module:
        """The network whose weights are validated, kept and used: the averaged one where there is one."""
        return self.network if self.average is None else self.average.module

    def configure_optimizers(self) -> Any:
        """Optimizer and learning rate schedule over everything that is trained; the averaged weights only follow.

        Called when the module is where it will be trained.
        """
        if self.average is not None:
            self.average.forget()
        trained = [p for p in self.parameters() if p.requires_grad]
        return self.make_optimizers(
            trained, max(int(self.trainer.estimated_stepping_batches), 1) * self.steps_per_batch
        )


class LandmarkMethod(TrainedModule, ABC):
    """Base of the methods: a network over named landmarks that training, validation and prediction can use.

    A method is built as ``METHODS[name](config, landmark_names, channels, input_size, epochs, ema)``; ``channels`` of
    the input and its size (H, W) come from the data, ``epochs`` and ``ema`` (decay of the averaged weights, 0 = none)
    from training. It raises ConfigError for combinations that cannot work, before any of it is used.
    """

    Config: ClassVar[type[config.Config]]
    several: ClassVar[bool] = False
    """Whether it finds any number of instances of a landmark in an image; then it learns from ``InstanceInputs``."""

    def __init__(self, landmark_names: tuple[str, ...], ema: float) -> None:
        super().__init__(ema)
        self.landmark_names = landmark_names

    @abstractmethod
    def predict_batch(self, batch: Batch) -> Found:
        """Points in pixels of the original images, by the weights of ``inference_network``."""

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Distances (B, K) in original pixels, NaN where not annotated; training keeps the book."""
        points = self.predict_batch(batch).points
        truth = map_points(batch.to_original, batch.points)
        distances: Tensor = torch.linalg.vector_norm(points - truth, dim=-1)
        return distances


class NotFinite(RunError):
    """Loss is NaN or infinite for these positions in the dataset; training names the images."""

    def __init__(self, index: list[int]) -> None:
        super().__init__(f"the training loss is not finite for samples {index}")
        self.index = index


def sum_over_processes(values: Tensor) -> Tensor:
    """``values`` summed in place over all training processes."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(values)
    return values


def component(of: config.Config) -> str:
    """Name of the component that a config belongs to."""
    return str(cast(Any, of).name)
