"""The native dataset on disk: ``dataset.yaml`` and ``landmarks.csv``, read strictly and written atomically.

``landmarks.csv`` has the columns ``image, split, subject[, instance][, spacing_mm]``, then per landmark
``<name>_x, <name>_y[, <name>_v]``; a blank cell is missing. In a set with instances, blank coordinates with a blank
visibility mean ``ABSENT``, with visibility 0 not annotated. Predictions add ``<name>_score``, ``<name>_radius`` and
``<name>_spread``, which the reader skips.
Reading collects every problem in one pass; strict reading raises them together.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trigpoint.config import to_yaml
from trigpoint.data.description import DESCRIPTION, Description, Problem, ProblemError, read_description
from trigpoint.data.files import inside, is_formula, read_text, refuse_existing, shown, write_text
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import ABSENT, FloatArray, IntArray, LandmarkSet, Sample

META = ("image", "split", "subject", "instance", "spacing_mm")
LISTED = 20  # problems spelled out in one error


@dataclass(frozen=True)
class Table:
    """A dataset folder as read; ``samples`` hold the spacing of their row. Strict reading leaves no ``problems``."""

    folder: Path
    name: str
    images: Path
    file: Path
    landmarks: LandmarkSet
    samples: tuple[Sample, ...]
    spacing_mm: float | None = None
    instances: bool = False
    problems: tuple[Problem, ...] = ()


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raise one DataError that lists the problems; does nothing when there are none."""
    if problems:
        lines = [str(problem) for problem in problems[:LISTED]]
        if len(problems) > LISTED:
            lines.append(f"and {len(problems) - LISTED} more; 'trigpoint data check' lists all")
        raise DataError("\n".join(lines))


def read_table(path: str | Path, *, strict: bool = True) -> Table:
    """Read a dataset folder, its ``dataset.yaml``, or one of its tables (``folder/other.csv``).

    Image files are not opened. With ``strict`` every problem found is raised in one DataError; without, they are in
    ``Table.problems`` and whatever could be read is in ``Table.samples``. Raises DataError when there is no such path.
    """
    source = Path(path)
    if not source.exists():
        raise DataError(f"{source}: expected a dataset folder, got nothing there; check the path")
    folder = source if source.is_dir() else source.parent
    problems: list[Problem] = []
    try:
        about = read_description(folder, problems)
        given = source.is_file() and source.name != DESCRIPTION
        file = source if given else folder / about.table
        table = _parse(about, file, _rows(file), problems)
    except ProblemError as error:
        if strict:
            raise_problems([*problems, error.problem])
        found = (*problems, error.problem)
        return Table(folder, folder.resolve().name, folder, folder, LandmarkSet(()), (), problems=found)
    if strict:
        raise_problems(problems)
    return table


def parse_rows(rows: list[list[str]], about: Description, file: Path) -> Table:
    """Read a table already split into cells (header first). Raises DataError that lists every problem."""
    problems: list[Problem] = []
    table = _parse(about, file, rows, problems)
    raise_problems(problems)
    return table


def _rows(file: Path) -> list[list[str]]:
    if not file.is_file():
        raise ProblemError(Problem(file, "expected a table of landmarks, got no such file; name it with 'table:'"))
    try:
        rows = list(csv.reader(io.StringIO(read_text(file), newline=""), strict=True))
    except csv.Error as error:
        raise ProblemError(Problem(file, f"not readable as csv: {error}")) from None
    except DataError as error:
        raise ProblemError(Problem(file, str(error).removeprefix(str(file)).lstrip(":, "))) from None
    if not rows:
        raise ProblemError(Problem(file, "expected a header row, got an empty file"))
    return rows


@dataclass
class _Columns:
    """Where things stand in the table; -1 in ``x``, ``y`` or ``v`` when the column is not there."""

    meta: dict[str, int]
    names: tuple[str, ...]
    x: list[int] = field(default_factory=list)
    y: list[int] = field(default_factory=list)
    v: list[int] = field(default_factory=list)
    width: int = 0


def _columns(about: Description, header: list[str], file: Path, problems: list[Problem]) -> _Columns:
    def report(message: str, landmark: str | None = None) -> None:
        problems.append(Problem(file, message, row=1, landmark=landmark))

    if "image" not in header:
        hint = "; separate the cells by commas" if len(header) == 1 and ";" in header[0] else ""
        message = f"expected a column 'image', got {shown(', '.join(header[:6]))}{hint}"
        raise ProblemError(Problem(file, message, row=1))
    for column, times in sorted(Counter(header).items()):
        if times > 1:
            report(f"expected each column once, got '{column}' {times} times; remove all but one")
    where = {column: index for index, column in reversed(list(enumerate(header)))}
    derived = tuple(dict.fromkeys(c[:-2] for c in header if c[-2:] in ("_x", "_y") and c not in META))
    names = about.landmarks or derived
    if not names:
        raise ProblemError(Problem(file, "expected columns <landmark>_x, <landmark>_y, got none", row=1))
    out = _Columns({c: where[c] for c in META if c in where}, names, width=len(header))
    for name in names:
        for axis, positions in (("x", out.x), ("y", out.y), ("v", out.v)):
            position = where.get(f"{name}_{axis}", -1)
            positions.append(position)
            if position < 0 and axis != "v":
                report(f"expected a column '{name}_{axis}', got none; add it or drop the landmark", name)
    for name in filter(is_formula, names):
        report(f"expected a plain name, got {shown(name)}, which a spreadsheet would calculate; rename it")
    known = {*META, *(f"{name}_{end}" for name in names for end in ("x", "y", "v", "score", "radius", "spread"))}
    for column in dict.fromkeys(c for c in header if c not in known):
        near = difflib.get_close_matches(column.lower(), META, n=1, cutoff=0.8)
        if column[-2:] in ("_x", "_y", "_v"):
            report(f"column '{column}' belongs to no landmark of the set; {did_you_mean(column[:-2], names)}")
        elif near:  # other columns are the user's own notes
            report(f"unknown column '{column}'; did you mean '{near[0]}'?")
    if about.instances and "instance" not in out.meta:
        report("expected a column 'instance' since dataset.yaml says 'instances: true', got none")
    return out


def _parse(about: Description, file: Path, rows: list[list[str]], problems: list[Problem]) -> Table:
    columns = _columns(about, [cell.strip() for cell in rows[0]], file, problems)
    landmarks = about.landmark_set(columns.names, problems)
    instances = "instance" in columns.meta if about.instances is None else about.instances
    if about.instances is None and about.file.is_file():
        instances = False
    default = about.folder / "images"
    images = about.folder / about.images if about.images else default if default.is_dir() else about.folder
    samples: list[Sample] = []
    seen: dict[tuple[str, str], int] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        found = len(problems)
        sample = _sample(cells, columns, images, number, file, problems, blank=ABSENT if instances else 0)
        if sample is None:
            continue
        key = (str(sample.image), sample.instance if instances else "")
        if key in seen:
            what = "image and instance" if instances else "image"
            hint = "" if instances or "instance" not in columns.meta else " or say 'instances: true' in dataset.yaml"
            message = f"expected each {what} once, got {cells[columns.meta['image']].strip()!r} again (first in row "
            problems.append(Problem(file, message + f"{seen[key]}); remove one{hint}", row=number))
        seen.setdefault(key, number)
        if len(problems) == found:
            samples.append(sample)
    if not samples and not problems:
        problems.append(Problem(file, "expected rows of images, got only the header"))
    elif samples and not problems and all(np.isnan(sample.points).all() for sample in samples):
        problems.append(Problem(file, "expected annotated landmarks, got none in any row; annotate some images first"))
    return Table(
        about.folder, about.name, images, file, landmarks, tuple(samples), about.spacing_mm, instances, tuple(problems)
    )


def _sample(
    cells: list[str], columns: _Columns, images: Path, row: int, file: Path, problems: list[Problem], blank: int
) -> Sample | None:
    """One row; ``blank`` is the visibility of a landmark without any entry."""
    if len(cells) != columns.width:
        message = f"expected {columns.width} cells as in the header, got {len(cells)}"
        problems.append(Problem(file, message, row=row))
        return None
    meta = {column: cells[index].strip() for column, index in columns.meta.items()}
    name = meta["image"]
    if not name or not inside(name):
        got = f"{shown(name)}; images stay inside the dataset folder" if name else "a blank cell"
        problems.append(Problem(file, f"expected the name of an image file, got {got}", row=row))
        return None
    for column in ("image", "split", "subject", "instance"):
        if is_formula(meta.get(column, "")):
            message = f"expected plain text, got {shown(meta[column])}, which a spreadsheet would calculate; rename it"
            problems.append(Problem(file, f"{column}: {message}", row=row))
    spacing = None
    if meta.get("spacing_mm"):
        spacing = _number(meta["spacing_mm"])
        if spacing is None or spacing <= 0:
            message = f"spacing_mm: expected millimetres per pixel above 0, got {shown(meta['spacing_mm'])}"
            problems.append(Problem(file, message, row=row))
            spacing = None
    points, visibility = _points(cells, columns, row, file, problems, blank)
    return Sample(
        image=images / name,
        points=points,
        visibility=visibility,
        split=meta.get("split", ""),
        subject=meta.get("subject", ""),
        instance=meta.get("instance", ""),
        spacing_mm=spacing,
        row=row,
    )


def _points(
    cells: list[str], columns: _Columns, row: int, file: Path, problems: list[Problem], blank: int
) -> tuple[FloatArray, IntArray]:
    count = len(columns.names)
    points = np.full((count, 2), np.nan)
    visibility = np.zeros(count, dtype=np.int64)
    for k, (ix, iy, iv) in enumerate(zip(columns.x, columns.y, columns.v, strict=True)):
        tx = cells[ix].strip() if ix >= 0 else ""
        ty = cells[iy].strip() if iy >= 0 else ""
        tv = cells[iv].strip() if iv >= 0 else ""
        if not (tx or ty or tv):
            visibility[k] = blank
            continue
        message = None
        x, y = _number(tx), _number(ty)
        if (tx and x is None) or (ty and y is None):
            bad = tx if tx and x is None else ty
            message = f"expected a finite number or a blank cell, got {shown(bad)}"
        elif bool(tx) != bool(ty):
            message = f"expected both x and y, got only {'x' if tx else 'y'}; fill in the other or blank both"
        elif tv not in ("", "0", "1", "2", "0.0", "1.0", "2.0"):
            message = f"expected visibility 0 missing, 1 occluded or 2 visible, got {shown(tv)}"
        elif not tx and tv[:1] in ("1", "2"):
            message = f"expected coordinates since visibility is {tv}, got blank cells; fill them in or set 0"
        if message is not None:
            problems.append(Problem(file, message, row=row, landmark=columns.names[k]))
        elif x is not None and y is not None and tv[:1] != "0":
            points[k] = x, y
            visibility[k] = int(tv[0]) if tv else 2
    return points, visibility


def _number(text: str) -> float | None:
    """A finite number, or None. Python's own 1_000, nan and inf are no numbers in a table."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def write_table(
    folder: str | Path,
    samples: Sequence[Sample],
    landmarks: LandmarkSet,
    *,
    image_names: Sequence[str],
    name: str = "",
    spacing_mm: float | None = None,
    instances: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write ``dataset.yaml`` and ``landmarks.csv`` (not the images); ``image_names`` (N,) fill column image.

    Coordinates are written with the shortest text that reads back to the same float. Raises DataError when a file
    exists and ``overwrite`` is False; then neither is touched.
    """
    target = Path(folder)
    for file in (target / DESCRIPTION, target / "landmarks.csv"):
        refuse_existing(file, overwrite)
    about: dict[str, object] = {"name": name or target.resolve().name, "images": "images", "table": "landmarks.csv"}
    about |= landmarks.to_dict()
    if spacing_mm is not None:
        about["spacing_mm"] = spacing_mm
    if instances:
        about["instances"] = True
    text = table_text(samples, landmarks, image_names=image_names, instances=instances)
    write_text(target / "landmarks.csv", text, overwrite=overwrite)
    write_text(target / DESCRIPTION, to_yaml(about), overwrite=overwrite)
    return target


def table_text(
    samples: Sequence[Sample],
    landmarks: LandmarkSet,
    *,
    image_names: Sequence[str],
    instances: bool = False,
    scores: FloatArray | None = None,
    radius: FloatArray | None = None,
) -> str:
    """The csv text of a table; ``scores`` and ``radius`` (N, K) add the columns of a prediction, NaN as blank.

    Visibility columns are written when a landmark is occluded or, with ``instances``, one is not annotated, since
    there a blank cell means ``ABSENT``. Raises DataError for a name that a spreadsheet would take for a formula.
    """
    told = (0, 1) if instances else (1,)
    shown = any(np.isin(sample.visibility, told).any() for sample in samples)
    spaced = any(sample.spacing_mm is not None for sample in samples)
    header = ["image", "split", "subject", *(["instance"] if instances else []), *(["spacing_mm"] if spaced else [])]
    extra = [(end, values) for end, values in (("score", scores), ("radius", radius)) if values is not None]
    for mark in landmarks.names:
        header += [f"{mark}_x", f"{mark}_y", *([f"{mark}_v"] if shown else []), *(f"{mark}_{e}" for e, _ in extra)]
    refuse_formulas(header, "the header")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for index, (sample, image) in enumerate(zip(samples, image_names, strict=True)):
        row = [image, sample.split, sample.subject, *([sample.instance] if instances else [])]
        refuse_formulas(row, str(sample.image))
        if spaced:
            row.append("" if sample.spacing_mm is None else format_number(sample.spacing_mm))
        for k in range(len(landmarks)):
            row += [format_number(value) for value in sample.points[k]]
            if shown:
                seen = int(sample.visibility[k])
                row.append("" if instances and seen == ABSENT else str(max(seen, 0)))
            row += [format_number(values[index, k]) for _, values in extra]
        writer.writerow(row)
    return out.getvalue()


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
    number = float(value)
    if math.isnan(number):
        return ""
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
