"""What a run folder is, and where its data came from.

- ``folder.py``: the files of a run
- ``label_curve.py``: what trainings with fewer labels say of more
- ``listing.py``: the runs below a folder
- ``lock.py``: one training at a time
- ``provenance.py``: what the run has learned from, against other data
"""

from trigpoint.runs.folder import LandmarkFile, RunFolder, environment_text

__all__ = ["LandmarkFile", "RunFolder", "environment_text"]
