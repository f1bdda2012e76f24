"""Methods that find landmarks, each one LightningModule that reads alone from top to bottom.

- ``heatmap``: heatmap regression with fixed, decaying, learned or adaptive (Adaloss) target widths
- ``foveated``: iterated glimpses over an image pyramid, for very large images
- ``cascade``: a heatmap run finds, glimpses refine
- ``instances``: heatmaps with any number of instances of a landmark in an image
- ``losses``: how heatmaps are compared with their targets; ``maps``: what ``heatmap`` and ``instances`` share
- ``transfer``: a frozen source model that regularises ``heatmap`` (cross-task learning)
- ``base``: the contract, what training and prediction ask of a method; ``build``: from a recipe to its method
- ``validation``: what is measured on validation images, and calibrated on them
"""

from __future__ import annotations

from trigpoint.methods.base import LandmarkMethod
from trigpoint.methods.build import build_method
from trigpoint.methods.cascade import CascadeMethod
from trigpoint.methods.foveated import FoveatedMethod
from trigpoint.methods.heatmap import HeatmapMethod
from trigpoint.methods.instances import InstanceMethod

METHODS: dict[str, type[LandmarkMethod]] = {
    "heatmap": HeatmapMethod,
    "foveated": FoveatedMethod,
    "cascade": CascadeMethod,
    "instances": InstanceMethod,
}

__all__ = [
    "METHODS",
    "build_method",
    "CascadeMethod",
    "FoveatedMethod",
    "HeatmapMethod",
    "InstanceMethod",
    "LandmarkMethod",
]
