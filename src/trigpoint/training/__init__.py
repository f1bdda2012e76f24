"""From a recipe and data to a run.

- ``landmarks.py``: ``train``, a landmark detector
- ``source.py``: a source model, which tells classes of images apart
- ``subsets.py``: which images a run learns from, and new ones
- ``resuming.py``: whether a run can be gone on with, and from where
- ``fitting.py``: what both share: the engine, its loaders, errors in our words
- ``callbacks.py``: the record in the run folder, and progress
- ``optimizers.py``: what moves the weights, in which numbers
"""

from trigpoint.methods.validation import conformal_radius
from trigpoint.training.landmarks import train

__all__ = ["conformal_radius", "train"]
