"""A run on data: numbers, and the report that shows them.

- ``measure.py``: ``evaluate``
- ``agreement.py``: annotators of the same images against each other
- ``report.py``: ``Report``, its figures and its page; ``traces.py``: pictures of the glimpses
"""

from trigpoint.evaluation.measure import evaluate
from trigpoint.evaluation.report import Report

__all__ = ["Report", "evaluate"]
