"""A run on data: numbers, and the report that shows them.

- ``measure.py``: ``evaluate``
- ``report.py``: ``Report``, its figures and its page; ``traces.py``: pictures of the glimpses
- ``tables.py``, ``figures.py``: the numbers and figures of a report as files for a paper
"""

from trigpoint.evaluation.measure import evaluate
from trigpoint.evaluation.report import Report

__all__ = ["Report", "evaluate"]
