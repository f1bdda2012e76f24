"""From a recipe to the method that it names, with new weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trigpoint.config import parse
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods.base import LandmarkMethod, StageRun
from trigpoint.recipe import METHODS, Recipe


def build_method(
    recipe: Recipe, landmarks: LandmarkSet, fetch: bool = True, stages: Mapping[str, StageRun] | None = None
) -> LandmarkMethod:
    """The method of a recipe for these landmarks; ``stages`` are runs that it begins from.

    ``fetch`` false leaves out pretrained weights, and everything else that the weights of a finished run replace.
    """
    given = recipe if fetch else parse(Recipe, _without_pretrained(recipe.model_dump(mode="json")))
    more = {"stages": stages} if stages and fetch else {}
    size, channels = given.data.input.size, given.data.input.channels
    epochs = None if given.train.epochs == "auto" else given.train.epochs
    kind: Any = METHODS[given.method_name]
    built: LandmarkMethod = kind(given.method, landmarks.names, channels, size, epochs, given.train.ema, **more)
    if fetch:
        built.check_data(recipe.data)
    return built


def _without_pretrained(values: Any) -> Any:
    """Recipe values that ask for no weights from elsewhere and no source, at any depth."""
    if isinstance(values, dict):
        plain = {"pretrained": False, "weights": None, "transfer": None}
        return {key: plain[key] if key in plain else _without_pretrained(value) for key, value in values.items()}
    return values
