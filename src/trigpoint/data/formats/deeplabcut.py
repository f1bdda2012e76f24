"""DeepLabCut and lightning-pose CSV: header rows scorer, [individuals,] bodyparts, coords; one row per frame."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import csv_text, inside, number, read_csv, shown, write_text
from trigpoint.data.formats.base import Format, visible
from trigpoint.data.table import format_number, refuse_formulas
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet, Sample

_HEADS = (["scorer", "bodyparts", "coords"], ["scorer", "individuals", "bodyparts", "coords"])
_COORDS = ("x", "y", "likelihood")


class DeepLabCut(Format):
    """Landmarks by their ``bodyparts`` name; ``individuals`` become instances. ``scorer`` is written into the header.

    The image path stands in one column or in several (``labeled-data``, video, frame). The folder of a frame, its
    video, is taken as the subject, since neighbouring frames must not be divided between splits. Coordinates count
    from 0 at the centre of the top-left pixel, as ours. ``likelihood`` columns of predictions are read past.

    Blank (or ``nan``) is missing; among individuals it is not annotated, never known to be absent. Occluded points come
    back as visible; split, pairs and groups are not stored.
    """

    def __init__(self, scorer: str = "trigpoint") -> None:
        self.scorer = scorer

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read a CSV; ``images`` is the project folder (default: the nearest folder above the file that has them)."""
        file = Path(source)
        rows = read_csv(file)
        head = _header(file, rows)
        frames = [(row, cells) for row, cells in enumerate(rows, start=1) if row > head.rows and any(cells)]
        if not frames:
            raise DataError(f"{file}: expected a row per frame after the header, got none")
        names = [_image_name(file, row, cells, head) for row, cells in frames]
        folder = _root(file, names[0]) if images is None else Path(images)
        samples: list[Sample] = []
        seen: dict[str, int] = {}
        for (row, cells), name in zip(frames, names, strict=True):
            if name in seen:
                raise DataError(f"{file}, row {row}: expected each image once, got '{name}' again (row {seen[name]})")
            seen[name] = row
            samples += _samples(file, row, cells, folder / name, head)
        marks = LandmarkSet(head.parts)
        many = bool(head.individuals)
        return LandmarkDataset(samples, marks, name=file.stem, images=folder, table=file, instances=many)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one CSV with the image path in a single column; a dataset with instances gets ``individuals``."""
        who = list(dict.fromkeys(s.instance for s in dataset.samples if s.instance)) if dataset.instances else [""]
        parts = dataset.landmarks.names
        columns = [(person, part, axis) for person in who for part in parts for axis in "xy"]
        rows = [["scorer", *([self.scorer] * len(columns))]]
        if dataset.instances:
            rows.append(["individuals", *(column[0] for column in columns)])
        rows += [["bodyparts", *(column[1] for column in columns)], ["coords", *(column[2] for column in columns)]]
        for indices in dataset.by_image():
            found = {dataset.samples[i].instance if dataset.instances else "": dataset.samples[i] for i in indices}
            cells = [dataset.image_name(dataset.samples[indices[0]])]
            for person in who:
                points = found[person].points if person in found else np.full((len(parts), 2), np.nan)
                cells += [format_number(value) for point in points for value in point]
            rows.append(cells)
        for row in rows:
            refuse_formulas([cell for cell in row if number(cell) is None], str(target))
        return [write_text(target, csv_text(rows), overwrite=overwrite)]


@dataclass(frozen=True)
class _Header:
    rows: int
    paths: int  # columns of the image path
    individuals: tuple[str, ...]
    parts: tuple[str, ...]
    columns: dict[tuple[str, str, str], int]  # (individual, bodypart, coordinate) -> column


def _header(file: Path, rows: list[list[str]]) -> _Header:
    labels = [cells[0].strip() if cells else "" for cells in rows[:4]]
    if labels[:3] != _HEADS[0] and labels != _HEADS[1]:
        got = shown(", ".join(labels)) if rows else "an empty file"
        raise DataError(f"{file}, row 1: expected header rows scorer, [individuals,] bodyparts, coords, got {got}")
    count = 3 if labels[:3] == _HEADS[0] else 4
    head = rows[:count]
    paths = 1
    while paths < len(head[-1]) and not head[-1][paths].strip():
        paths += 1
    if any(len(cells) != len(head[-1]) for cells in head):
        lengths = [len(cells) for cells in head]
        raise DataError(f"{file}, row {count}: expected header rows of one length, got {lengths}")
    columns: dict[tuple[str, str, str], int] = {}
    for column in range(paths, len(head[-1])):
        person = head[1][column].strip() if count == 4 else ""
        part, axis = head[-2][column].strip(), head[-1][column].strip()
        if axis not in _COORDS or not part or (person, part, axis) in columns:
            what = f"'{part}' '{axis}' in column {column + 1}"
            raise DataError(f"{file}, row {count}: expected x, y or likelihood once per bodypart, got {what}")
        columns[person, part, axis] = column
    for person, part, _ in list(columns):
        for axis in ("x", "y"):
            if (person, part, axis) not in columns:
                raise DataError(f"{file}, row {count}, landmark '{part}': expected a column {axis}, got none")
    if not columns:
        raise DataError(f"{file}, row {count}: expected columns x and y of a bodypart, got none")
    people = tuple(dict.fromkeys(key[0] for key in columns)) if count == 4 else ()
    return _Header(count, paths, people, tuple(dict.fromkeys(key[1] for key in columns)), columns)


def _image_name(file: Path, row: int, cells: list[str], head: _Header) -> str:
    width = head.paths + len(head.columns)
    if len(cells) != width:
        raise DataError(f"{file}, row {row}: expected {width} cells as in the header, got {len(cells)}")
    name = "/".join(cell.strip().replace("\\", "/") for cell in cells[: head.paths] if cell.strip())
    if not name or not inside(name):
        raise DataError(f"{file}, row {row}: expected an image path inside the project, got {shown(name)}")
    return name


def _root(file: Path, name: str) -> Path:
    """The csv may lie in the project folder or deep in ``labeled-data/video``; names start at the project."""
    above = list(file.resolve().parents)[:4]
    return next((folder for folder in above if (folder / name).is_file()), file.parent)


def _samples(file: Path, row: int, cells: list[str], image: Path, head: _Header) -> list[Sample]:
    subject = PurePosixPath(image.as_posix()).parent.name if head.paths > 1 or "labeled-data" in image.parts else ""
    out = []
    for person in head.individuals or ("",):
        points = np.full((len(head.parts), 2), np.nan)
        for k, part in enumerate(head.parts):
            if (person, part, "x") in head.columns:
                points[k] = _point(file, row, cells, (person, part), head)
        if not head.individuals or not np.isnan(points).all():
            out.append(visible(image, points, subject=subject, instance=person, row=row))
    return out or [visible(image, np.full((len(head.parts), 2), np.nan), subject=subject, row=row)]


def _point(file: Path, row: int, cells: list[str], key: tuple[str, str], head: _Header) -> tuple[float, float]:
    texts = [cells[head.columns[(*key, axis)]].strip() for axis in ("x", "y")]
    if all(text.lower() in ("", "nan") for text in texts):
        return np.nan, np.nan
    x, y = (number(text) for text in texts)
    if x is None or y is None:
        where = f"{file}, row {row}, landmark '{key[1]}'"
        raise DataError(f"{where}: expected two numbers or two blank cells, got {', '.join(map(shown, texts))}")
    return x, y
