"""Datasets: annotated images on disk, read strictly into samples.

- ``table.py``, ``description.py``: the native format, ``landmarks.csv`` and ``dataset.yaml``
- ``dataset.py``: ``LandmarkDataset``, what everything else takes; ``instances.py``: all instances of one image
- ``annotators.py``: several people who label the same images, and one table of all
- ``splits.py``, ``subsets.py``: splits by subject, stored in the table; nested subsets
- ``pixels/``: one image file, or the frames of a video, to arrays
- ``formats/``: foreign annotation formats
- ``quality/``: every problem of a dataset in one pass, copies, swapped sides
- ``input/``: from a dataset to batches of network inputs
- ``tiled/``: images too large for memory, read by tiles
- ``files.py``: atomic writing

This package and ``pixels/`` are imported without torch.

Points are (x, y) in pixels of the stored image, the centre of the top-left pixel is (0, 0), NaN is missing.
"""

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
