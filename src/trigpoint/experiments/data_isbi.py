"""The folder of the ISBI 2015 cephalograms: labels of each doctor, the copies within it, the doctors' distance."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
TEST = "test1"
COPIES = "duplicates.csv"


class Radiographs(NamedTuple):
    """What the experiment needs of the folder.

    ``table`` is trained from, ``test`` measured on. ``clean``: positions in ``test`` of the images that are no copy of
    another one, None when the folder does not say. ``doctors`` (N, K): distance of the two doctors on the test images
    in mm, None without both tables. ``warnings`` say what is missing.
    """

    table: Path
    test: LandmarkDataset
    clean: tuple[int, ...] | None
    doctors: FloatArray | None
    warnings: list[str]


def read_radiographs(folder: Path, labels: str) -> Radiographs:
    """Read and check the folder. Raises DataError for what the experiment cannot do without."""
    table = folder / TABLES[labels]
    if not table.is_file():
        there = [name for name, file in TABLES.items() if (folder / file).is_file()]
        found = f"labels that are there: {', '.join(there)}" if there else f"none of {', '.join(TABLES.values())} is"
        raise DataError(f"{table}: expected the table of labels={labels}, got no such file; {found}")
    test = LandmarkDataset.load(table, split=TEST)
    for name, spacing in zip(_names(test), test.spacings, strict=True):
        if not np.isfinite(spacing):
            fix = "add spacing_mm to dataset.yaml"
            raise DataError(f"{folder}: expected millimetres per pixel, got none for {name}; {fix}")
    warnings: list[str] = []
    clean = _clean(folder / COPIES, test, warnings)
    return Radiographs(table, test, clean, _doctors(folder, test, warnings), warnings)


def _names(data: LandmarkDataset) -> list[str]:
    return [data.image_name(sample) for sample in data.samples]


def _clean(file: Path, test: LandmarkDataset, warnings: list[str]) -> tuple[int, ...] | None:
    if not file.is_file():
        warnings.append(f"{file.name} is not there, so it is unknown which test images were trained on as copies")
        return None
    rows, columns = list(csv.DictReader(io.StringIO(read_text(file)))), ("image", "same_radiograph_as")
    if missing := [column for column in columns if not rows or rows[0].get(column) is None]:
        raise DataError(f"{file}: expected rows with the columns {', '.join(columns)}, got no {missing[0]}")
    names = _names(test)
    copies = {next((row[column] for column in columns if row[column] in names), "") for row in rows}
    clean = tuple(i for i, name in enumerate(names) if name not in copies)
    if not clean:
        raise DataError(f"{file}: expected a part of the test images, got all {len(names)} of them")
    if len(clean) == len(names):
        warnings.append(f"{file.name} names no image of {TEST}, so there is one line for all of them")
        return None
    return clean


def _doctors(folder: Path, test: LandmarkDataset, warnings: list[str]) -> FloatArray | None:
    files = [folder / TABLES[name] for name in ("junior", "senior")]
    if missing := [file.name for file in files if not file.is_file()]:
        warnings.append(f"{' and '.join(missing)} not there, so the distance of the doctors is unknown")
        return None
    junior, senior = (_points(file, _names(test), test.landmarks.names) for file in files)
    both = np.where(np.isnan(senior), np.nan, junior)  # a point that one of them left out counts as missing
    return to_millimetres(radial_error(both, np.where(np.isnan(both), np.nan, senior)), test.spacings)


def _points(file: Path, names: Sequence[str], landmarks: Sequence[str]) -> FloatArray:
    """Points (N, K, 2) of the images ``names`` in another table. Raises DataError when it lacks one."""
    data = LandmarkDataset.load(file, names=landmarks, check_images=False)
    rows = {name: i for i, name in enumerate(_names(data))}
    if lost := [name for name in names if name not in rows]:
        raise DataError(f"{file}: expected a row for each test image, got none for {lost[0]}; add it")
    return data.points[[rows[name] for name in names]]
