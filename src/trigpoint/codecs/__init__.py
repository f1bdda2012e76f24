"""Codecs: what a heatmap network is trained on, and how its output is read, in one object each.

``gaussian.GaussianHeatmap`` one point per landmark; ``peaks`` the sub-pixel reading of a single peak, shared by codecs.
A codec has ``encode``, ``decode`` and a nested ``Config``; listing it in ``CODECS`` makes it a choice in recipes and
puts it through the shared tests.
"""

from __future__ import annotations

from trigpoint.codecs.gaussian import DECODERS, GaussianHeatmap, Tolerance

CODECS = {"gaussian": GaussianHeatmap}

__all__ = ["CODECS", "DECODERS", "GaussianHeatmap", "Tolerance"]
