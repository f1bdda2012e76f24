"""A trained run as one ONNX file, from stored pixels to points in original pixels; ``trigpoint.prediction.exported``
applies it without PyTorch.

- ``export.py``: ``export_run``
- ``assembly.py``: one graph of the steps of a method; ``preparing.py``: its beginning, what ``InputPipeline`` does
- ``nodes.py``: graphs as such; ``algebra.py``: operators that ONNX lacks
- ``writing.py``: what the file says of itself
- ``precision.py``: float16 and int8
- ``checking.py``: whether the file finds what the run finds
"""

from trigpoint.export.export import Exported, export_predictor, export_run

__all__ = ["Exported", "export_predictor", "export_run"]
