"""Foreign annotation formats, each read and written by landmark name; a file each, named as the format.

``FORMATS[name](**options).read(source, images=...)`` gives a ``LandmarkDataset``, ``.write(dataset, target)`` files.
``dataset.problems`` lists what a reader had to leave out. Those in ``READ_ONLY`` refuse to write.
A new format is one file with a subclass of ``Format``, and its name in ``FORMATS``.
"""

from trigpoint.data.formats.base import Format
from trigpoint.data.formats.coco import Coco
from trigpoint.data.formats.deeplabcut import DeepLabCut
from trigpoint.data.formats.endovis import EndoVis
from trigpoint.data.formats.isbi import Isbi
from trigpoint.data.formats.ljson import Ljson
from trigpoint.data.formats.pts import Pts

FORMATS: dict[str, type[Format]] = {
    form.__name__.lower(): form for form in (Pts, Isbi, Coco, DeepLabCut, Ljson, EndoVis)
}
READ_ONLY = ("endovis",)

__all__ = ["FORMATS", "READ_ONLY", "Coco", "DeepLabCut", "EndoVis", "Format", "Isbi", "Ljson", "Pts"]
