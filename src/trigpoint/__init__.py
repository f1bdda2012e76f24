"""trigpoint: find landmarks in images precisely, from few annotated examples.

The map, in the order in which data flow (a module imports only from those before it):

- ``errors``, ``landmarks``, ``geometry``, ``config``: the shared vocabulary
- ``data``: datasets, images, foreign formats, augmentation, synthetic sets
- ``codecs``: points to heatmaps and back; ``schedules``: how their precision moves in training
- ``nn``: networks; ``transfer``: a frozen source that regularises them; ``methods``: a network, a codec and a schedule
  wired to one that learns
- ``metrics``, ``report``: numbers, tables, figures, pages
- ``recipe``, ``runs``, ``fitting``, ``classification`` (of source models), ``training``, ``inference``, ``evaluation``:
  from a recipe to a measured run
- ``cli``: the command line
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
