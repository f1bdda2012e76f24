"""The native dataset on disk, read strictly: ``dataset.yaml`` and ``landmarks.csv``. ``written`` writes it.

``landmarks.csv`` has the columns ``image, split, subject[, instance][, spacing_mm]`` (``spacing_x_mm, spacing_y_mm``
where pixels are not square), then per landmark
``<name>_x, <name>_y[, <name>_v]``; a blank cell is missing. In a set with instances, blank coordinates with a blank
visibility mean ``ABSENT``, with visibility 0 not annotated. Predictions add ``<name>_score``, which is read, and
``<name>_radius`` and ``<name>_spread``, which are not.
Reading collects every problem in one pass; strict reading raises them together.
"""

import difflib
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from trigpoint.data.columns import is_parquet, parquet_rows
from trigpoint.data.description import DESCRIPTION, Description, Problem, ProblemError, read_description
from trigpoint.data.files import check_path, is_formula, number, possible_name, read_csv, shown
from trigpoint.data.names import ImageFinder, found_by_end
from trigpoint.data.table_names import OnePlace, TableNames, below, canonical, may_leave, same_file
from trigpoint.data.written import (
    OBLONG,
    format_number,
    format_place,
    refuse_formulas,
    set_writer,
    table_text,
    write_table,
)
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample, Spacing, spacing_pair

__all__ = [
    "Table",
    "format_number",
    "format_place",
    "parse_rows",
    "raise_problems",
    "read_table",
    "refuse_formulas",
    "set_writer",
    "table_text",
    "write_table",
]

META = ("image", "split", "subject", "instance", "spacing_mm", *OBLONG)
LISTED = 20  # problems spelled out in one error
MAX_COLUMNS = 100_000  # two for each point of a dense mesh; more are lines that were joined
_NO_TABLE = (
    "expected a table of landmarks, got no such file",
    "name it with 'table:' in dataset.yaml, or bring label files of another tool: trigpoint data convert",
)
_NOTES = 200  # columns of other names in which a misspelled one is looked for
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """A dataset folder as read; ``samples`` hold the spacing of their row. Strict reading leaves no ``problems``.

    ``listed``: each image file and the rows that name it, also those that could not be read for another reason.
    ``names``: what the table calls the images that lie outside ``images``. ``notes``: what is no fault, but told.
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
    names: Mapping[Path, str] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raise one DataError that lists the problems; does nothing when there are none."""
    if problems:
        lines = [str(problem) for problem in problems[:LISTED]]
        if len(problems) > LISTED:
            lines.append(f"and {len(problems) - LISTED} more; 'trigpoint data check' on the folder lists all")
        raise DataError("\n".join(lines))


def read_table(
    path: str | Path, *, strict: bool = True, images: str | Path | None = None, unlabelled: bool = False
) -> Table:
    """Read a dataset folder, its ``dataset.yaml``, or one of its tables (``folder/other.csv``).

    ``images``: look for the images below this folder instead, by their names or the ends of them. Image files are not
    opened. With ``strict`` every problem found is raised in one DataError; without, they are in ``Table.problems`` and
    whatever could be read is in ``Table.samples``. ``unlabelled``: that nothing is annotated yet, or that there is no
    row, is no problem. Raises DataError when there is no such path.
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
        reader = _Reader(about, file, problems, None if images is None else Path(images))
        reader.unlabelled = unlabelled
        table = reader.table(_rows(file))
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
        above = file.absolute().parent.parent
        if (above / DESCRIPTION).is_file() or (above / file.name).is_file():  # the folder of the images was given
            raise ProblemError(Problem(file, f"{_NO_TABLE[0]}; the folder above is a dataset, give {above}"))
        raise ProblemError(Problem(file, f"{_NO_TABLE[0]}; {_NO_TABLE[1]}"))
    try:
        rows = parquet_rows(file) if is_parquet(file) else read_csv(file)
    except DataError as error:
        raise ProblemError(Problem(file, str(error).removeprefix(str(file)).lstrip(":, "))) from None
    if not rows:
        raise ProblemError(Problem(file, "expected a header row, got an empty file"))
    return rows


class _Columns(NamedTuple):
    """Where things stand in the table: ``places`` (x, y, v, score) of each landmark, -1 for no such column."""

    meta: dict[str, int]
    names: tuple[str, ...]
    places: list[tuple[int, ...]]
    width: int


class _Reader:
    """Reads the cells of one table; whatever is wrong with them is added to ``problems``."""

    def __init__(self, about: Description, file: Path, problems: list[Problem], images: Path | None = None) -> None:
        self.about, self.file, self.problems = about, file, problems
        self.images = about.images_folder if images is None else images
        folder = file.parent if file.is_file() else about.folder
        self.finder = None if images is None else ImageFinder(images)
        self.own = TableNames(folder, about.images_folder)
        self.find = self.finder or self.own.read
        self.same = OnePlace()
        self.found: dict[str, Path | None] = {}
        self.unlabelled = False

    def report(self, message: str, row: int | None = None, landmark: str | None = None) -> None:
        self.problems.append(Problem(self.file, message, row, landmark))

    def first(self, found: Collection[T], rest: str) -> list[T]:
        """The first ones, to be reported one by one; how many more there are is reported here."""
        if len(found) > LISTED:
            self.report(f"{len(found) - LISTED} more {rest}; repair the header", 1)
        return list(found)[:LISTED]

    def table(self, rows: list[list[str]]) -> Table:
        problems = self.problems
        columns = self.columns([cell.strip() for cell in rows[0]])
        about, instances = self.about, bool(self.about.instances)
        landmarks = about.landmark_set(columns.names, problems)
        samples: list[Sample] = []
        seen: dict[tuple[Path, str], tuple[int, str]] = {}
        listed: dict[Path, list[int]] = {}
        for row, cells in enumerate(rows[1:], start=2):
            if not any(cell.strip() for cell in cells):
                continue
            before, name = len(problems), "".join(cells[columns.meta["image"] :][:1]).strip()
            image = self.image(name)
            if image is not None:
                listed.setdefault(image, []).append(row)
            sample = self.sample(cells, columns, image, row, blank=ABSENT if instances else 0)
            if sample is None:
                continue
            first, other = seen.setdefault((sample.image, sample.instance if instances else ""), (row, name))
            if first != row:
                what, also = "image and instance" if instances else "image", "" if other == name else f" as {other!r}"
                got = f"{name!r} again (first in row {first}{also}); remove one"
                if not instances and "instance" in columns.meta:
                    got += " or say 'instances: true' in dataset.yaml"
                self.report(f"expected each {what} once, got {got}", row)
            if len(problems) == before:
                samples.append(sample)
        if self.unlabelled or problems:
            pass
        elif not samples:
            self.report("expected rows of images, got only the header")
        elif all(np.isnan(sample.points).all() for sample in samples):
            self.report("expected annotated landmarks, got none in any row; annotate some images first")
        names, notes = self.about_images()
        rest = about.spacing_mm, instances, tuple(problems), listed, names, notes
        return Table(about.folder, about.name, self.images, self.file, landmarks, tuple(samples), *rest)

    def image(self, name: str) -> Path | None:
        """The image that a cell names; None where no file can have this name."""
        if name not in self.found:
            try:
                self.found[name] = self.same(self.find(name)) if possible_name(name) else None
            except DataError:
                self.found[name] = None
        return self.found[name]

    def about_images(self) -> tuple[dict[Path, str], tuple[Problem, ...]]:
        """The names of images outside of the images folder, and what is told about images that lie elsewhere."""
        if self.finder is not None:
            for place, both in list(self.finder.shared.items())[:LISTED]:
                got = f"got {place} for {' and '.join(map(repr, both))}"
                self.report(f"expected an image for each name, {got}; give the folder that holds them all")
            found = self.finder.moved.items()  # what the table itself names below its own folder is no guess
            moved = {name: place for name, place in found if not same_file(self.own.read(name), place)}
            if not moved:
                return {}, ()
            told = f"{found_by_end(len(moved))}, the first"
            return {}, (Problem(self.file, f"{told} '{next(iter(moved))}' as {next(iter(moved.values()))}"),)
        names: dict[Path, str] = {}
        for name, image in self.found.items():
            if image is not None and may_leave(name) and below(image, self.images) is None:
                names.setdefault(image, canonical(name))
        outside = [image for image in names if below(image, self.about.folder) is None]
        if not outside:
            return names, ()
        told = f"{len(outside)} of {len(set(self.found.values()))} images lie outside the dataset folder"
        return names, (Problem(self.file, f"{told}, the first is {outside[0]}"),)

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
        if not self.about.file.is_file():  # else dataset.yaml has to say that there are instances
            self.about = replace(self.about, instances=self.about.instances or "instance" in header)
        elif any(f"{name}_score" in header for name in derived) and self.file != self.about.folder / self.about.table:
            self.about = self.about.for_columns(derived, "instance" in header)
        names = self.about.landmarks or derived
        if not names:
            raise ProblemError(Problem(self.file, "expected columns <landmark>_x, <landmark>_y, got none", row=1))
        where = {column: index for index, column in reversed(list(enumerate(header)))}
        gone = [(name, end) for name in names for end in ("_x", "_y") if name + end not in where]
        own = set(names)
        unknown = [c for c in where if c[-2:] in ("_x", "_y") and c not in META and c[:-2] not in own][:_NOTES]
        misspelt: set[str] = set()
        for name, end in self.first(gone, "columns of landmarks are missing"):
            near = difflib.get_close_matches(name, [c[:-2] for c in unknown if c.endswith(end)], n=1, cutoff=0.7)
            got, fix = ("none", "add it or drop the landmark")
            if near:
                got, fix = (shown(near[0] + end), "rename that column")
                misspelt.add(near[0] + end)
            self.report(f"expected a column '{name}{end}', got {got}; {fix}", 1, name)
        for name in self.first(list(filter(is_formula, names)), "names would be calculated"):
            self.report(f"expected a plain name, got {shown(name)}, which a spreadsheet would calculate; rename it", 1)
        known = {*META, *(f"{name}_{end}" for name in names for end in ("x", "y", "v", "score", "radius", "spread"))}
        odd = [column for column in where if column not in known]
        orphans = [column for column in odd if column[-2:] in ("_x", "_y", "_v") and column not in misspelt]
        for column in self.first(orphans, "columns belong to no landmark"):
            hint = did_you_mean(column[:-2], names)
            self.report(f"column '{column}' belongs to no landmark of the set; {hint}", 1)
        for column in [column for column in odd if column[-2:] not in ("_x", "_y", "_v")][:_NOTES]:
            if near := difflib.get_close_matches(column.lower(), META, n=1, cutoff=0.8):  # else the user's own notes
                self.report(f"unknown column '{column}'; did you mean '{near[0]}'?", 1)
        if len(set(where) & set(OBLONG)) == 1:
            self.report(
                "expected both columns spacing_x_mm and spacing_y_mm, or spacing_mm alone, got one of the two", 1
            )
        if self.about.instances and "instance" not in where:
            self.report("expected a column 'instance' since dataset.yaml says 'instances: true', got none", 1)
        halves = {name for name, _ in gone}  # told once, of the header, and not of every row
        places = [
            (-1,) * 4 if name in halves else tuple(where.get(f"{name}_{what}", -1) for what in ("x", "y", "v", "score"))
            for name in names
        ]
        return _Columns({c: where[c] for c in META if c in where}, names, places, len(header))

    def sample(self, cells: list[str], columns: _Columns, image: Path | None, row: int, blank: int) -> Sample | None:
        """One row; ``blank`` is the visibility of a landmark without any entry."""
        if len(cells) != columns.width:
            self.report(f"expected {columns.width} cells as in the header, got {len(cells)}", row)
            return None
        meta = {column: cells[index].strip() for column, index in columns.meta.items()}
        name, spacing = meta["image"], self.spacing(meta, row)
        if image is None:
            got = f"{shown(name)}, which no file can have; correct it" if name else "a blank cell"
            self.report(f"expected the name of an image file, got {got}", row)
            return None
        for column, text in meta.items():
            if is_formula(text):
                got = f"got {shown(text)}, which a spreadsheet would calculate"
                self.report(f"{column}: expected plain text, {got}; rename it", row)
        points = np.full((len(columns.names), 2), np.nan)
        visibility = np.full(len(columns.names), blank, dtype=np.int64)
        scores = np.full(len(columns.names), np.nan)
        for k, places in enumerate(columns.places):
            x, y, v, score = (cells[place].strip() if place >= 0 else "" for place in places)
            if x or y or v:
                points[k], visibility[k] = self.point(x, y, v, row, columns.names[k])
            if score and (known := self.score(score, row, columns.names[k])) is not None and visibility[k] > 0:
                scores[k] = known
        split, subject, instance = (meta.get(column, "") for column in ("split", "subject", "instance"))
        scored = scores if np.isfinite(scores).any() else None
        return Sample(image, points, visibility, split, subject, instance, spacing, row, scored)

    def score(self, text: str, row: int, landmark: str) -> float | None:
        """A score; what is no number is reported."""
        if (value := number(text)) is None:
            self.report(f"score: expected a finite number or a blank cell, got {shown(text)}", row, landmark)
        return value

    def spacing(self, meta: dict[str, str], row: int) -> Spacing | None:
        """What a row states of its pixels, which is taken out of ``meta``: one number, or one each for x and y."""
        given = {name: meta.pop(name) for name in ("spacing_mm", *OBLONG) if name in meta}
        stated = {name: text for name, text in given.items() if text}
        sides = {name: number(text) for name, text in stated.items()}
        for name, side in sides.items():
            if side is None or side <= 0:
                self.report(f"{name}: expected millimetres per pixel above 0, got {shown(stated[name])}", row)
                return None
        if not sides or list(sides) == ["spacing_mm"]:
            return spacing_pair(sides.get("spacing_mm"))
        if tuple(sides) != OBLONG:
            if len(set(given) & set(OBLONG)) == 1:  # told of the header
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
