"""The recipe: one complete, strict description of an experiment, from data to optimizer; and that of a source model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from trigpoint.config import Choice, Component, Config, apply_overrides, parse
from trigpoint.errors import ConfigError
from trigpoint.recipes import recipe_values

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=1)]


def _square(value: Any) -> Any:
    """One number stands for both sides."""
    return (value, value) if isinstance(value, int) else value


class InputConfig(Config):
    """What the network sees. Before normalisation black is 0 and white is 1; beyond the image it is 0 after it."""

    size: Annotated[tuple[Side, Side], BeforeValidator(_square)] = (256, 256)
    """Height and width, pixels; one number for both."""
    channels: Literal[1, 3] = 1
    """Colours; 1 turns colour to grey (luma of ITU-R BT.601), 3 repeats grey."""
    fit: Literal["letterbox", "crop", "stretch"] = "letterbox"
    """How an image comes to this size: all of it with a margin, its middle without, or stretched."""
    normalize: Literal["image", "fixed", "unit"] = "image"
    """Mean 0 and standard deviation 1 of each image, fixed numbers per channel, or as it is."""
    mean: tuple[float, ...] | None = None
    """Subtracted by ``normalize: fixed``, a number per channel."""
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    """Divided by in ``normalize: fixed``, a number per channel."""

    @model_validator(mode="after")
    def _check(self) -> InputConfig:
        if self.normalize != "fixed":
            if self.mean is not None or self.std is not None:
                raise ValueError(f"mean and std are used by normalize=fixed only, got normalize={self.normalize}")
            return self
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is None or len(values) != self.channels:
                raise ValueError(
                    f"{name}: normalize=fixed expects {self.channels} numbers, one a channel, got {values}"
                )
        return self


class AugmentConfig(Config):
    """How training varies the input; everything is off by default. Geometry is about the middle of the input, intensity
    in units of the image's range."""

    rotation: float = Field(default=0.0, ge=0, le=180)
    """Largest turn, degrees either way."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Least and largest factor, 0.1 to 10, drawn evenly on a log scale."""
    shift: Share = 0.0
    """Largest shift either way, as a share of the input's side."""
    flip: Share = 0.0
    """Probability of a mirrored image; needs ``pairs`` in ``dataset.yaml``, be it ``[]``."""
    elastic: float = Field(default=0.0, ge=0)
    """Largest displacement of an elastic deformation, input pixels."""
    elastic_spacing: float = Field(default=32.0, gt=0)
    """Distance between its control points, input pixels; more than four times ``elastic``."""
    brightness: Share = 0.0
    """Brightness factors are 1 +- this; ``normalize: image`` undoes them but for the clipping."""
    contrast: Share = 0.0
    """Contrast factors are 1 +- this; ``normalize: image`` undoes them but for the clipping."""
    gamma: float = Field(default=0.0, ge=0, le=4)
    """Exponents lie between 1 / (1 + this) and 1 + this."""
    blur: float = Field(default=0.0, ge=0, le=20)
    """Largest standard deviation of a Gaussian blur, input pixels."""
    noise: Share = 0.0
    """Largest standard deviation of additive noise."""
    erase: Share = 0.0
    """Probability that a rectangle is set to the image's mean."""
    erase_area: tuple[float, float] = (0.02, 0.1)
    """Least and largest share of the input that the rectangle takes."""
    drop_outside: bool = True
    """A landmark that left the input counts as missing, because no heatmap can show it."""

    @property
    def varies(self) -> bool:
        """Whether an image looks different from one epoch to the next."""
        ways = (self.rotation, self.shift, self.flip, self.elastic, self.brightness, self.contrast, self.gamma)
        return self.scale != (1.0, 1.0) or any((*ways, self.blur, self.noise, self.erase))

    @model_validator(mode="after")
    def _check(self) -> AugmentConfig:
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError(f"scale: expected [low, high] between 0.1 and 10, got {list(self.scale)}")
        if not 0 < self.erase_area[0] <= self.erase_area[1] < 1:
            raise ValueError(f"erase_area: expected [low, high] between 0 and 1, got {list(self.erase_area)}")
        if self.elastic and self.elastic_spacing <= 4 * self.elastic:
            raise ValueError(
                f"elastic_spacing: expected more than 4 x elastic = {4 * self.elastic:g} px, so that the image cannot "
                f"fold, got {self.elastic_spacing:g}"
            )
        return self


class WeightsConfig(Config):
    """Where the first weights of a timm encoder come from."""

    pretrained: bool = False
    """Fetch timm's weights, or those of the ``hf_hub:`` address."""
    weights: str | None = None
    """Name of weights that need no hub, such as lite0, or a checkpoint of the encoder: .safetensors, or a torch file of
    plain tensors."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained and weights: expected one of the two, got both; drop one of them")
        return self


class DataConfig(Config):
    """Which images are learned from and what the network sees of them."""

    path: str | None = None
    """Dataset folder."""
    train: str = "train"
    """Name of the training subset."""
    val: str = "val"
    """Name of the validation subset; where there is none, it is drawn from the training subjects by the seed."""
    val_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the training subjects that is drawn for validation then."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many labelled training images: a fixed choice by the seed, with fewer always among more."""
    fraction: float | None = Field(default=None, gt=0, le=1)
    """Share of the labelled training images, in place of ``limit``."""
    limit_across: bool = False
    """Take one image of each subject first, in place of subject after subject."""
    unlabelled: int = Field(default=0, ge=0)
    """Images without labels that join each batch for ``method.transfer``."""
    landmarks: tuple[str, ...] | None = None
    """Only these landmarks; null: all."""
    input: InputConfig = InputConfig()
    """What the network sees."""
    augment: AugmentConfig = AugmentConfig()
    """How training varies it."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that prepare batches; null: half of the cores, 1 to 8."""
    cache: bool = False
    """Keep decoded images in memory."""
    on_error: Literal["stop", "skip"] = "stop"
    """What an image that cannot be read does: stop, or be skipped and listed in the run's ``skipped.csv``."""
    on_change: Literal["stop", "accept"] = "stop"
    """What data that changed or were added since the run began do to a resumed run: stop it, or be learned from."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.limit is not None and self.fraction is not None:
            raise ValueError("limit and fraction: expected one of the two, got both; remove one")
        return self


AUTO_EPOCHS, AUTO_STEPS = 40, 2000
"""What ``train.epochs=auto`` is at least: rounds of the training images, and optimizer steps."""


def _epochs(value: Any) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected a number of at least 1, or auto, got {value!r}")
    return value


class OptimizerConfig(Config):
    """The optimizer."""

    name: Literal["adam", "adamw", "adadelta", "sgd"] = "adam"
    """Which one, of those in ``torch.optim``."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate; that of adadelta multiplies its own step (1.0 in its paper)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of sgd."""

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum is an option of sgd, got optimizer {self.name}; remove it")
        return self


class LrScheduleConfig(Config):
    """How the learning rate moves, per optimizer step."""

    name: Literal["constant", "step", "poly", "cosine"] = "constant"
    """Constant; times ``gamma`` at each milestone; (1 - share of training)^``power``; a half cosine to zero."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of training at which ``step`` lowers the rate."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of ``step``."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of ``poly``."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of training in which the rate rises from zero."""

    def factor(self, progress: float) -> float:
        """Multiplier of the learning rate at a share of training from 0 to 1.

        >>> [round(LrScheduleConfig(name="cosine").factor(t), 3) for t in (0, 0.5, 1)]
        [1.0, 0.5, 0.0]
        """
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        if self.name == "step":
            return self.gamma ** sum(progress >= share for share in self.milestones)
        if self.name == "poly":
            return float(max(1.0 - progress, 0.0) ** self.power)
        if self.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return 1.0


class TrainConfig(Config):
    """How the method is trained."""

    epochs: Annotated[int | Literal["auto"], PlainValidator(_epochs)] = 100
    """Rounds of the training images; auto: 40, or as many as 2000 optimizer steps take where that is more."""
    batch_size: int = Field(default=8, ge=1)
    """Images per step and process."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer and learning rate."""
    lr_schedule: LrScheduleConfig = LrScheduleConfig()
    """How the learning rate moves."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the averaged weights, which are then validated and kept; 0: none."""
    clip: float | None = Field(default=None, gt=0)
    """Largest gradient norm; null: any."""
    val_every: int = Field(default=1, ge=1)
    """Epochs from one validation to the next."""
    precision: Annotated[
        Literal["32", "bf16-mixed", "16-mixed", "auto"],
        BeforeValidator(lambda given: "32" if given == 32 else given),  # YAML and the command line read a number
    ] = "32"
    """Lightning's; auto: bf16-mixed where the device computes it fast, else 32."""
    accelerator: str = "auto"
    """Lightning's: cpu, gpu, mps, ..."""
    devices: int | str = "auto"
    """Lightning's: number of devices."""
    num_nodes: int = Field(default=1, ge=1)
    """Lightning's: number of machines."""
    strategy: str = "auto"
    """Lightning's: how several processes train together."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the CPU; null: all."""

    @property
    def num_epochs(self) -> int:
        """``epochs`` as a number. Raises ConfigError while they are ``auto``: the training images decide."""
        if self.epochs == "auto":
            raise ConfigError("train.epochs: auto is a number once the training images are known; give a number")
        return self.epochs

    def for_images(self, count: int) -> TrainConfig:
        """The same with ``auto`` epochs as a number for ``count`` training images (of one process).

        >>> TrainConfig(epochs="auto", batch_size=16).for_images(100).epochs  # 7 steps an epoch
        286
        """
        if self.epochs != "auto":
            return self
        epochs = max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / math.ceil(count / self.batch_size)))
        return self.model_copy(update={"epochs": epochs})


class Stage(NamedTuple):
    """A run that a method begins from: ``what`` it is in words, and the folder ``run`` that holds it, or the complete
    ``recipe`` that has to be trained first."""

    what: str
    run: str | None = None
    recipe: dict[str, Any] | None = None


class MethodConfig(Component):
    """Base of the options of a method."""

    def completed(self, recipe: Recipe) -> Self:
        """The same with what follows from the whole recipe filled in."""
        return self

    def stages(self) -> dict[str, Stage]:
        """The runs that the method begins from, by the name of the folder within the run that they are trained in."""
        return {}


METHOD = Choice("method", "trigpoint.methods:METHODS")
"""The methods stand below the recipe and are imported when a recipe is read."""


class Recipe(Config):
    """Everything ``trigpoint train`` needs; unknown keys are refused with the nearest valid one."""

    name: str = "recipe"
    """Name of the recipe."""
    description: str = ""
    """What it is for, in a line."""
    seed: int = Field(default=0, ge=0)
    """Seed of all random numbers."""
    data: DataConfig = DataConfig()
    """Images and landmarks."""
    method: Annotated[MethodConfig, METHOD] = METHOD.default("heatmap")
    """How landmarks are found."""
    train: TrainConfig = TrainConfig()
    """How the method is trained."""

    @property
    def method_name(self) -> str:
        """Key of the method in ``METHODS``."""
        return self.method.name


class SourceDataConfig(Config):
    """Images with a class each."""

    path: str | None = None
    """Folder with a sub-folder per class, or a dataset folder."""
    column: str = "subject"
    """Column of the dataset's table that names the class."""
    splits: tuple[str, ...] | None = None
    """Only rows of these subsets; null: all."""
    val_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the images of each class, drawn by the seed, that chooses the weights."""
    input: InputConfig = InputConfig()
    """What the network sees."""
    augment: AugmentConfig = AugmentConfig()
    """How training varies it."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that prepare batches; null: half of the cores, 1 to 8."""
    cache: bool = False
    """Keep decoded images in memory."""


class SourceRecipe(WeightsConfig):
    """A recipe that trains a source model for ``method.transfer``: a timm encoder that tells classes apart."""

    task: Literal["classification"] = "classification"
    """Marks a recipe that trains a source."""
    name: str = "source"
    """Name of the recipe."""
    description: str = ""
    """What it is for, in a line."""
    seed: int = Field(default=0, ge=0)
    """Seed of all random numbers."""
    data: SourceDataConfig = SourceDataConfig()
    """Images and classes."""
    encoder: str = "resnet18"
    """Name of timm, with or without the tag of its weights, or ``hf_hub:owner/model``."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of a label that is spread over all classes."""
    train: TrainConfig = TrainConfig()
    """How it is trained."""


def load_recipe(source: str | Path | Mapping[str, Any] | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from a file, a name, values or a recipe, with dotted overrides.

    >>> load_recipe(Recipe(), ["train.epochs=3"]).train.epochs
    3
    """
    found = load_any_recipe(source, overrides)
    if isinstance(found, SourceRecipe):
        name = source if isinstance(source, str | Path) else found.name
        raise ConfigError(f"{name}: expected a recipe that finds landmarks, got one that trains a source (task)")
    return found


def load_any_recipe(
    source: str | Path | Mapping[str, Any] | Recipe | SourceRecipe, overrides: Sequence[str] = ()
) -> Recipe | SourceRecipe:
    """As ``load_recipe``; with ``task: classification`` the recipe of a source model."""
    if isinstance(source, Recipe | SourceRecipe):
        values = source.model_dump(mode="json")
        where = source.name
    else:
        values = recipe_values(source)
        where = str(values.get("name", "recipe")) if isinstance(source, Mapping) else str(source)
    if "task" in values:
        return parse(SourceRecipe, apply_overrides(values, overrides, SourceRecipe), where)
    recipe = parse(Recipe, apply_overrides(values, overrides, Recipe), where)
    return recipe.model_copy(update={"method": recipe.method.completed(recipe)})
