"""How exact labels are, from images that were labelled more than once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trigpoint.data import LandmarkDataset

MOST = 400  # files that are compared byte by byte
BYTES = 4e8  # and no more of them than this


def label_noise(data: LandmarkDataset) -> tuple[float, int]:
    """Median distance of two labels of the same landmark in the same image, original pixels, and of how many pairs.

    The same image is one file with several rows, or files with the same bytes. In a set with instances its rows are
    other objects, so nothing is known: (NaN, 0).
    """
    if data.instances:
        return float("nan"), 0
    apart = []
    for rows in _same_image(data):
        points = np.where(data.visibility[rows][..., None] > 0, data.points[rows], np.nan)
        first, second = np.triu_indices(len(rows), 1)
        distance = np.linalg.norm(points[first] - points[second], axis=-1)
        apart += distance[np.isfinite(distance)].tolist()
    return (float(np.median(apart)), len(apart)) if apart else (float("nan"), 0)


def _same_image(data: LandmarkDataset) -> list[list[int]]:
    """Rows of each image that has several."""
    rows = [list(indices) for indices in data.by_image()]
    copies = _copies([data.samples[own[0]].image for own in rows])
    merged: dict[int, list[int]] = {}
    for own, first in zip(rows, copies, strict=True):
        merged.setdefault(first, []).extend(own)
    return [found for found in merged.values() if len(found) > 1]


def _copies(files: Sequence[Path]) -> list[int]:
    """The position of the first file with the same bytes as each; only files of the same length are read."""
    sizes = [file.stat().st_size if file.is_file() else -i for i, file in enumerate(files)]
    _, group, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    candidates = [i for i in range(len(files)) if counts[group[i]] > 1]
    first, seen = list(range(len(files))), dict[bytes, int]()
    if sum(sizes[i] for i in candidates) > BYTES or len(candidates) > MOST:
        return first  # of images without compression all files are as long
    for i in candidates:
        first[i] = seen.setdefault(hashlib.sha256(files[i].read_bytes()).digest(), i)
    return first
