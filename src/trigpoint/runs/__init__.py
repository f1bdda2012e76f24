"""What a run folder is, and where its data came from.

- ``folder.py``: the files of a run; ``landmark_file.py``: what it finds; ``environment.py``: versions and device
- ``label_curve.py``: what trainings with fewer labels say of more
- ``listing.py``: the runs below a folder
- ``lock.py``: one training at a time
- ``provenance.py``: what the run has learned from, against other data
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trigpoint.imports import lazy

if TYPE_CHECKING:
    from trigpoint.runs.environment import environment_text
    from trigpoint.runs.folder import RunFolder
    from trigpoint.runs.landmark_file import LandmarkFile

__all__ = ["LandmarkFile", "RunFolder", "environment_text"]

__getattr__ = lazy(  # a lock needs no PyTorch
    __name__,
    {
        "trigpoint.runs.environment": ("environment_text",),
        "trigpoint.runs.folder": ("RunFolder",),
        "trigpoint.runs.landmark_file": ("LandmarkFile",),
    },
)
