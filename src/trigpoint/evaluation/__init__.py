"""A run on data: numbers, and the report that shows them.

- ``measure.py``: ``evaluate``
- ``agreement.py``: annotators of the same images against each other
- ``report.py``: ``Report``, its figures and its page; ``traces.py``: pictures of the glimpses
- ``comparing.py``: ``compare``, several runs on the same images; ``pairing.py``: that they are, and the differences
- ``tables.py``, ``figures.py``: the numbers and figures of a report as files for a paper
"""

from trigpoint.evaluation.comparing import Comparison, compare
from trigpoint.evaluation.measure import evaluate
from trigpoint.evaluation.report import Report

__all__ = ["Comparison", "Report", "compare", "evaluate"]
