"""trigpoint: find landmarks in images precisely, from few annotated examples.

From a folder of images to a trained, measured and deployed detector: ``train`` makes a run, ``Predictor`` uses it,
``evaluate`` measures it on a ``LandmarkDataset``. Each package inside says in its docstring what it is for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trigpoint.data import LandmarkDataset
    from trigpoint.evaluation import evaluate
    from trigpoint.prediction import Predictor
    from trigpoint.training import train

__version__ = "0.1.0"
__all__ = ["LandmarkDataset", "Predictor", "evaluate", "train"]

_HOMES = {
    "LandmarkDataset": "trigpoint.data",
    "Predictor": "trigpoint.prediction",
    "evaluate": "trigpoint.evaluation",
    "train": "trigpoint.training",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that ``trigpoint --help`` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trigpoint' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
