"""A trained run as one ONNX file, from stored pixels to points in original pixels; ``trigpoint.prediction.exported``
applies it without PyTorch.

- ``export.py``: ``export_run``
- ``assembly.py``: one graph of the steps of a method; ``preparing.py``: its beginning, what ``InputPipeline`` does
- ``nodes.py``: graphs as such; ``algebra.py``: operators that ONNX lacks
- ``writing.py``: what the file says of itself
- ``precision.py``: float16 and int8
- ``checking.py``: whether the file finds what the run finds
- ``publishing.py``: ``export_html``, the file as a page; ``html.py``: its text, made of ``page/``; ``browser.py``: the
  page tried in Chromium
"""

from trigpoint.export.export import Exported, export_predictor, export_run
from trigpoint.export.publishing import ExportedPage, export_html

__all__ = ["Exported", "ExportedPage", "export_html", "export_predictor", "export_run"]
