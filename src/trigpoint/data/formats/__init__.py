"""Foreign annotation formats, each read and written by landmark name; a file each, named as the format.

``FORMATS[name](**options).read(source, images=...)`` gives a ``LandmarkDataset``, ``.write(dataset, target)`` files.
``dataset.problems`` lists what a reader had to leave out. Those in ``READ_ONLY`` refuse to write.
A new format is one file with a subclass of ``Format``, and its name in ``FORMATS``.
"""

from trigpoint.data.formats.base import Format
from trigpoint.data.formats.coco import Coco
from trigpoint.data.formats.cvat import Cvat
from trigpoint.data.formats.deeplabcut import DeepLabCut
from trigpoint.data.formats.endovis import EndoVis
from trigpoint.data.formats.isbi import Isbi
from trigpoint.data.formats.labelme import LabelMe
from trigpoint.data.formats.labelstudio import LabelStudio
from trigpoint.data.formats.ljson import Ljson
from trigpoint.data.formats.pts import Pts
from trigpoint.data.formats.via import Via
from trigpoint.data.formats.yolo import Yolo

FORMATS: dict[str, type[Format]] = {
    form.__name__.lower(): form
    for form in (
        Coco,
        Cvat,
        DeepLabCut,
        EndoVis,
        Isbi,
        LabelMe,
        LabelStudio,
        Ljson,
        Pts,
        Via,
        Yolo,
    )
}
READ_ONLY = ("endovis",)

__all__ = [
    "FORMATS",
    "READ_ONLY",
    "Coco",
    "Cvat",
    "DeepLabCut",
    "EndoVis",
    "Format",
    "Isbi",
    "LabelMe",
    "LabelStudio",
    "Ljson",
    "Pts",
    "Via",
    "Yolo",
]
