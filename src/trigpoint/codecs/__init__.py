"""Codecs: what a heatmap network is trained on, and how its output is read, in one object each.

``gaussian.GaussianHeatmap`` one point per landmark; ``instances.InstanceHeatmap`` any number of them; ``peaks`` the
sub-pixel reading of a single peak, shared by codecs; ``maxima`` the maxima of a map that may hold several, ``grouping``
which of them belong to one object.
A codec has ``encode``, ``decode`` and a nested ``Config``, from which the ``Config`` of its method is derived.
"""

from __future__ import annotations

from trigpoint.codecs.gaussian import DECODERS, GaussianHeatmap, Tolerance
from trigpoint.codecs.instances import InstanceHeatmap, Instances

__all__ = ["DECODERS", "GaussianHeatmap", "InstanceHeatmap", "Instances", "Tolerance"]
