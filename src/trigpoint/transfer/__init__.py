"""Regularisers that a frozen model of another task gives, for learning from few labels.

- ``cross_task``: the landmark network keeps the features of the source while it learns
"""

from trigpoint.transfer.cross_task import CrossTask

__all__ = ["CrossTask"]
