"""The recipe: one complete, strict description of an experiment, from data to optimizer; and that of a source model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from trigpoint.config import Choice, Component, Config, apply_overrides, parse
from trigpoint.errors import ConfigError
from trigpoint.recipe.images import AugmentConfig, DataConfig, InputConfig
from trigpoint.recipe.learning import LrScheduleConfig, OptimizerConfig, TrainConfig, WeightsConfig
from trigpoint.recipes import recipe_values

__all__ = [
    "METHOD",
    "AugmentConfig",
    "DataConfig",
    "InputConfig",
    "LrScheduleConfig",
    "MethodConfig",
    "OptimizerConfig",
    "Recipe",
    "SourceDataConfig",
    "SourceRecipe",
    "Stage",
    "TrainConfig",
    "WeightsConfig",
    "load_any_recipe",
    "load_recipe",
]


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

    @model_validator(mode="after")
    def _check_shapes(self) -> SourceRecipe:
        if self.train.shape_prior:
            raise ValueError("train.shape_prior: expected none with classes, which have no shape; set it to false")
        return self


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
