"""Codecs: what a heatmap network is trained on, and how its output is read, in one object each.

``gaussian`` one point per landmark; ``instances`` any number of them; ``peaks`` the sub-pixel reading of a single peak;
``maxima`` those of a map that may hold several, ``instance_graph`` the same as nodes of a graph, for export.
The ``Config`` of a method derives from that of its codec.
"""

from trigpoint.codecs.gaussian import DECODERS, GaussianHeatmap, Tolerance
from trigpoint.codecs.instances import InstanceHeatmap, Instances

__all__ = ["DECODERS", "GaussianHeatmap", "InstanceHeatmap", "Instances", "Tolerance"]
