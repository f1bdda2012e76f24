"""The folder of the ISBI 2015 cephalograms: labels of each doctor, the copies within it, the doctors' distance."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import read_text
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import radial_error, to_millimetres

TABLES: Mapping[str, str] = {
    "mean": "landmarks.csv",
    "junior": "landmarks_junior.csv",
    "senior": "landmarks_senior.csv",
    "challenge": "landmarks_challenge.csv",
}
"""Tables of the folder by the value of ``labels``."""
TRAIN, TEST = "train", "test1"
COPIES = "duplicates.csv"


@dataclass(frozen=True)
class Radiographs:
    """What the experiment needs of the folder.

    ``table`` is trained from, ``test`` measured on, ``training`` images are trained and validated on. ``clean``:
    positions in ``test`` of the images that are no copy of another one, None when the folder does not say.
    ``doctors`` (N, K): distance of the two doctors on the test images in mm, None without both tables.
    ``warnings`` say what is missing.
    """

    table: Path
    test: LandmarkDataset
    training: int
    clean: tuple[int, ...] | None
    doctors: FloatArray | None
    warnings: list[str] = field(default_factory=list)


def read_radiographs(folder: Path, labels: str) -> Radiographs:
    """Read and check the folder. Raises DataError for what the experiment cannot do without."""
    table = folder / TABLES[labels]
    if not table.is_file():
        there = [name for name, file in TABLES.items() if (folder / file).is_file()]
        found = f"labels that are there: {', '.join(there)}" if there else f"none of {', '.join(TABLES.values())} is"
        raise DataError(f"{table}: expected the table of labels={labels}, got no such file; {found}")
    test = LandmarkDataset.load(table, split=TEST)
    unspaced = np.flatnonzero(~np.isfinite(test.spacings))
    if len(unspaced):
        name = test.image_name(test.samples[int(unspaced[0])])
        raise DataError(
            f"{folder}: expected millimetres per pixel, got none for {name}; add spacing_mm to dataset.yaml"
        )
    training = len(LandmarkDataset.load(table, split=TRAIN, check_images=False))
    warnings: list[str] = []
    clean = _clean(folder / COPIES, test, warnings)
    return Radiographs(table, test, training, clean, _doctors(folder, test, warnings), warnings)


def _clean(file: Path, test: LandmarkDataset, warnings: list[str]) -> tuple[int, ...] | None:
    if not file.is_file():
        warnings.append(f"{file.name} is not there, so it is unknown which test images were trained on as copies")
        return None
    rows = list(csv.DictReader(io.StringIO(read_text(file))))
    columns = ("image", "same_radiograph_as")
    missing = [column for column in columns if not rows or rows[0].get(column) is None]
    if missing:
        raise DataError(f"{file}: expected rows with the columns {', '.join(columns)}, got no {missing[0]}")
    names = [test.image_name(sample) for sample in test.samples]
    copies = set()
    for row in rows:
        copies |= {next((row[column] for column in columns if row[column] in names), "")}
    clean = tuple(i for i, name in enumerate(names) if name not in copies)
    if not clean:
        raise DataError(f"{file}: expected a part of the test images, got all {len(names)} of them")
    if len(clean) == len(names):
        warnings.append(f"{file.name} names no image of {TEST}, so there is one line for all of them")
        return None
    return clean


def _doctors(folder: Path, test: LandmarkDataset, warnings: list[str]) -> FloatArray | None:
    files = [folder / TABLES[name] for name in ("junior", "senior")]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        warnings.append(f"{' and '.join(missing)} not there, so the distance of the doctors is unknown")
        return None
    names = [test.image_name(sample) for sample in test.samples]
    junior, senior = (_points(file, names, test.landmarks.names) for file in files)
    both = np.where(np.isnan(senior), np.nan, junior)  # a point that one of them left out counts as missing
    return to_millimetres(radial_error(both, np.where(np.isnan(both), np.nan, senior)), test.spacings)


def _points(file: Path, names: Sequence[str], landmarks: Sequence[str]) -> FloatArray:
    """Points (N, K, 2) of the images ``names`` in another table. Raises DataError when it lacks one."""
    data = LandmarkDataset.load(file, names=landmarks, check_images=False)
    rows = {data.image_name(sample): i for i, sample in enumerate(data.samples)}
    lost = [name for name in names if name not in rows]
    if lost:
        raise DataError(f"{file}: expected a row for each test image, got none for {lost[0]}; add it")
    return data.points[[rows[name] for name in names]]
