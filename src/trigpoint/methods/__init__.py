"""Methods that find landmarks, each one LightningModule that reads alone from top to bottom.

- ``heatmap``: heatmap regression with fixed, decaying, learned or adaptive (Adaloss) target widths
- ``foveated``: iterated glimpses over an image pyramid, for very large images
- ``cascade``: a heatmap run finds, glimpses refine
- ``instances``: heatmaps with any number of instances of a landmark in an image
- ``template``: from one label on, frozen features and filters in closed form
- ``losses``: how heatmaps are compared with their targets; ``maps``: what ``heatmap`` and ``instances`` share
- ``transfer``: a frozen source model that regularises ``heatmap`` (cross-task learning)
- ``graph``: a prediction as steps of a graph, for export; ``glimpse_graph``: the loop of the glimpses
- ``base``: the contract, what training and prediction ask of a method
- ``validation``: what is measured on validation images, and calibrated on them
"""

from collections.abc import Mapping
from typing import Any

from trigpoint.config import parse
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods.base import LandmarkMethod, StageRun
from trigpoint.methods.cascade import CascadeMethod
from trigpoint.methods.foveated import FoveatedMethod
from trigpoint.methods.heatmap import HeatmapMethod
from trigpoint.methods.instances import InstanceMethod
from trigpoint.methods.template import TemplateMethod
from trigpoint.recipe import METHOD, Recipe

METHODS: dict[str, type[LandmarkMethod]] = {
    "heatmap": HeatmapMethod,
    "foveated": FoveatedMethod,
    "cascade": CascadeMethod,
    "instances": InstanceMethod,
    "template": TemplateMethod,
}

__all__ = [
    "METHODS", "build_method", "CascadeMethod", "FoveatedMethod", "HeatmapMethod", "InstanceMethod", "LandmarkMethod",
    "TemplateMethod",
]  # fmt: skip


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
    kind: Any = METHOD.find(given.method_name)
    built: LandmarkMethod = kind(given.method, landmarks.names, channels, size, epochs, given.train.ema, **more)
    built.meet(landmarks)
    if fetch:
        built.check_data(recipe.data)
    return built


def _without_pretrained(values: Any) -> Any:
    """Recipe values that ask for no weights from elsewhere and no source, at any depth."""
    if isinstance(values, dict):
        plain = {"pretrained": False, "weights": None, "transfer": None}
        return {key: plain[key] if key in plain else _without_pretrained(value) for key, value in values.items()}
    return values
