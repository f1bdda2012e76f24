"""One table of DeepLabCut: its header, and the marks of a row; csv and h5 give the same cells."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trigpoint.data.files import number, open_file, read_csv, shown
from trigpoint.data.formats.collected import ABSENT, NOT_ANNOTATED, Collected, Mark
from trigpoint.data.formats.deeplabcut.h5 import h5_rows, is_h5
from trigpoint.errors import DataError

_HEADS = (["scorer", "bodyparts", "coords"], ["scorer", "individuals", "bodyparts", "coords"])
_COORDS = ("x", "y", "likelihood")
_NUMBERED = (
    "got frame numbers, as predictions of a video have. Label images of the frames (DeepLabCut writes a table that "
    "names them when it extracts outlier frames), or store the frames as images and name them in that column"
)


@dataclass(frozen=True)
class Table:
    """The cells of a file, and where things stand in them."""

    file: Path
    rows: list[list[str]]
    header: int  # rows of the header
    paths: int  # columns of the image path
    scorers: tuple[str, ...]
    individuals: tuple[str, ...]
    parts: tuple[str, ...]
    columns: dict[tuple[str, str, str], int]  # (individual, bodypart, coordinate) -> column

    def frames(self) -> list[tuple[int, list[str]]]:
        """The rows after the header that hold anything, with their numbers."""
        return [(row, cells) for row, cells in enumerate(self.rows, start=1) if row > self.header and any(cells)]

    def name(self, cells: Sequence[str]) -> str:
        """The image that a row names, as it stands there."""
        return "/".join(cell.strip().replace("\\", "/") for cell in cells[: self.paths] if cell.strip())

    def marks(self, rows: Collected, row: int, cells: list[str], person: str) -> dict[str, Mark]:
        """The landmarks of one individual; one for which it has no column is known to be absent."""
        out = {}
        for part in self.parts:
            if (person, part, "x") in self.columns:
                out[part] = self._mark(rows, row, cells, person, part)
            else:
                out[part] = Mark(np.nan, np.nan, ABSENT)
        return out

    def _mark(self, rows: Collected, row: int, cells: list[str], person: str, part: str) -> Mark:
        texts = [cells[self.columns[person, part, axis]].strip() for axis in ("x", "y")]
        if all(text.lower() in ("", "nan") for text in texts):
            return NOT_ANNOTATED
        x, y = (number(text) for text in texts)
        if x is None or y is None:
            got = ", ".join(map(shown, texts))
            message = f"expected two numbers or two blank cells, got {got}; not annotated here"
            rows.problem(self.file, message, row, part)
            return NOT_ANNOTATED
        column = self.columns.get((person, part, "likelihood"))
        score = None if column is None else number(cells[column].strip())
        return Mark(x, y, 2, np.nan if score is None else score)


def read_table_of(file: Path) -> Table:
    """Read a csv or h5 file. Raises DataError for a header that cannot be read, and for a file without images."""
    with open_file(file) as stream:
        h5 = is_h5(stream.read(8))
    rows = h5_rows(file) if h5 or file.suffix.lower() in (".h5", ".hdf5") else read_csv(file)
    table = _header(file, rows)
    frames = table.frames()
    if not frames:
        raise DataError(f"{file}: expected a row per frame after the header, got none")
    if all(table.name(cells).isdigit() for _, cells in frames[:2]):
        raise DataError(f"{file}, row {frames[0][0]}: expected the names of images in the first column, {_NUMBERED}")
    return table


def _header(file: Path, rows: list[list[str]]) -> Table:
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
    scorers = tuple(dict.fromkeys(cell.strip() for cell in head[0][paths:]))
    return Table(file, rows, count, paths, scorers, people, tuple(dict.fromkeys(key[1] for key in columns)), columns)
