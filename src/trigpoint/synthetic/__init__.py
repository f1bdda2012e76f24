"""Drawn datasets with exact ground truth, one for each of the package's problems; nothing is downloaded.

- ``catheter``: fluoroscopy frames with one landmark, the tip of a catheter among other lines
- ``radiograph``: large lateral head radiographs with 13 landmarks of different definition
- ``instrument``: laparoscopic frames with any number of articulated instruments, and an unknown tool
- ``canvas`` draws with exact geometry, ``anatomy`` is the head's template, ``folder`` writes the native dataset

The same arguments give the same bytes, and image i is the same whatever the number of images.
"""

from trigpoint.synthetic.catheter import write_catheter
from trigpoint.synthetic.instrument import write_instruments
from trigpoint.synthetic.radiograph import write_radiographs

__all__ = ["write_catheter", "write_instruments", "write_radiographs"]
