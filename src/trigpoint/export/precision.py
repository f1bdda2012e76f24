"""float16 and int8: the networks of a graph in less precision, everything around them as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trigpoint.export.assembly import Parts
from trigpoint.methods.graph import GraphStep
from trigpoint.prediction import Predictor


def lowered(
    parts: Parts, steps: Sequence[GraphStep], predictor: Predictor, images: Sequence[Path], precision: str
) -> Parts:
    """The parts with the networks among them in ``precision``; int8 is calibrated on ``images``."""
    if precision == "float32":
        return parts
    raise NotImplementedError(precision)
