"""A trained run applied to images.

- ``predictor.py``: ``Predictor``
- ``table.py``: predictions as native tables
- ``trace.py``: what the foveated pyramid saw on the way
"""

from __future__ import annotations

from trigpoint.prediction.predictor import Image, Predictor, Progress, is_lazy
from trigpoint.prediction.table import prediction_frame, write_predictions

__all__ = ["Image", "Predictor", "Progress", "is_lazy", "prediction_frame", "write_predictions"]
