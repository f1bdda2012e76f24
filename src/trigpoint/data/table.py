"""The native dataset on disk: ``dataset.yaml`` and ``landmarks.csv``, read strictly and written atomically.

``landmarks.csv`` has the columns ``image, split, subject[, instance][, spacing_mm]`` (``spacing_x_mm, spacing_y_mm``
where pixels are not square), then per landmark
``<name>_x, <name>_y[, <name>_v]``; a blank cell is missing. In a set with instances, blank coordinates with a blank
visibility mean ``ABSENT``, with visibility 0 not annotated. Predictions add ``<name>_score``, ``<name>_radius`` and
``<name>_spread``, which the reader skips.
Reading collects every problem in one pass; strict reading raises them together.
"""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from trigpoint.data.description import (
    DEFAULT_TABLE,
    DESCRIPTION,
    Description,
    Problem,
    ProblemError,
    description_text,
    read_description,
)
from trigpoint.data.files import (
    check_path,
    csv_text,
    inside,
    is_formula,
    number,
    read_csv,
    refuse_existing,
    same_content,
    shown,
    utf8,
    whole,
)
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample, Spacing, spacing_pair

_OBLONG = ("spacing_x_mm", "spacing_y_mm")  # where pixels are not square
META = ("image", "split", "subject", "instance", "spacing_mm", *_OBLONG)
LISTED = 20  # problems spelled out in one error
MAX_COLUMNS = 100_000  # two for each point of a dense mesh; more are lines that were joined
_NOTES = 200  # columns of other names in which a misspelled one is looked for
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A dataset folder as read; ``samples`` hold the spacing of their row. Strict reading leaves no ``problems``.

    ``listed``: each image file and the rows that name it, also those that could not be read for another reason.
    """

    folder: Path
    name: str
    images: Path
    table: Path
    landmarks: LandmarkSet
    samples: tuple[Sample, ...]
    spacing_mm: Spacing | None = None
    instances: bool = False
    problems: tuple[Problem, ...] = ()
    listed: Mapping[Path, list[int]] = field(default_factory=dict)


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raise one DataError that lists the problems; does nothing when there are none."""
    if problems:
        lines = [str(problem) for problem in problems[:LISTED]]
        if len(problems) > LISTED:
            lines.append(f"and {len(problems) - LISTED} more; 'trigpoint data check' on the folder lists all")
        raise DataError("\n".join(lines))


def read_table(path: str | Path, *, strict: bool = True) -> Table:
    """Read a dataset folder, its ``dataset.yaml``, or one of its tables (``folder/other.csv``).

    Image files are not opened. With ``strict`` every problem found is raised in one DataError; without, they are in
    ``Table.problems`` and whatever could be read is in ``Table.samples``. Raises DataError when there is no such path.
    """
    source = Path(path)
    check_path(source)
    if not source.exists():
        raise DataError(f"{source}: expected a dataset folder, got nothing there; check the path")
    folder = source if source.is_dir() else source.parent
    problems: list[Problem] = []
    try:
        about = read_description(folder, problems)
        given = source.is_file() and source.name != DESCRIPTION
        file = source if given else folder / about.table
        table = _Reader(about, file, problems).table(_rows(file))
    except ProblemError as error:
        problems.append(error.problem)
        table = Table(folder, folder.resolve().name, folder, folder, LandmarkSet(()), (), problems=tuple(problems))
    if strict:
        raise_problems(problems)
    return table


def parse_rows(rows: list[list[str]], about: Description, file: Path) -> Table:
    """Read a table already split into cells (header first). Raises DataError that lists every problem."""
    problems: list[Problem] = []
    table = _Reader(about, file, problems).table(rows)
    raise_problems(problems)
    return table


def _rows(file: Path) -> list[list[str]]:
    check_path(file)
    if not file.is_file():
        raise ProblemError(Problem(file, "expected a table of landmarks, got no such file; name it with 'table:'"))
    try:
        rows = read_csv(file)
    except DataError as error:
        raise ProblemError(Problem(file, str(error).removeprefix(str(file)).lstrip(":, "))) from None
    if not rows:
        raise ProblemError(Problem(file, "expected a header row, got an empty file"))
    return rows


class _Columns(NamedTuple):
    """Where things stand in the table: ``places`` (x, y, v) of each landmark, -1 for a column that is not there."""

    meta: dict[str, int]
    names: tuple[str, ...]
    places: list[tuple[int, ...]]
    width: int


class _Reader:
    """Reads the cells of one table; whatever is wrong with them is added to ``problems``."""

    def __init__(self, about: Description, file: Path, problems: list[Problem]) -> None:
        self.about, self.file, self.problems = about, file, problems

    def report(self, message: str, row: int | None = None, landmark: str | None = None) -> None:
        self.problems.append(Problem(self.file, message, row, landmark))

    def first(self, found: Collection[T], rest: str) -> list[T]:
        """The first ones, to be reported one by one; how many more there are is reported here."""
        if len(found) > LISTED:
            self.report(f"{len(found) - LISTED} more {rest}; repair the header", 1)
        return list(found)[:LISTED]

    def table(self, rows: list[list[str]]) -> Table:
        about, problems = self.about, self.problems
        columns = self.columns([cell.strip() for cell in rows[0]])
        landmarks = about.landmark_set(columns.names, problems)
        instances = about.instances
        if instances is None:  # dataset.yaml has to say so; a table without one says it by its columns
            instances = "instance" in columns.meta and not about.file.is_file()
        default = about.folder / "images"
        images = about.folder / about.images if about.images else default if default.is_dir() else about.folder
        samples: list[Sample] = []
        seen: dict[tuple[str, str], int] = {}
        listed: dict[Path, list[int]] = {}
        for row, cells in enumerate(rows[1:], start=2):
            if not any(cell.strip() for cell in cells):
                continue
            found, name = len(problems), "".join(cells[columns.meta["image"] :][:1]).strip()
            if name and inside(name):
                listed.setdefault(images / name, []).append(row)
            sample = self.sample(cells, columns, images, row, blank=ABSENT if instances else 0)
            if sample is None:
                continue
            first = seen.setdefault((str(sample.image), sample.instance if instances else ""), row)
            if first != row:
                what = "image and instance" if instances else "image"
                got = f"{cells[columns.meta['image']].strip()!r} again (first in row {first}); remove one"
                if not instances and "instance" in columns.meta:
                    got += " or say 'instances: true' in dataset.yaml"
                self.report(f"expected each {what} once, got {got}", row)
            if len(problems) == found:
                samples.append(sample)
        if not samples and not problems:
            self.report("expected rows of images, got only the header")
        elif not problems and all(np.isnan(sample.points).all() for sample in samples):
            self.report("expected annotated landmarks, got none in any row; annotate some images first")
        rest = about.spacing_mm, instances, tuple(problems), listed
        return Table(about.folder, about.name, images, self.file, landmarks, tuple(samples), *rest)

    def columns(self, header: list[str]) -> _Columns:
        if "image" not in header:
            hint = "; separate the cells by commas" if len(header) == 1 and ";" in header[0] else ""
            message = f"expected a column 'image', got {shown(', '.join(header[:6]))}{hint}"
            raise ProblemError(Problem(self.file, message, row=1))
        if len(header) > MAX_COLUMNS:
            message = f"expected at most {MAX_COLUMNS} columns, got {len(header)}; does a row stand in one line?"
            raise ProblemError(Problem(self.file, message, row=1))
        twice = {column: times for column, times in sorted(Counter(header).items()) if times > 1}
        for column in self.first(twice, "columns stand there several times"):
            self.report(f"expected each column once, got {shown(column)} {twice[column]} times; remove all but one", 1)
        derived = tuple(dict.fromkeys(c[:-2] for c in header if c[-2:] in ("_x", "_y") and c not in META))
        names = self.about.landmarks or derived
        if not names:
            raise ProblemError(Problem(self.file, "expected columns <landmark>_x, <landmark>_y, got none", row=1))
        where = {column: index for index, column in reversed(list(enumerate(header)))}
        gone = [(name, end) for name in names for end in ("_x", "_y") if name + end not in where]
        for name, end in self.first(gone, "columns of landmarks are missing"):
            self.report(f"expected a column '{name}{end}', got none; add it or drop the landmark", 1, name)
        for name in self.first(list(filter(is_formula, names)), "names would be calculated"):
            self.report(f"expected a plain name, got {shown(name)}, which a spreadsheet would calculate; rename it", 1)
        known = {*META, *(f"{name}_{end}" for name in names for end in ("x", "y", "v", "score", "radius", "spread"))}
        odd = [column for column in where if column not in known]
        orphans = [column for column in odd if column[-2:] in ("_x", "_y", "_v")]
        for column in self.first(orphans, "columns belong to no landmark"):
            hint = did_you_mean(column[:-2], names)
            self.report(f"column '{column}' belongs to no landmark of the set; {hint}", 1)
        for column in [column for column in odd if column[-2:] not in ("_x", "_y", "_v")][:_NOTES]:
            if near := difflib.get_close_matches(column.lower(), META, n=1, cutoff=0.8):  # else the user's own notes
                self.report(f"unknown column '{column}'; did you mean '{near[0]}'?", 1)
        if len(set(where) & set(_OBLONG)) == 1:
            self.report(
                "expected both columns spacing_x_mm and spacing_y_mm, or spacing_mm alone, got one of the two", 1
            )
        if self.about.instances and "instance" not in where:
            self.report("expected a column 'instance' since dataset.yaml says 'instances: true', got none", 1)
        places = [tuple(where.get(f"{name}_{axis}", -1) for axis in "xyv") for name in names]
        return _Columns({c: where[c] for c in META if c in where}, names, places, len(header))

    def sample(self, cells: list[str], columns: _Columns, images: Path, row: int, blank: int) -> Sample | None:
        """One row; ``blank`` is the visibility of a landmark without any entry."""
        if len(cells) != columns.width:
            self.report(f"expected {columns.width} cells as in the header, got {len(cells)}", row)
            return None
        meta = {column: cells[index].strip() for column, index in columns.meta.items()}
        name, spacing = meta["image"], self.spacing(meta, row)
        if not name or not inside(name):
            got = f"{shown(name)}; images stay inside the dataset folder" if name else "a blank cell"
            self.report(f"expected the name of an image file, got {got}", row)
            return None
        for column, text in meta.items():
            if is_formula(text):
                got = f"got {shown(text)}, which a spreadsheet would calculate"
                self.report(f"{column}: expected plain text, {got}; rename it", row)
        points = np.full((len(columns.names), 2), np.nan)
        visibility = np.full(len(columns.names), blank, dtype=np.int64)
        for k, places in enumerate(columns.places):
            x, y, v = (cells[place].strip() if place >= 0 else "" for place in places)
            if x or y or v:
                points[k], visibility[k] = self.point(x, y, v, row, columns.names[k])
        split, subject, instance = (meta.get(column, "") for column in ("split", "subject", "instance"))
        return Sample(images / name, points, visibility, split, subject, instance, spacing, row)

    def spacing(self, meta: dict[str, str], row: int) -> Spacing | None:
        """What a row states of its pixels, which is taken out of ``meta``: one number, or one each for x and y."""
        given = {name: meta.pop(name) for name in ("spacing_mm", *_OBLONG) if name in meta}
        stated = {name: text for name, text in given.items() if text}
        sides = {name: number(text) for name, text in stated.items()}
        for name, side in sides.items():
            if side is None or side <= 0:
                self.report(f"{name}: expected millimetres per pixel above 0, got {shown(stated[name])}", row)
                return None
        if not sides or list(sides) == ["spacing_mm"]:
            return spacing_pair(sides.get("spacing_mm"))
        if tuple(sides) != _OBLONG:
            if len(set(given) & set(_OBLONG)) == 1:  # told of the header
                return None
            expected = "expected spacing_mm, or both spacing_x_mm and spacing_y_mm"
            self.report(f"{expected}, got {' and '.join(sides)}; fill in or blank the others", row)
            return None
        return spacing_pair(list(sides.values()))

    def point(self, x: str, y: str, v: str, row: int, landmark: str) -> tuple[tuple[float, float], int]:
        """Point and visibility of a landmark with an entry; what is wrong is reported and counts as missing."""
        at = number(x), number(y)
        message = ""
        if bad := [text for text, value in zip((x, y), at, strict=True) if text and value is None]:
            message = f"expected a finite number or a blank cell, got {shown(bad[0])}"
        elif bool(x) != bool(y):
            message = f"expected both x and y, got only {'x' if x else 'y'}; fill in the other or blank both"
        elif v not in ("", "0", "1", "2", "0.0", "1.0", "2.0"):
            message = f"expected visibility 0 missing, 1 occluded or 2 visible, got {shown(v)}"
        elif not x and v[:1] in ("1", "2"):
            message = f"expected coordinates since visibility is {v}, got blank cells; fill them in or set 0"
        if message:
            self.report(message, row, landmark)
        if message or at[0] is None or at[1] is None or v[:1] == "0":
            return (math.nan, math.nan), 0
        return (at[0], at[1]), int(v[0]) if v else 2


def write_table(
    folder: str | Path,
    samples: Sequence[Sample],
    landmarks: LandmarkSet,
    *,
    image_names: Sequence[str],
    name: str = "",
    spacing_mm: float | Spacing | None = None,
    instances: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write ``dataset.yaml`` and ``landmarks.csv`` (not the images); ``image_names`` (N,) fill column image.

    Coordinates are written with the shortest text that reads back to the same float. Raises DataError when a file
    exists and ``overwrite`` is False; then neither is touched.
    """
    target = Path(folder)
    about = description_text(name or target.resolve().name, landmarks, spacing_mm, instances)
    text = table_text(samples, landmarks, image_names=image_names, instances=instances)
    set_writer(target, {DEFAULT_TABLE: text}, about, overwrite=overwrite)()
    return target


def set_writer(folder: Path, tables: Mapping[str, str], about: str, *, overwrite: bool = False) -> Callable[[], None]:
    """Writes tables and then ``dataset.yaml``, which ends every set, when it is called: after the images, that is.

    Raises DataError at once when a file is in the way. Without a ``dataset.yaml``, a table with just this text is of a
    command that was stopped.
    """
    files = {folder / name: utf8(folder / name, text) for name, text in {DESCRIPTION: about, **tables}.items()}
    left = {file: data for file, data in files.items() if not same_content(file, data)}
    for file in files if folder / DESCRIPTION not in left else left:
        refuse_existing(file, overwrite)

    def write() -> None:
        with ExitStack() as stack:  # leaves in the reverse order: dataset.yaml appears last, after all are on the disk
            for file, data in left.items():
                stream = stack.enter_context(whole(file, overwrite=overwrite))
                stream.write(data)
                stream.flush()

    return write


def table_text(
    samples: Sequence[Sample], landmarks: LandmarkSet, *, image_names: Sequence[str], instances: bool = False
) -> str:
    """The csv text of a table.

    Visibility columns are written when a landmark is occluded or, with ``instances``, one is not annotated, since
    there a blank cell means ``ABSENT``. Raises DataError for a name that a spreadsheet would take for a formula.
    """
    told = (0, 1) if instances else (1,)
    shown = any(np.isin(sample.visibility, told).any() for sample in samples)
    spacings = [sample.spacing_mm for sample in samples]
    oblong = any(spacing is not None and spacing[0] != spacing[1] for spacing in spacings)
    spaced = list(_OBLONG if oblong else ("spacing_mm",)) if any(spacings) else []
    header = ["image", "split", "subject", *(["instance"] if instances else []), *spaced]
    for mark in landmarks.names:
        header += [f"{mark}_x", f"{mark}_y", *([f"{mark}_v"] if shown else [])]
    refuse_formulas(header, "the header")
    rows = [header]
    for sample, image in zip(samples, image_names, strict=True):
        row = [image, sample.split, sample.subject, *([sample.instance] if instances else [])]
        refuse_formulas(row, str(sample.image))
        row += [format_number(side) for side in (sample.spacing_mm or (math.nan, math.nan))[: len(spaced)]]
        for k in range(len(landmarks)):
            row += [format_number(value) for value in sample.points[k]]
            if shown:
                seen = int(sample.visibility[k])
                row.append("" if instances and seen == ABSENT else str(max(seen, 0)))
        rows.append(row)
    return csv_text(rows)


def refuse_formulas(cells: Sequence[str], where: str) -> None:
    """Raise DataError when a spreadsheet would calculate one of the cells that are to be written."""
    for cell in filter(is_formula, cells):
        got = f"got {shown(cell)}, which a spreadsheet would calculate"
        raise DataError(f"{where}: expected plain text for a table, {got}; rename it")


def format_number(value: float) -> str:
    """Shortest text that reads back to the same float; NaN is blank.

    >>> format_number(3.0), format_number(0.1), format_number(float("nan"))
    ('3', '0.1', '')
    """
    if math.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
