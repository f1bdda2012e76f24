"""trigpoint: find landmarks in images precisely, from few annotated examples.

The map: each package or module imports only from those above it (``tests/test_layers.py``).

- ``errors``, ``imports``, ``landmarks``, ``config``, ``geometry``: the shared vocabulary
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
- ``serving``: a model that answers requests, and what all servers share
- ``app``: the labelling and review server and its page
- ``experiments``: the studies of the papers: settings and comparing claims in YAML, others in code
- ``cli``: the command line
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trigpoint.imports import lazy

if TYPE_CHECKING:
    from trigpoint.data import LandmarkDataset
    from trigpoint.evaluation import compare, evaluate
    from trigpoint.prediction import Predictor
    from trigpoint.training import train

__version__ = "0.2.0"
__all__ = ["LandmarkDataset", "Predictor", "compare", "evaluate", "train"]

__getattr__ = lazy(  # ``trigpoint --help`` need not wait for torch
    __name__,
    {
        "trigpoint.data": ("LandmarkDataset",),
        "trigpoint.prediction": ("Predictor",),
        "trigpoint.evaluation": ("compare", "evaluate"),
        "trigpoint.training": ("train",),
    },
)
