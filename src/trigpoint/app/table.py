"""The table while it is labelled: cells are changed where a mark changed; all others keep their text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trigpoint.app.state import ABSENT, PLACES, Mark, Row, State
from trigpoint.data.files import csv_text, number, read_csv, write_text
from trigpoint.data.table import Table, format_number, read_table, refuse_formulas
from trigpoint.landmarks import Sample

MISSING = "absent"
"""Column of sets with one object in an image: the landmarks that were looked for and are not there."""
_NOTES = ("note", "doubtful", "annotator", MISSING)
Stamp = tuple[int, int, int] | None


class LabelTable:
    """Rows of ``landmarks.csv`` by image. ``names`` are the landmarks, ``instances``: any number of rows per image.

    Raises DataError that lists every problem where an existing table cannot be read strictly: what is not understood
    must not be rewritten. ``found``: the table as it was read already when it bore the stamp ``at``.
    """

    def __init__(
        self, file: Path, names: Sequence[str], instances: bool, found: Table | None = None, at: Stamp = None
    ) -> None:
        self.file, self.names, self.instances = file, list(names), instances
        self.cells: list[list[str]] = []
        self.header: list[str] = []
        self.rows: dict[Path, list[int]] = {}  # of each image: places in ``cells``
        self.samples: dict[Path, list[Sample]] = {}
        self._lines: list[str] = []
        self._stamp: Stamp = None
        self._text = ""
        self.read(found if stamp(file) == at else None)

    # -- the file ----------------------------------------------------------------------------------------------------

    def read(self, found: Table | None = None) -> None:
        """Take the table as it lies on the disk (``found``: as read just now); one that is not there has no rows."""
        self._stamp = stamp(self.file)
        self.rows, self.samples = {}, {}
        if self._stamp is None:
            self.header = ["image", "split", "subject", *(["instance"] if self.instances else [])]
            self.cells, self._lines, self._text = [self.header], [], ""
            self.make_landmarks()
            return
        found = found or read_table(self.file, unlabelled=True)
        self.cells = read_csv(self.file)
        self.header = self.cells[0] = [cell.strip() for cell in self.cells[0]]
        for sample in found.samples:
            self.rows.setdefault(sample.image, []).append(sample.row - 1)
            self.samples.setdefault(sample.image, []).append(sample)
        self._lines = [csv_text([cells]) for cells in self.cells]
        self._text = "".join(self._lines)
        self.make_landmarks()

    def changed_outside(self) -> bool:
        """Whether another program has written the table since it was read or written here."""
        now = stamp(self.file)
        if now == self._stamp:
            return False
        if now is not None and self.file.read_text(encoding="utf-8-sig") == self._text:
            self._stamp = now  # touched, or written with the same content
            return False
        return True

    def write(self) -> None:
        """Replace the file as a whole, on the disk when this returns."""
        text = "".join(self._lines)
        write_text(self.file, text, overwrite=True)
        self._text, self._stamp = text, stamp(self.file)

    # -- states ------------------------------------------------------------------------------------------------------

    def state(self, image: Path) -> State:
        """What the table says of an image."""
        places = self.rows.get(image, [])
        if not places:
            return State()
        first = self.cells[places[0]]
        about = {name: self._cell(first, name) for name in ("note", "split", "subject", "annotator")}
        samples = self.samples[image]
        rows = [self._row(sample, self.cells[place]) for sample, place in zip(samples, places, strict=True)]
        return State(rows=rows, doubtful=bool(self._cell(first, "doubtful")), **about)

    def put(self, image: Path, called: str, state: State) -> None:
        """Store a state: rows of the image are changed, added or taken away. Raises DataError for text that is none.

        ``called``: the name of the image in the table.
        """
        places = list(self.rows.get(image, []))
        self._make_columns(state)
        blank = [""] * len(self.header)
        new = [list(self.cells[place]) for place in places[: len(state.rows)]]
        new += [list(blank) for _ in range(len(state.rows) - len(new))]
        for cells, row in zip(new, state.rows, strict=True):
            self._fill(cells, called, state, row)
        for place, cells in zip(places, new, strict=False):
            self._set(place, cells)
        for cells in new[len(places) :]:
            self.cells.append(cells)
            self._lines.append(csv_text([cells]))
            places.append(len(self.cells) - 1)
        for place in reversed(places[len(new) :]):
            self._take(place)
        self.rows[image] = places[: len(new)]
        self.samples[image] = [self._sample(image, row, cells) for row, cells in zip(state.rows, new, strict=True)]
        if not new:
            del self.rows[image], self.samples[image]

    # -- cells -------------------------------------------------------------------------------------------------------

    def _cell(self, cells: list[str], column: str) -> str:
        return cells[self.header.index(column)].strip() if column in self.header else ""

    def _row(self, sample: Sample, cells: list[str]) -> Row:
        marks: dict[str, Mark] = {}
        gone = self._cell(cells, MISSING).split(";") if not self.instances else []
        for name, point, seen in zip(self.names, sample.points, sample.visibility, strict=False):
            if seen > 0:
                marks[name] = (float(point[0]), float(point[1]), 1 if seen == 1 else 2)
            elif seen < 0 or name in gone:
                marks[name] = ABSENT
        return Row(instance=sample.instance, marks=marks)

    def _sample(self, image: Path, row: Row, cells: list[str]) -> Sample:
        points = np.full((len(self.names), 2), np.nan)
        seen = np.zeros(len(self.names), np.int64)
        for k, name in enumerate(self.names):
            mark = row.marks.get(name)
            if mark is not None and mark != ABSENT:
                points[k], seen[k] = [float(self._cell(cells, f"{name}_{end}")) for end in "xy"], mark[2]
            elif mark == ABSENT and self.instances:
                seen[k] = -1
        return Sample(image, points, seen, instance=row.instance)

    def _fill(self, cells: list[str], called: str, state: State, row: Row) -> None:
        told = {"split": state.split, "subject": state.subject, "note": state.note, "annotator": state.annotator}
        told["doubtful"] = "yes" if state.doubtful else ""
        told["instance"] = row.instance
        if not self.instances:
            told[MISSING] = ";".join(name for name in self.names if row.marks.get(name) == ABSENT)
        if not cells[self.header.index("image")].strip():
            told["image"] = called
        refuse_formulas([*told.values()], called)
        for column, text in told.items():
            if column in self.header and self._cell(cells, column) != text:
                cells[self.header.index(column)] = text
        for name in self.names:
            self._fill_mark(cells, name, row.marks.get(name))

    def _fill_mark(self, cells: list[str], name: str, mark: Mark | None) -> None:
        at = {end: self.header.index(f"{name}_{end}") for end in "xyv" if f"{name}_{end}" in self.header}
        before = [number(cells[at[end]].strip()) for end in "xy"]
        seen = cells[at["v"]].strip() if "v" in at else ""
        if mark is None or mark == ABSENT:
            for end in "xy":
                cells[at[end]] = ""
            blank = "0" if self.instances and mark is None else ""
            if "v" in at and not (blank == "" and not self.instances and seen[:1] == "0"):
                cells[at["v"]] = blank
        else:
            for end, old, value in zip("xy", before, mark[:2], strict=True):
                if old != value:
                    cells[at[end]] = format_number(round(value, PLACES))
            if "v" in at and (seen[:1] or "2") != str(mark[2]):
                cells[at["v"]] = str(mark[2])
        score = f"{name}_score"
        if score in self.header and (mark is None or mark == ABSENT or list(mark[:2]) != before):
            cells[self.header.index(score)] = ""  # it was that of another point

    def _make_columns(self, state: State) -> None:
        """The columns that a state needs and the table lacks."""
        marks = [mark for row in state.rows for mark in row.marks.values()]
        gone = any(mark == ABSENT for mark in marks)
        for column in ("split", "subject"):
            if getattr(state, column):
                self._column(column, "image" if column == "split" else "split")
        needed = (state.note, state.doubtful, state.annotator, gone and not self.instances)
        for column, wanted in zip(_NOTES, needed, strict=True):
            if wanted:
                self._column(column)
        todo = self.instances and any(name not in row.marks for row in state.rows for name in self.names)
        if todo or any(mark != ABSENT and mark[2] == 1 for mark in marks):
            for name in self.names:
                self._column(f"{name}_v", f"{name}_y")

    def make_landmarks(self) -> None:
        """Make columns that landmarks lack; in sets with instances the rows before say nothing about them."""
        for name in self.names:
            fresh = f"{name}_x" not in self.header
            self._column(f"{name}_x")
            self._column(f"{name}_y", f"{name}_x")
            if fresh and self.instances and len(self.cells) > 1:
                self._column(f"{name}_v", f"{name}_y")
                place = self.header.index(f"{name}_v")
                for cells in self.cells[1:]:
                    if cells:
                        cells[place] = "0"
        for image, samples in self.samples.items():
            lack = len(self.names) - len(samples[0].points)
            if lack > 0:
                pad = np.full((lack, 2), np.nan), np.zeros(lack, np.int64)
                self.samples[image] = [
                    Sample(image, np.vstack([s.points, pad[0]]), np.r_[s.visibility, pad[1]], instance=s.instance)
                    for s in samples
                ]
        self._lines = [csv_text([cells]) for cells in self.cells]

    def _column(self, name: str, after: str = "") -> None:
        if name in self.header:
            return
        place = self.header.index(after) + 1 if after in self.header else len(self.header)
        for cells in filter(None, self.cells[1:]):
            cells.insert(place, "")
        self.header.insert(place, name)
        self._lines = [csv_text([cells]) for cells in self.cells]

    def _set(self, place: int, cells: list[str]) -> None:
        self.cells[place] = cells
        self._lines[place] = csv_text([cells])

    def _take(self, place: int) -> None:
        del self.cells[place], self._lines[place]
        for image, places in self.rows.items():
            self.rows[image] = [at - 1 if at > place else at for at in places if at != place]


def stamp(file: Path) -> Stamp:
    """What tells one version of a file from another without reading it; None where there is none."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
