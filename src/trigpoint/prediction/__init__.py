"""A trained run applied to images.

- ``base.py``: what all predictors do; ``predictor.py``: ``Predictor``, of a run; ``exported.py``: of an exported model
- ``model_file.py``: the file of an exported model; ``model_check.py``: whether it is as it was made, and its card
- ``table.py``: predictions as native tables; ``measurements.py``: angles and lengths in them, with intervals
- ``stream.py``: folders, files and videos to a table; ``files.py``: how their images are found and named
- ``drawing.py``: images with what was found in them
- ``grouping.py``: which points belong to one object
- ``engine.py``: several devices or machines
- ``trace.py``: what the foveated pyramid saw on the way
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trigpoint.errors import needed
from trigpoint.imports import lazy
from trigpoint.prediction.base import Image, ImagePredictor, Progress, is_lazy
from trigpoint.prediction.table import prediction_frame, write_predictions

if TYPE_CHECKING:
    from trigpoint.prediction.measurements import measurement_frame
    from trigpoint.prediction.predictor import Predictor
    from trigpoint.prediction.stream import predict_files, predict_frames

__all__ = [
    "Image",
    "ImagePredictor",
    "Predictor",
    "Progress",
    "is_lazy",
    "load_predictor",
    "measurement_frame",
    "predict_files",
    "predict_frames",
    "prediction_frame",
    "write_predictions",
]


def load_predictor(source: str | Path, device: str = "auto") -> ImagePredictor:
    """The predictor of a run folder or of an exported model (.onnx); see ``Predictor`` and ``ExportedPredictor``."""
    from trigpoint.prediction.model_file import is_model_file

    if is_model_file(source):
        from trigpoint.prediction.exported import ExportedPredictor

        return ExportedPredictor.load(source, device)
    with needed(f"{source}: predicting with a run folder"):
        from trigpoint.prediction.predictor import Predictor
    return Predictor.load(source, device)


__getattr__ = lazy(  # predicting with an exported model needs no PyTorch
    __name__,
    {
        "trigpoint.prediction.predictor": ("Predictor",),
        "trigpoint.prediction.measurements": ("measurement_frame",),
        "trigpoint.prediction.stream": ("predict_files", "predict_frames"),
    },
)
