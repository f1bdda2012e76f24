"""trigpoint: find landmarks in images precisely, from few annotated examples.

The map: each package or module imports only from those above it (``tests/test_layers.py``).

- ``errors``, ``landmarks``, ``config``, ``geometry``: the shared vocabulary
- ``recipes``, ``recipe``: what to train, as data
- ``data``: datasets, images, other formats, checks, augmentation, tiles; ``synthetic``: drawn datasets
- ``codecs``: points to heatmaps and back; ``schedules``: how wide the targets are in each epoch
- ``nn``: networks and pretrained weights
- ``metrics``: pure numbers, from points in original pixels or mm
- ``methods``: what learns to find landmarks: heatmap, foveated, cascade, instances
- ``runs``: the folder of a trained run
- ``report``: tables, figures and pages of given data
- ``prediction``: a run, or an exported model, applied to images, frames and videos
- ``export``: a run as one ONNX file
- ``training``: from a recipe and a dataset to a run
- ``evaluation``: from a run and a dataset to numbers and a report
- ``app``: the labelling and review server and its page
- ``experiments``: the studies of the papers: settings and comparing claims in YAML, others in code
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
