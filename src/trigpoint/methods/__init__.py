"""Methods that find landmarks, each one LightningModule that reads alone from top to bottom.

- ``heatmap``: heatmap regression with fixed, decaying, learned or adaptive (Adaloss) target widths
- ``losses``: how its maps are compared with their targets
"""

from __future__ import annotations

from trigpoint.methods.heatmap import HeatmapMethod

METHODS: dict[str, type[HeatmapMethod]] = {"heatmap": HeatmapMethod}

__all__ = ["METHODS", "HeatmapMethod"]
