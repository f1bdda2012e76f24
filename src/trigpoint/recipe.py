"""The recipe: one complete, strict description of an experiment, from data to optimizer; and that of a source model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, PlainValidator, SerializeAsAny, model_validator

from trigpoint.config import Component, Config, LazyTable, apply_overrides, choose, parse, read_yaml
from trigpoint.data.input.augment import AugmentConfig, InputConfig
from trigpoint.errors import ConfigError, did_you_mean


class DataConfig(Config):
    """Which images are learned from and what the network sees of them.

    ``path``: a dataset folder. ``train`` and ``val``: names of its splits; where ``val`` is not among them,
    ``val_share`` of the training subjects are drawn by the seed and noted in the run folder. ``limit``: at most so many
    labelled training images, ``fraction`` instead a share of them: a fixed choice by the seed, in which fewer are
    always among more, taken subject after subject, or with ``limit_across`` one image of each subject first.
    ``unlabelled``: so many images without labels (those beyond the limit, and those never annotated) join each batch
    for ``method.transfer``. ``landmarks``: only these. ``workers``: processes that prepare batches (None: half of the
    cores, 1 to 8). ``cache``: keep decoded images in memory. ``on_error``: at an image that cannot be read stop, or
    skip it and list it in the run's ``skipped.csv``. ``on_change``: when a run is resumed with images or annotations
    that are no longer those it was begun with, stop, or accept them (``data.csv`` then lists both).
    """

    path: str | None = None
    train: str = "train"
    val: str = "val"
    val_share: float = Field(default=0.15, gt=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    fraction: float | None = Field(default=None, gt=0, le=1)
    limit_across: bool = False
    unlabelled: int = Field(default=0, ge=0)
    landmarks: tuple[str, ...] | None = None
    input: InputConfig = InputConfig()
    augment: AugmentConfig = AugmentConfig()
    workers: int | None = Field(default=None, ge=0)
    cache: bool = False
    on_error: Literal["stop", "skip"] = "stop"
    on_change: Literal["stop", "accept"] = "stop"

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
    """``momentum`` belongs to sgd; ``lr`` of Adadelta multiplies its own step (1.0 in its paper)."""

    name: Literal["adam", "adamw", "adadelta", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum is an option of sgd, got optimizer {self.name}; remove it")
        return self


class LrScheduleConfig(Config):
    """How the learning rate moves, per optimizer step: constant; step (times ``gamma`` at the shares ``milestones`` of
    training); poly ((1 - t)^``power``); cosine to zero. ``warmup``: share of training in which it rises from zero."""

    name: Literal["constant", "step", "poly", "cosine"] = "constant"
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = Field(default=0.1, gt=0, le=1)
    power: float = Field(default=0.9, gt=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)

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
    """How the method is trained.

    ``epochs`` are rounds of the training images; ``auto``: 40, or as many as 2000 optimizer steps take where that is
    more, so that few images are learned from for long enough. ``devices``, ``num_nodes``, ``accelerator``, ``strategy``
    and ``precision`` are Lightning's; ``precision`` auto: bf16-mixed where the device computes it fast, else 32.
    ``ema``: decay of the averaged weights (0: none). ``clip``: largest gradient norm (None: any). ``threads``: of the
    CPU (None: all).
    """

    epochs: Annotated[int | Literal["auto"], PlainValidator(_epochs)] = 100
    batch_size: int = Field(default=8, ge=1)
    optimizer: OptimizerConfig = OptimizerConfig()
    lr_schedule: LrScheduleConfig = LrScheduleConfig()
    ema: float = Field(default=0.0, ge=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    val_every: int = Field(default=1, ge=1)
    precision: Literal["32", "bf16-mixed", "16-mixed", "auto"] = "32"
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = Field(default=1, ge=1)
    strategy: str = "auto"
    threads: int | None = Field(default=None, ge=1)

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


METHODS = LazyTable("trigpoint.methods:METHODS")
"""The methods by name; they stand below the recipe and are imported when a recipe is read."""


class Recipe(Config):
    """Everything ``trigpoint train`` needs; unknown keys are refused with the nearest valid one."""

    name: str = "recipe"
    description: str = ""
    seed: int = Field(default=0, ge=0)
    data: DataConfig = DataConfig()
    method: Annotated[SerializeAsAny[MethodConfig], PlainValidator(choose(METHODS, "method"))] = Field(
        default_factory=lambda: METHODS["heatmap"].Config()
    )
    train: TrainConfig = TrainConfig()

    @property
    def method_name(self) -> str:
        """Key of the method in ``METHODS``."""
        return str(getattr(self.method, "name"))  # noqa: B009  (the base class has no such field)


class SourceDataConfig(Config):
    """Images with a class each: a folder with a sub-folder per class, or a dataset whose table names it in ``column``.

    ``splits``: only rows of these splits (None: all). ``val_share``: of the images of each class, drawn by the seed, to
    choose the weights. The rest as in a landmark recipe's ``data``.
    """

    path: str | None = None
    column: str = "subject"
    splits: tuple[str, ...] | None = None
    val_share: float = Field(default=0.1, gt=0, lt=1)
    input: InputConfig = InputConfig()
    augment: AugmentConfig = AugmentConfig()
    workers: int | None = Field(default=None, ge=0)
    cache: bool = False


class SourceRecipe(Config):
    """A recipe that trains a source model for ``method.transfer``: a timm encoder that tells classes of images apart.

    ``encoder``, ``pretrained`` and ``weights`` as of the landmark networks.
    """

    task: Literal["classification"] = "classification"
    name: str = "source"
    description: str = ""
    seed: int = Field(default=0, ge=0)
    data: SourceDataConfig = SourceDataConfig()
    encoder: str = "resnet18"
    pretrained: bool = False
    weights: str | None = None
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    train: TrainConfig = TrainConfig()


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(entry.name[:-5] for entry in files("trigpoint.recipes").iterdir() if entry.name.endswith(".yaml"))


def recipe_values(source: str | Path) -> dict[str, Any]:
    """Values of a recipe file, or of a recipe of the package by name. Raises ConfigError when there is neither."""
    if Path(source).is_file() or str(source).endswith((".yaml", ".yml")):
        return read_yaml(source)
    if str(source) not in recipe_names():
        raise ConfigError(f"'{source}' is neither a file nor a recipe; {did_you_mean(str(source), recipe_names())}")
    return read_yaml(Path(str(files("trigpoint.recipes") / f"{source}.yaml")))


def load_recipe(source: str | Path | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from a file, a name or a recipe, with dotted overrides.

    >>> load_recipe(Recipe(), ["train.epochs=3"]).train.epochs
    3
    """
    found = load_any_recipe(source, overrides)
    if isinstance(found, SourceRecipe):
        raise ConfigError(f"{source}: expected a recipe that finds landmarks, got one that trains a source (task)")
    return found


def load_any_recipe(source: str | Path | Recipe | SourceRecipe, overrides: Sequence[str] = ()) -> Recipe | SourceRecipe:
    """As ``load_recipe``; with ``task: classification`` the recipe of a source model."""
    if isinstance(source, Recipe | SourceRecipe):
        values = source.model_dump(mode="json")
        where = source.name
    else:
        values, where = recipe_values(source), str(source)
    values = apply_overrides(values, overrides)
    if "task" in values:
        return parse(SourceRecipe, values, where)
    recipe = parse(Recipe, values, where)
    return recipe.model_copy(update={"method": recipe.method.completed(recipe)})
