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
from trigpoint.data.formats.fiji import Fiji
from trigpoint.data.formats.imglab import Imglab
from trigpoint.data.formats.isbi import Isbi
from trigpoint.data.formats.labelme import LabelMe
from trigpoint.data.formats.labelstudio import LabelStudio
from trigpoint.data.formats.ljson import Ljson
from trigpoint.data.formats.nwb import Nwb
from trigpoint.data.formats.pts import Pts
from trigpoint.data.formats.sleap import Sleap
from trigpoint.data.formats.slicer import Slicer
from trigpoint.data.formats.tps import Tps
from trigpoint.data.formats.via import Via
from trigpoint.data.formats.wflw import Wflw
from trigpoint.data.formats.yolo import Yolo

FORMATS: dict[str, type[Format]] = {
    form.__name__.lower(): form
    for form in (
        Coco,
        Cvat,
        DeepLabCut,
        EndoVis,
        Fiji,
        Imglab,
        Isbi,
        LabelMe,
        LabelStudio,
        Ljson,
        Nwb,
        Pts,
        Sleap,
        Slicer,
        Tps,
        Via,
        Wflw,
        Yolo,
    )
}
READ_ONLY = ("endovis",)
ALIASES = {  # other words for a format that people type
    "300w": "pts",
    "dlc": "deeplabcut",
    "dlib": "imglab",
    "fcsv": "slicer",
    "imagej": "fiji",
    "json": "coco",
    "lightning-pose": "deeplabcut",
    "mrk.json": "slicer",
    "ndx-pose": "nwb",
    "roi": "fiji",
    "slp": "sleap",
    "tpsdig": "tps",
    "xml": "imglab",
}

__all__ = [
    "ALIASES",
    "FORMATS",
    "READ_ONLY",
    "Coco",
    "Cvat",
    "DeepLabCut",
    "EndoVis",
    "Fiji",
    "Format",
    "Imglab",
    "Isbi",
    "LabelMe",
    "LabelStudio",
    "Ljson",
    "Nwb",
    "Pts",
    "Sleap",
    "Slicer",
    "Tps",
    "Via",
    "Wflw",
    "Yolo",
]
