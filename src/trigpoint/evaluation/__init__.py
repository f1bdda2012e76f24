"""A run on data: numbers, and the report that shows them.

- ``measure.py``: ``evaluate``
- ``agreement.py``: annotators of the same images against each other; ``beside_annotators.py``: a model among them
- ``result.py``: what was found; ``report.py``: ``Report``, its figures and page; ``traces.py``: pictures of glimpses
- ``comparing.py``: ``compare``, several runs on the same images; ``pairing.py``: that they are, and the differences
- ``tables.py``, ``figures.py``: the numbers and figures of a report as files for a paper
"""

from trigpoint.evaluation.comparing import Comparison, compare
from trigpoint.evaluation.measure import evaluate
from trigpoint.evaluation.report import Report

__all__ = ["Comparison", "Report", "compare", "evaluate"]
