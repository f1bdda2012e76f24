"""Datasets: annotated images on disk, read strictly into samples.

- ``table.py``, ``description.py``: the native format, ``landmarks.csv`` and ``dataset.yaml``
- ``images.py`` (with ``dicom.py``, ``tiff.py``): one image file to a tensor, its size, its spacing
- ``tiled/``: images too large for memory, read by tiles
- ``dataset.py``: ``LandmarkDataset``, what everything else takes
- ``instances.py``: all instances of one image, in sets with several
- ``frames.py``: the frames of a folder or a video, and a video written from frames
- ``splits.py``: splits by subject, stored in the table
- ``formats/``: foreign annotation formats
- ``checks.py``: every problem of a dataset in one pass
- ``augment.py``: one warp per sample
- ``synthetic/``: drawn datasets
- ``files.py``: atomic writing

Points are (x, y) in pixels of the stored image, the centre of the top-left pixel is (0, 0), NaN is missing.
"""

from __future__ import annotations

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.pixels.images import ImageData, image_size, read_image
from trigpoint.data.splits import grouped_split, split_dataset, write_split
from trigpoint.data.table import Table, read_table

__all__ = [
    "ImageData",
    "LandmarkDataset",
    "Problem",
    "Table",
    "grouped_split",
    "image_size",
    "read_image",
    "read_table",
    "split_dataset",
    "write_split",
]
