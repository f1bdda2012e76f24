"""How exact labels are, from images that were labelled more than once, and how far annotators are apart."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.annotators import begun, stacked
from trigpoint.data.description import DESCRIPTION, read_description
from trigpoint.data.table_names import OnePlace
from trigpoint.errors import DataError

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


@dataclass(frozen=True)
class People:
    """How far two annotators' labels of the same landmark of a training image are apart: median, original pixels (NaN
    without), of so many pairs of labels; and ``problem``, why a table of theirs cannot be read.

    It bounds nothing: a network may learn the mean of all, or one person's habit, better than they agree.
    """

    apart: float = float("nan")
    labels: int = 0
    problem: str = ""


def between_annotators(data: LandmarkDataset) -> People:
    """Compare the tables that ``annotators`` of ``dataset.yaml`` names, in the images of ``data``."""
    if data.folder is None or not (data.folder / DESCRIPTION).is_file():
        return People()
    try:
        sets = begun(read_description(data.folder, []))
        if len(sets) < 2:
            return People()
        samples, _, points, seen = stacked(sets)
    except DataError as error:  # a table beside the one that is trained on does not stop the training
        return People(problem=str(error))
    same = OnePlace()
    own = {same(sample.image) for sample in data.samples}
    rows = [n for n, sample in enumerate(samples) if same(sample.image) in own]
    known = np.where(seen[:, rows, :, None] > 0, points[:, rows], np.nan)
    first, second = np.triu_indices(len(sets), 1)
    apart = np.linalg.norm(known[first] - known[second], axis=-1)
    apart = apart[np.isfinite(apart)]
    return People(float(np.median(apart)), apart.size) if apart.size else People()


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
