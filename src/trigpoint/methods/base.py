"""What training asks of anything that learns, and what every method that finds landmarks has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trigpoint.data import LandmarkDataset, image_size
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import InputDataset, InstanceInputs
from trigpoint.errors import ConfigError, RunError
from trigpoint.landmarks import Batch, Detections, FloatArray, LandmarkSet, Prediction
from trigpoint.methods.averaging import RunningAverage
from trigpoint.methods.graph import GraphStep
from trigpoint.methods.validation import (
    DetectionError,
    RadialError,
    ValidationMetric,
    calibrated_instances,
    conformal_radius,
)
from trigpoint.metrics import CANDIDATES, matching_radius, radial_error
from trigpoint.recipe import DataConfig, InputConfig, MethodConfig, Recipe, SourceRecipe

if TYPE_CHECKING:
    from trigpoint.data.tiled import TiledImage


class TrainedModule(L.LightningModule, ABC):
    """What training asks of anything that learns: its optimizer, averaged weights, and what to note of an epoch."""

    network: nn.Module
    # filled in by training: (parameters, number of optimizer steps) -> what Lightning's configure_optimizers returns
    make_optimizers: Callable[[list[nn.Parameter], int], Any]
    metric: ValidationMetric  # what validation computes; filled in by training
    steps_per_batch: int = 1  # optimizer steps
    clip: float | None = None  # largest gradient norm, for methods that step by themselves; filled in by training

    def __init__(self, ema: float) -> None:
        super().__init__()
        self.ema = ema
        self.average: RunningAverage | None = None
        self.epoch_loss = float("nan")  # mean of the last epoch
        self.finite = FiniteCheck()

    @abstractmethod
    def validation_metric(self) -> ValidationMetric:
        """What validation computes; its first number chooses the weights."""

    def observe(self, points: Tensor) -> None:
        """Learn what is needed to know of all training points (N, K, 2) in input pixels before it starts."""

    def plan(self, epochs: int, batches: int) -> list[str]:
        """Told, before training starts, how many epochs it has and how many batches each of them; what a person should
        know of it then."""
        return []

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

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.settle()
        self.follow()

    def settle(self) -> None:
        """Called after an optimizer step, before the averaged weights follow it."""

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


@dataclass(frozen=True)
class StageRun:
    """A finished run that a method begins from: its folder, recipe and weights; and, of one that finds landmarks, its
    errors (N, K, 2) on validation images that it was not trained on, input pixels of the method that begins."""

    folder: Path
    recipe: Recipe | SourceRecipe
    weights: Mapping[str, Tensor]
    errors: Tensor | None = None


@dataclass(frozen=True)
class Calibration:
    """What a method takes from the validation images when its weights are chosen.

    ``radius`` (K,): original pixels, in images with ``scale`` of them to an input pixel, that the error in ``COVERAGE``
    of the images of new subjects stays below; NaN: too few subjects to tell. ``threshold``: the score that an instance
    has to exceed; None for methods that find exactly one.
    """

    radius: FloatArray
    scale: float
    threshold: float | None = None


class GlimpseTrace(NamedTuple):
    """The prediction of one image by T glimpse steps of L levels; points and corners in input pixels.

    ``path`` (T + 1, K, 2): the guesses from the first initial guess. ``found`` (K, 2): the prediction, which with one
    initial guess is the end of the path. Of each of the ``columns`` asked for: ``glimpses`` (N, S, L, C, g, g), what
    the network sees at the end of the path and at S - 1 places near it; ``maps`` (N, S, L, D, h, w), the trunk's maps
    there, each softmaxed over its cells as ``SpatializedFeatures`` does; ``extents`` (N, S, L, 2, 2), top left and
    bottom right corner of each patch. ``spatialized``: whether the network reads places off these maps.
    """

    path: Tensor
    found: Tensor
    glimpses: Tensor
    maps: Tensor
    extents: Tensor
    to_original: Tensor
    spatialized: bool


class LandmarkMethod(TrainedModule, ABC):
    """Base of the methods: a network over named landmarks that training, validation and prediction can use.

    A method is built as ``METHODS[name](config, landmark_names, channels, input_size, epochs, ema)``; ``channels`` of
    the input and its size (H, W) come from the data, ``epochs`` and ``ema`` (decay of the averaged weights, 0 = none)
    from training; ``stages``, if its config names any, are the runs among them that are there already. It raises
    ConfigError for combinations that cannot work, before any of it is used.

    It has to give ``Config``, ``network``, ``training_step`` and ``predict``. The rest has defaults: those of a method
    that finds exactly one of each landmark, or, with a ``threshold``, any number of instances.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    reads_tiles: ClassVar[bool] = False
    """Whether ``predict_tiled`` works: on images too large for memory."""
    traces: ClassVar[bool] = False
    """Whether ``trace`` tells how the method came to its points."""
    validates_itself: ClassVar[bool] = False
    """Whether the few images that are annotated may all be learned from, and measured on, where no others validate: it
    has nothing that the validation images would have to choose."""
    continues: ClassVar[bool] = False
    """Whether ``begin_from`` works: training can begin from the weights of another run."""
    threshold: float | None = None
    """Score that an instance has to exceed to be predicted; None: exactly one of each landmark is found. A method with
    a threshold is trained on ``InstanceInputs``: batches with all instances of an image."""

    def __init__(self, landmark_names: tuple[str, ...], ema: float) -> None:
        super().__init__(ema)
        self.landmark_names = landmark_names

    @abstractmethod
    def predict(self, batch: Batch) -> Detections:
        """What is found, in pixels of the original images, by the weights of ``inference_network``."""

    # -- data and stages --------------------------------------------------------------------------------------------

    def meet(self, landmarks: LandmarkSet) -> None:
        """Told once, right after it is built, what the landmarks are to one another, such as left and right.

        Raises DataError where an option needs to know what they do not say.
        """

    def check_data(self, data: DataConfig) -> None:
        """Raise ConfigError for options of the data that the method cannot use."""
        if data.unlabelled:
            raise ConfigError(
                f"data.unlabelled={data.unlabelled}: expected method.transfer with a loss and a weight above 0, which "
                "learns from images without labels, got none; add it, or set data.unlabelled=0"
            )

    def inputs(
        self,
        data: LandmarkDataset,
        pipeline: InputPipeline,
        seed: int = 0,
        cache: bool = False,
        unlabelled: LandmarkDataset | None = None,
    ) -> InputDataset:
        """What batches are drawn from: a sample each, or with a ``threshold`` an image with all its instances."""
        if self.threshold is None:
            return InputDataset(data, pipeline, seed, cache, unlabelled)
        return InstanceInputs(data, pipeline, seed, cache)

    def take_stage(self, name: str, run: StageRun) -> None:
        """Begin from a run that ``Config.stages`` asks for; called before training."""

    def begin_from(self, run: StageRun, names: tuple[str, ...]) -> None:
        """Take the weights of a ``run`` with the landmarks ``names``.

        Raises ConfigError where the method cannot, or the run has another network.
        """
        raise ConfigError(
            f"train.init: expected a method whose network gives a map per landmark, got {type(self).__name__}; train "
            "without train.init"
        )

    def learn_only(self, names: Sequence[str]) -> None:
        """Let all but these landmarks be as they are. Raises ConfigError where the method cannot."""
        raise ConfigError(
            f"train.only: expected a method whose network gives a map per landmark, got {type(self).__name__}; train "
            "without train.only"
        )

    # -- validation and calibration ---------------------------------------------------------------------------------

    def matching_radius(self, height: float) -> float:
        """How near an instance has to be to count as found in an image of this many rows, original pixels."""
        return matching_radius(height)

    def validation_metric(self) -> ValidationMetric:
        if self.threshold is None:
            return RadialError()
        return DetectionError(len(self.landmark_names), self.matching_radius)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Let the metric see a batch, all candidates included."""
        with self.above(None if self.threshold is None else CANDIDATES):
            self.metric.update(self.predict(batch), batch)

    @contextmanager
    def above(self, threshold: float | None) -> Iterator[None]:
        """Another ``threshold`` for a while; None leaves it."""
        before = self.threshold
        self.threshold = before if threshold is None else threshold
        try:
            yield
        finally:
            self.threshold = before

    def calibrate(self, found: Prediction, data: LandmarkDataset) -> Calibration:
        """Radius and threshold from what was ``found`` on the validation images, all candidates included."""
        scale = float(np.median(found.scales))
        if self.threshold is None:
            errors = radial_error(found.points, data.points) / found.scales[:, None] / found.doubts
            radii = [conformal_radius(column, subjects=data.groups) for column in errors.T]
            return Calibration(scale * np.array(radii), scale)
        images = data.instances_by_image()
        within = [self.matching_radius(image_size(image.image)[0]) for image in images]
        subjects = [data.groups[image.rows[0]] for image in images]
        radius, threshold = calibrated_instances(found, images, subjects, within, self.threshold)
        return Calibration(scale * radius, scale, threshold)

    # -- what only some methods can do ------------------------------------------------------------------------------

    def predict_tiled(self, image: TiledImage, input: InputConfig) -> Detections:
        """As ``predict`` for one image that is read by tiles; only where ``reads_tiles``."""
        raise NotImplementedError(f"{type(self).__name__} reads no tiles")

    def trace(
        self,
        image: Batch | TiledImage,
        input: InputConfig,
        columns: Sequence[int] | None = None,
        moves: Sequence[tuple[float, float]] = ((0.0, 0.0),),
    ) -> GlimpseTrace:
        """How it came to the points of one image; only where ``traces``. See ``FoveatedMethod.trace``."""
        raise NotImplementedError(f"{type(self).__name__} keeps no trace")

    def graph_steps(self) -> list[GraphStep]:
        """``predict`` of one image as steps of a graph, see ``methods.graph``, for files that run without PyTorch.

        Raises ConfigError where the method has none.
        """
        raise ConfigError(
            f"export: expected a method with graph_steps, got {type(self).__name__}, which has none; predict with the "
            "run folder itself"
        )

    def heatmaps(self, images: Tensor) -> Tensor:
        """Maps (B, K, h, w) as they are decoded, of inputs (B, C, H, W). Raises RunError where there are none."""
        raise RunError(f"expected a run of a method with heatmaps, got {type(self).__name__}, which has none")


class NotFinite(RunError):
    """Loss is NaN or infinite for these positions in the dataset; training names the images."""

    def __init__(self, index: list[int]) -> None:
        super().__init__(f"the training loss is not finite for samples {index}")
        self.index = index


class FiniteCheck:
    """Watches the losses of training steps, and names the images of the first that is not finite.

    The answer waits until a device has done all that it was told, so a GPU is asked once in ``EVERY`` steps and at the
    end of the epoch, before anything is validated or saved; a CPU at once.
    """

    EVERY = 64

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, Tensor]] = []

    def watch(self, loss: Tensor, index: Tensor) -> None:
        """Note the ``loss`` of a step on the samples ``index``; raises NotFinite for it or an earlier one."""
        self._seen.append((loss.detach(), index))
        if loss.device.type == "cpu" or len(self._seen) >= self.EVERY:
            self.ask()

    def ask(self) -> None:
        """Raises NotFinite, naming the samples of the first step watched that had such a loss."""
        seen, self._seen = self._seen, []
        if seen:
            finite = torch.stack([loss for loss, _ in seen]).isfinite().tolist()
            if not all(finite):
                raise NotFinite(seen[finite.index(False)][1].tolist())


def to_device(values: Tensor, like: Tensor) -> Tensor:
    """``values`` with the type and on the device of ``like``, without waiting for what a GPU has to do."""
    if like.is_cuda:
        return values.to(like.dtype).pin_memory().to(like.device, non_blocking=True)
    return values.to(like)


def own_share(count: Tensor) -> Tensor:
    """What this process divides its sum of losses by, whose ``count`` terms are there: at least 1.

    Gradients are averaged over the processes, each weighing the same. A mean over what one of them has would weigh a
    point more where fewer are annotated, so each divides by the mean count of all: together the mean over all points.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return count.clamp_min(1)
    total = count.clone()
    dist.all_reduce(total)
    return total.clamp_min(1) / dist.get_world_size()


def take_sums(sums: Tensor) -> Tensor:
    """The ``sums`` of an epoch over all training processes, on the CPU; what is left of them is zero."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    taken = sums.to("cpu", copy=True)
    sums.zero_()
    return taken
