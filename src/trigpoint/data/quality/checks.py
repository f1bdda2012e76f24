"""Every problem of a dataset folder in one pass: the table, the image files, the annotations, the splits.

An error makes training refuse the dataset or the measured numbers wrong; a warning is for a person to look at.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trigpoint.data.dataset import size_problem
from trigpoint.data.description import Problem
from trigpoint.data.files import inside, read_text
from trigpoint.data.pixels.images import SUFFIXES, read_image
from trigpoint.data.quality.fingerprint import COPY, look_of, look_text, nearest, pixel_hash, stack_looks
from trigpoint.data.quality.swaps import find_swaps
from trigpoint.data.table import Table, read_table
from trigpoint.errors import DataError
from trigpoint.landmarks import Sample

Progress = Callable[[int, int], None]
_LISTED = 20  # of files that no row names; the rest are counted
_SPARSE = 0.5  # unlabelled share of a landmark from which a warning is due


@dataclass(frozen=True)
class Finding(Problem):
    """A problem with its weight: "error" or "warning"."""

    severity: Literal["error", "warning"] = "error"

    def to_dict(self) -> dict[str, Any]:
        """Plain values: severity, file, row, landmark, message."""
        where = {"file": str(self.file), "row": self.row, "landmark": self.landmark}
        return {"severity": self.severity, **where, "message": self.message}


@dataclass(frozen=True)
class Summary:
    """What the dataset holds. ``splits`` counts rows, ``unlabelled`` is the share of rows without an annotation of it.

    A landmark that is known to be absent (sets with instances) is annotated.
    """

    name: str = ""
    rows: int = 0
    images: int = 0
    landmarks: int = 0
    subjects: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    unlabelled: dict[str, float] = field(default_factory=dict)
    smallest: tuple[int, int] | None = None  # (width, height)
    largest: tuple[int, int] | None = None
    with_spacing: int = 0  # images of which the pixel spacing is known


@dataclass(frozen=True)
class CheckReport:
    """All findings, errors first, each in the order of the table, and a summary."""

    problems: list[Finding]
    summary: Summary

    @property
    def errors(self) -> list[Finding]:
        """What has to be repaired before training."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """What somebody should look at."""
        return [problem for problem in self.problems if problem.severity == "warning"]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ok": self.ok, "problems": [p.to_dict() for p in self.problems], "summary": asdict(self.summary)}


@dataclass(frozen=True)
class _Image:
    """What is kept of a decoded image."""

    width: int = 0
    height: int = 0
    digest: str = ""
    look: str = ""
    spacing: bool = False
    damage: str = ""


def check_dataset(folder: str | Path, progress: Progress | None = None) -> CheckReport:
    """Check a dataset folder (or one of its tables) and report every problem found, not only the first.

    ``progress(done, total)`` is called after each image. Every image is decoded once. Raises DataError only when
    ``folder`` does not exist.
    """
    table = read_table(folder, strict=False)
    found = [Finding(p.file, p.message, p.row, p.landmark) for p in table.problems]
    listed = _listed_images(table)
    images = _decode_all(list(listed), progress)
    found += _image_findings(table, listed, images)
    found += _point_findings(table, images)
    found += _coinciding_findings(table)
    found += _duplicate_findings(table, listed, images)
    found += _copy_findings(table, listed, images)
    found += _split_findings(table)
    found += _label_findings(table, images)
    for swap in find_swaps([sample.points for sample in table.samples], table.landmarks):
        found.append(Finding(table.file, swap.message, table.samples[swap.index].row, swap.landmark, "warning"))
    found += _unnamed_findings(table, listed)
    found.sort(key=lambda finding: (finding.severity == "warning", finding.row or 0))
    return CheckReport(found, _summary(table, listed, images))


def _listed_images(table: Table) -> dict[Path, list[int]]:
    """Image files and the rows that name them, including rows that the reader had to drop for another problem."""
    listed: dict[Path, list[int]] = {}
    kept = {sample.row: sample.image for sample in table.samples}
    for row, name in _names(table.file):
        if row in kept or inside(name):
            listed.setdefault(kept.get(row, table.images / name), []).append(row)
    return listed


def _names(file: Path) -> Iterator[tuple[int, str]]:
    if not file.is_file():
        return
    try:
        rows = list(csv.reader(io.StringIO(read_text(file), newline="")))
    except (DataError, csv.Error):  # the reader of the table has already reported it
        return
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "image" not in header:
        return
    column = header.index("image")
    for number, cells in enumerate(rows[1:], start=2):
        if len(cells) > column and cells[column].strip():
            yield number, cells[column].strip()


def _decode_all(files: Sequence[Path], progress: Progress | None) -> dict[Path, _Image]:
    out: dict[Path, _Image] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for done, (file, image) in enumerate(zip(files, pool.map(_decode, files), strict=True), start=1):
            out[file] = image
            if progress is not None:
                progress(done, len(files))
    return out


def _decode(file: Path) -> _Image:
    try:
        image = read_image(file)
    except DataError as error:
        return _Image(damage=str(error).removeprefix(f"{file}: "))
    look = look_text(look_of(image.pixels))
    return _Image(image.width, image.height, pixel_hash(image), look, image.spacing_mm is not None)


def _image_findings(table: Table, listed: dict[Path, list[int]], images: dict[Path, _Image]) -> Iterator[Finding]:
    for file, rows in listed.items():
        if images[file].damage:
            message = images[file].damage if file.exists() else "expected an image file, got none there; check the name"
            yield Finding(file, message, rows[0])


def _point_findings(table: Table, images: dict[Path, _Image]) -> Iterator[Finding]:
    """Points outside their image: an error when most are, as in loading (it was resized); else warnings."""
    for sample in table.samples:
        image = images.get(sample.image, _Image())
        if not image.width:
            continue
        wrong_size = size_problem(sample, image.height, image.width)
        if wrong_size is not None:
            yield Finding(sample.image, wrong_size, sample.row)
            if not table.instances:  # one instance of several: its image may well be the right one
                continue
        # One pixel beyond the outermost pixel centre is allowed: a point may sit on the very edge of the picture.
        beyond = (sample.points < -1) | (sample.points > np.array([image.width, image.height]))
        for k in np.flatnonzero(beyond.any(axis=1)):
            x, y = sample.points[k]
            message = f"expected a point inside the image of {image.width} x {image.height}, got ({x:g}, {y:g})"
            fix = "; correct it, or blank its cells if it cannot be seen"
            yield Finding(sample.image, message + fix, sample.row, table.landmarks.names[k], "warning")


def _coinciding_findings(table: Table) -> Iterator[Finding]:
    """The same landmark of two instances on one pixel: most likely one instance annotated twice."""
    first: dict[tuple[Path, int, int, int], Sample] = {}
    for sample in table.samples if table.instances else ():
        for k in np.flatnonzero(sample.visibility > 0):
            x, y = (int(value) for value in np.rint(sample.points[k]))
            other = first.setdefault((sample.image, int(k), x, y), sample)
            if other is not sample:
                message = f"expected each instance elsewhere, got the pixel ({x}, {y}) of instance '{other.instance}'"
                fix = f" (row {other.row}) again; remove one, or correct it"
                yield Finding(table.file, message + fix, sample.row, table.landmarks.names[k], "warning")


def _duplicate_findings(table: Table, listed: dict[Path, list[int]], images: dict[Path, _Image]) -> Iterator[Finding]:
    """The same picture under two names: an error across splits (the measure would be of training data)."""
    splits = {sample.row: sample.split for sample in table.samples}
    first: dict[str, Path] = {}
    for file, image in images.items():
        if not image.digest:
            continue
        twin = first.setdefault(image.digest, file)
        if twin == file:
            continue
        row, other = listed[file][0], listed[twin][0]
        a, b = splits.get(row, ""), splits.get(other, "")
        where = f"same picture as {twin.name} (row {other})"
        if a != b:
            yield Finding(file, f"{where}, which is in split '{b}' while this is in '{a}'; keep one", row)
        else:
            yield Finding(file, f"{where}; keep one", row, severity="warning")


def _copy_findings(table: Table, listed: dict[Path, list[int]], images: dict[Path, _Image]) -> Iterator[Finding]:
    """Pictures that look like copies of one in another split: other grey values, size or compression."""
    splits = {sample.row: sample.split for sample in table.samples}
    of_split: dict[str, list[Path]] = {}
    for file, image in images.items():
        if image.look:
            of_split.setdefault(splits.get(listed[file][0], ""), []).append(file)
    earlier: list[Path] = []
    found = []
    for split, files in of_split.items():
        place, best = nearest(*(stack_looks([images[file].look for file in part]) for part in (files, earlier)))
        for file, at, alike in zip(files, place, best, strict=True):
            if alike >= COPY and images[earlier[at]].digest != images[file].digest:  # equal ones have been told
                twin = earlier[at]
                other = listed[twin][0]
                message = (
                    f"looks like a copy of {twin.name} (row {other}), which is in split '{splits.get(other, '')}' "
                    f"while this is in '{split}' (similarity {alike:.2f}); keep one, or put both in one split"
                )
                found.append(Finding(file, message, listed[file][0], severity="warning"))
        earlier += files
    yield from found[:_LISTED]
    if len(found) > _LISTED:
        message = f"{len(found) - _LISTED} more images that look like copies of images in another split"
        yield Finding(table.images, message, severity="warning")


def _split_findings(table: Table) -> Iterator[Finding]:
    rows: dict[str, dict[str, int]] = {}
    for sample in table.samples:
        if sample.subject and sample.split:
            rows.setdefault(sample.subject, {}).setdefault(sample.split, sample.row)
    for subject, places in rows.items():
        if len(places) > 1:
            where = ", ".join(f"'{split}' (row {row})" for split, row in places.items())
            fix = "put it in one ('trigpoint data split' does)"
            message = f"expected subject '{subject}' in one split, got {where}; {fix}"
            yield Finding(table.file, message, max(places.values()))
    used = {sample.split for sample in table.samples}
    if used - {""}:
        for sample in table.samples:
            if not sample.split:
                message = "expected a split, got a blank cell, so no split uses this row; fill it in"
                yield Finding(table.file, message, sample.row, severity="warning")
        for split in ("train", "val", "test"):
            if split not in used:
                message = f"no row is in split '{split}'; 'trigpoint data split' makes one"
                yield Finding(table.file, message, severity="warning")


def _label_findings(table: Table, images: dict[Path, _Image]) -> Iterator[Finding]:
    never = [not any(sample.visibility[k] > 0 for sample in table.samples) for k in range(len(table.landmarks))]
    for k, (name, share) in enumerate(_unlabelled(table.samples, table.landmarks.names).items()):
        if never[k]:
            message = "annotated in no row, so it cannot be learned; annotate it or drop its columns"
            yield Finding(table.file, message, landmark=name, severity="warning")
        elif share >= _SPARSE:
            message = f"not annotated in {100 * share:.0f} % of the rows"
            yield Finding(table.file, message, landmark=name, severity="warning")
    for sample in table.samples:
        if not np.isfinite(sample.points).any() and not table.instances:
            message = "no landmark is annotated, so the row teaches and measures nothing"
            yield Finding(table.file, message, sample.row, severity="warning")
    known = [sample for sample in table.samples if _has_spacing(table, sample, images)]
    if 0 < len(known) < len(table.samples):
        missing = next(sample.row for sample in table.samples if not _has_spacing(table, sample, images))
        message = (
            f"{len(known)} of {len(table.samples)} rows have a pixel spacing; without all, no error is given in mm"
        )
        yield Finding(table.file, message, missing, severity="warning")


def _unnamed_findings(table: Table, listed: dict[Path, list[int]]) -> Iterator[Finding]:
    if not table.images.is_dir() or not table.file.is_file():
        return
    named = {file.resolve() for file in listed}
    present = sorted(file for file in table.images.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    left = [file for file in present if file.resolve() not in named]
    for file in left[:_LISTED]:
        yield Finding(file, "no row names this image; add a row or move it away", severity="warning")
    if len(left) > _LISTED:
        message = f"{len(left) - _LISTED} more images that no row names ({len(left)} of {len(present)})"
        yield Finding(table.images, message, severity="warning")


def _has_spacing(table: Table, sample: Sample, images: dict[Path, _Image]) -> bool:
    stated = table.spacing_mm is not None or sample.spacing_mm is not None
    return stated or images.get(sample.image, _Image()).spacing


def _unlabelled(samples: Sequence[Sample], names: Sequence[str]) -> dict[str, float]:
    if not samples:
        return {}
    missing = np.mean([sample.visibility == 0 for sample in samples], axis=0)
    return {name: float(share) for name, share in zip(names, missing, strict=True)}


def _summary(table: Table, listed: dict[Path, list[int]], images: dict[Path, _Image]) -> Summary:
    sizes = sorted(((i.width, i.height) for i in images.values() if i.width), key=lambda size: size[0] * size[1])
    splits = [sample.split or "(none)" for sample in table.samples]
    return Summary(
        name=table.name,
        rows=sum(len(rows) for rows in listed.values()),
        images=len(listed),
        landmarks=len(table.landmarks),
        subjects=len({sample.subject for sample in table.samples if sample.subject}),
        splits={split: splits.count(split) for split in dict.fromkeys(splits)},
        unlabelled=_unlabelled(table.samples, table.landmarks.names),
        smallest=sizes[0] if sizes else None,
        largest=sizes[-1] if sizes else None,
        with_spacing=sum(_has_spacing(table, sample, images) for sample in table.samples),
    )
