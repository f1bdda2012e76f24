"""A trained run applied to images.

- ``predictor.py``: ``Predictor``
- ``table.py``: predictions as native tables; ``measurements.py``: angles and lengths in them, with intervals
- ``stream.py``: folders, files and videos to a table; ``files.py``: how their images are found and named
- ``drawing.py``: images with what was found in them
- ``engine.py``: several devices or machines
- ``trace.py``: what the foveated pyramid saw on the way
"""

from trigpoint.prediction.measurements import measurement_frame
from trigpoint.prediction.predictor import Image, Predictor, Progress, is_lazy
from trigpoint.prediction.stream import predict_files, predict_frames
from trigpoint.prediction.table import prediction_frame, write_predictions

__all__ = [
    "Image",
    "Predictor",
    "Progress",
    "is_lazy",
    "measurement_frame",
    "predict_files",
    "predict_frames",
    "prediction_frame",
    "write_predictions",
]
