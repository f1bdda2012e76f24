"""The recipe: one complete, strict description of an experiment, from data to optimizer; and that of a source model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, PlainValidator, SerializeAsAny, model_validator

from trigpoint.config import Config, apply_overrides, choose, extended, parse, read_yaml
from trigpoint.data.augment import AugmentConfig, InputConfig
from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import METHODS, CascadeMethod, HeatmapMethod, LandmarkMethod


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


class Recipe(Config):
    """Everything ``trigpoint train`` needs; unknown keys are refused with the nearest valid one."""

    name: str = "recipe"
    description: str = ""
    seed: int = Field(default=0, ge=0)
    data: DataConfig = DataConfig()
    method: Annotated[SerializeAsAny[Config], PlainValidator(choose(METHODS, "method"))] = Field(
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


def recipe_values(source: str | Path | Mapping[str, Any], home: Path | None = None) -> dict[str, Any]:
    """Values of a recipe with all that it ``extends``: a file, a recipe of the package by name, or values.

    ``home`` is the folder of files that values extend.

    ``extends`` names the parent, a recipe of the package or a file beside the child; the child wins, see
    ``config.merged``. Raises ConfigError when there is no such recipe, and for recipes that extend one another.
    """
    if isinstance(source, Mapping):
        return extended(source, home or Path(), _named)
    is_file = Path(source).is_file() or str(source).endswith((".yaml", ".yml"))
    file = Path(source) if is_file else _named(str(source))
    return extended(read_yaml(file), file.parent, _named, (file.resolve(),))


def _named(name: str) -> Path:
    if name not in recipe_names():
        raise ConfigError(f"'{name}' is neither a file nor a recipe; {did_you_mean(name, recipe_names())}")
    return Path(str(files("trigpoint.recipes") / f"{name}.yaml"))


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
    values = apply_overrides(values, overrides)
    if "task" in values:
        return parse(SourceRecipe, values, where)
    return _with_coarse(parse(Recipe, values, where))


def _with_coarse(recipe: Recipe) -> Recipe:
    """A cascade with the recipe of its coarse stage complete and in place; other recipes as they are.

    A coarse stage that is to be trained gets the images, landmarks and seed of the whole.
    """
    method = recipe.method
    if not isinstance(method, CascadeMethod.Config):
        return recipe
    source, folder = method.coarse, method.coarse_run
    if source is None:
        source = str(Path(str(folder)) / "config.yaml")
    values = recipe_values(source)
    if folder is None:
        same = ("path", "train", "val", "val_share", "limit", "fraction", "limit_across", "landmarks")
        shared = {key: getattr(recipe.data, key) for key in same}
        values = {**values, "seed": recipe.seed, "data": {**(values.get("data") or {}), **shared}}
    coarse = parse(Recipe, values, "method.coarse")
    if coarse.method_name != "heatmap":
        raise ConfigError(f"method.coarse: expected a recipe of the method heatmap, got {coarse.method_name}")
    if coarse.data.input.normalize != "image" and recipe.data.input.normalize != "unit":
        raise ConfigError(
            "method.coarse: data.input.normalize=image is needed, or unit in the recipe of the cascade, because the "
            f"coarse stage sees what that leaves; got {coarse.data.input.normalize} after {recipe.data.input.normalize}"
        )
    return recipe.model_copy(update={"method": method.model_copy(update={"coarse": coarse.model_dump(mode="json")})})


def build_method(recipe: Recipe, landmarks: LandmarkSet, fetch: bool = True) -> LandmarkMethod:
    """The method of a recipe for these landmarks, with new weights; ``fetch`` false leaves out pretrained ones."""
    given = recipe if fetch else parse(Recipe, _without_pretrained(recipe.model_dump(mode="json")))
    more: dict[str, Any] = {}
    if isinstance(given.method, CascadeMethod.Config):
        coarse = parse(Recipe, given.method.coarse, "method.coarse")
        more = {"coarse": build_method(coarse, landmarks, fetch), "coarse_input": coarse.data.input}
    kind = cast(Any, METHODS[given.method_name])
    size, channels = given.data.input.size, given.data.input.channels
    epochs = None if given.train.epochs == "auto" else given.train.epochs
    built: LandmarkMethod = kind(given.method, landmarks.names, channels, size, epochs, given.train.ema, **more)
    if fetch:
        _check_transfer(recipe, built)
    return built


def _check_transfer(recipe: Recipe, method: LandmarkMethod) -> None:
    """Refuse data that a source cannot be compared on, and unlabelled images that nothing learns from."""
    transfer = method.transfer if isinstance(method, HeatmapMethod) else None
    if transfer is not None:
        transfer.expects.check(recipe.data.input)
        varied = recipe.data.augment.model_copy(update={"drop_outside": AugmentConfig().drop_outside})
        if transfer.options.cache and varied != AugmentConfig():
            raise ConfigError(
                "method.transfer.cache: what the source says of an image can be kept only while the image stays the "
                "same, "
                "got data.augment; remove the augmentation, or set method.transfer.cache=false"
            )
    if recipe.data.unlabelled and (transfer is None or not transfer.options.regularises):
        raise ConfigError(
            f"data.unlabelled={recipe.data.unlabelled}: expected method.transfer with a loss and a weight above 0, "
            f"which "
            "learns from images without labels, got none; add it, or set data.unlabelled=0"
        )


def _without_pretrained(values: Any) -> Any:
    """Recipe values that ask for no weights from elsewhere and no source, at any depth."""
    if isinstance(values, dict):
        plain = {"pretrained": False, "weights": None, "transfer": None}
        return {key: plain[key] if key in plain else _without_pretrained(value) for key, value in values.items()}
    return values
