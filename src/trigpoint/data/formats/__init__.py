"""Foreign annotation formats, each read and written by landmark name.

| name | file | stores | class |
| --- | --- | --- | --- |
| ``pts`` | ``pts.py`` | 300-W, one file per image, counted from 1, no names | ``Pts`` |
| ``isbi`` | ``isbi.py`` | ISBI 2015 cephalograms, 19 lines per image, two doctors | ``Isbi`` |
| ``coco`` | ``coco.py`` | COCO keypoints, visibility and instances | ``Coco`` |
| ``deeplabcut`` | ``deeplabcut.py`` | DeepLabCut and lightning-pose CSV, individuals as instances | ``DeepLabCut`` |
| ``ljson`` | ``ljson.py`` | landmarker.io version 2, points as [y, x] | ``Ljson`` |
| ``endovis`` | ``endovis.py`` | EndoVis 2015 instrument joints, read only | ``EndoVis`` |

``FORMATS[name](**options).read(source, images=...)`` gives a ``LandmarkDataset``, ``.write(dataset, target)`` files.
``dataset.problems`` lists what a reader had to leave out. Those in ``READ_ONLY`` refuse to write.
A new format is one file with a subclass of ``Format``, and one line in ``FORMATS``.
"""

from __future__ import annotations

from trigpoint.data.formats.base import Format
from trigpoint.data.formats.coco import Coco
from trigpoint.data.formats.deeplabcut import DeepLabCut
from trigpoint.data.formats.endovis import EndoVis
from trigpoint.data.formats.isbi import Isbi
from trigpoint.data.formats.ljson import Ljson
from trigpoint.data.formats.pts import Pts

FORMATS: dict[str, type[Format]] = {
    "pts": Pts,
    "isbi": Isbi,
    "coco": Coco,
    "deeplabcut": DeepLabCut,
    "ljson": Ljson,
    "endovis": EndoVis,
}
READ_ONLY = ("endovis",)

__all__ = ["FORMATS", "READ_ONLY", "Coco", "DeepLabCut", "EndoVis", "Format", "Isbi", "Ljson", "Pts"]
