"""Every problem of a dataset folder in one pass: the table, the image files, the annotations, the splits.

An error makes training refuse the dataset or the measured numbers wrong; a warning is for a person to look at.
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trigpoint.data.dataset import size_problem
from trigpoint.data.description import Problem
from trigpoint.data.files import Progress, sound_text
from trigpoint.data.pixels.images import is_image, read_image
from trigpoint.data.quality.fingerprint import COPY, look_of, look_text, nearest, pixel_hash, stack_looks
from trigpoint.data.quality.swaps import find_swaps
from trigpoint.data.table import Table, read_table
from trigpoint.errors import DataError
from trigpoint.landmarks import Sample

_LISTED = 20  # of files that no row names; the rest are counted
_SPARSE = 0.5  # unlabelled share of a landmark from which a warning is due


@dataclass(frozen=True)
class Finding(Problem):
    """A problem with its weight: "error" or "warning"."""

    severity: Literal["error", "warning"] = "error"


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
        problems = [asdict(problem) | {"file": str(problem.file)} for problem in self.problems]
        return {"ok": self.ok, "problems": problems, "summary": asdict(self.summary)}


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
    images: dict[Path, _Image] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for file, image in zip(table.listed, pool.map(_decode, table.listed), strict=True):
            images[file] = image
            if progress is not None:
                progress(len(images), len(table.listed))
    checks = _Checks(table, images)
    checks.image_files()
    checks.points()
    checks.coinciding_points()
    checks.same_pictures()
    checks.copies()
    checks.subjects_and_splits()
    checks.labels()
    for swap in find_swaps([sample.points for sample in table.samples], table.landmarks):
        checks.warn(table.table, swap.message, table.samples[swap.index].row, swap.landmark)
    checks.unnamed_images()
    found = sorted(checks.found, key=lambda finding: (finding.severity == "warning", finding.row or 0))
    return CheckReport(found, checks.summary())


def _decode(file: Path) -> _Image:
    try:
        image = read_image(file)
    except DataError as error:
        return _Image(damage=str(error).removeprefix(f"{file}: "))
    look = look_text(look_of(image.pixels))
    return _Image(image.width, image.height, pixel_hash(image), look, image.spacing_mm is not None)


class _Checks:
    """What is known of a dataset; each check adds what it finds wrong to ``found``."""

    def __init__(self, table: Table, images: dict[Path, _Image]) -> None:
        self.table, self.images = table, images
        self.first_row = {file: rows[0] for file, rows in table.listed.items()}
        splits = {sample.row: sample.split for sample in table.samples}
        self.split = {file: splits.get(row, "") for file, row in self.first_row.items()}
        self.spaced = [any((table.spacing_mm, s.spacing_mm, images[s.image].spacing)) for s in table.samples]
        missing = [sample.visibility == 0 for sample in table.samples]
        shares = np.mean(missing, axis=0).tolist() if missing else []
        self.unlabelled: dict[str, float] = dict(zip(table.landmarks.names, shares, strict=False))
        self.found = [Finding(p.file, p.message, p.row, p.landmark) for p in table.problems]

    def error(self, file: Path, message: str, row: int | None = None) -> None:
        self.found.append(Finding(file, message, row))

    def warn(self, file: Path, message: str, row: int | None = None, landmark: str | None = None) -> None:
        self.found.append(Finding(file, message, row, landmark, "warning"))

    def warn_of_first(self, warnings: Sequence[tuple[Path, str, int | None]], rest: str) -> None:
        """Warn of the first ones (image, message, row) and count the rest."""
        for warning in warnings[:_LISTED]:
            self.warn(*warning)
        if len(warnings) > _LISTED:
            self.warn(self.table.images, f"{len(warnings) - _LISTED} more images {rest}")

    def named(self, image: Path) -> str:
        return f"{image.name} (row {self.first_row[image]}), which is in split '{self.split[image]}'"

    def image_files(self) -> None:
        for file, row in self.first_row.items():
            if damage := self.images[file].damage:
                gone = "expected an image file, got none there; check the name"
                self.error(file, damage if file.exists() else gone, row)

    def points(self) -> None:
        """Points outside their image: an error when most are, as in loading (it was resized); else warnings."""
        for sample in self.table.samples:
            image = self.images[sample.image]
            if not image.width:
                continue
            wrong_size = size_problem(sample, image.height, image.width)
            if wrong_size is not None:
                self.error(sample.image, wrong_size, sample.row)
                if not self.table.instances:  # one instance of several: its image may well be the right one
                    continue
            # One pixel beyond the outermost pixel centre is allowed: a point may sit on the very edge of the picture.
            beyond = (sample.points < -1) | (sample.points > np.array([image.width, image.height]))
            for k in np.flatnonzero(beyond.any(axis=1)):
                x, y = sample.points[k]
                message = f"expected a point inside the image of {image.width} x {image.height}, got ({x:g}, {y:g})"
                fix = "; correct it, or blank its cells if it cannot be seen"
                self.warn(sample.image, message + fix, sample.row, self.table.landmarks.names[k])

    def coinciding_points(self) -> None:
        """The same landmark of two instances on one pixel: most likely one instance annotated twice."""
        first: dict[tuple[Path, int, int, int], Sample] = {}
        for sample in self.table.samples if self.table.instances else ():
            for k in np.flatnonzero(sample.visibility > 0):
                x, y = (int(value) for value in np.rint(sample.points[k]))
                other = first.setdefault((sample.image, int(k), x, y), sample)
                if other is not sample:
                    got = f"got the pixel ({x}, {y}) of instance '{other.instance}' (row {other.row}) again"
                    message = f"expected each instance elsewhere, {got}; remove one, or correct it"
                    self.warn(self.table.table, message, sample.row, self.table.landmarks.names[k])

    def same_pictures(self) -> None:
        """The same picture under two names: an error across splits (the measure would be of training data)."""
        first: dict[str, Path] = {}
        for file, image in self.images.items():
            twin = first.setdefault(image.digest, file)
            if not image.digest or twin == file:
                continue
            same, row = f"same picture as {self.named(twin)}", self.first_row[file]
            if self.split[file] != self.split[twin]:
                self.error(file, f"{same} while this is in '{self.split[file]}'; keep one", row)
            else:
                self.warn(file, f"{same}; keep one", row)

    def copies(self) -> None:
        """Pictures that look like copies of one in another split: other grey values, size or compression."""
        images = self.images
        whole = [file for file, image in images.items() if image.look]
        earlier: list[Path] = []
        found: list[tuple[Path, str, int | None]] = []
        for split in dict.fromkeys(self.split[file] for file in whole):
            files = [file for file in whole if self.split[file] == split]
            place, best = nearest(*(stack_looks([images[file].look for file in part]) for part in (files, earlier)))
            for file, at, alike in zip(files, place, best, strict=True):
                if alike >= COPY and images[earlier[at]].digest != images[file].digest:  # equal ones have been told
                    looks = f"looks like a copy of {self.named(earlier[at])} while this is in '{split}'"
                    fix = f"(similarity {alike:.2f}); keep one, or put both in one split"
                    found.append((file, f"{looks} {fix}", self.first_row[file]))
            earlier += files
        self.warn_of_first(found, "that look like copies of images in another split")

    def subjects_and_splits(self) -> None:
        file, samples = self.table.table, self.table.samples
        rows: dict[str, dict[str, int]] = {}
        for sample in samples:
            if sample.subject and sample.split:
                rows.setdefault(sample.subject, {}).setdefault(sample.split, sample.row)
        for subject, places in rows.items():
            if len(places) > 1:
                where = ", ".join(f"'{split}' (row {row})" for split, row in places.items())
                fix = "put it in one ('trigpoint data split' does)"
                self.error(file, f"expected subject '{subject}' in one split, got {where}; {fix}", max(places.values()))
        used = {sample.split for sample in samples}
        if used - {""}:
            for sample in samples:
                if not sample.split:
                    message = "expected a split, got a blank cell, so no split uses this row; fill it in"
                    self.warn(file, message, sample.row)
            for split in ("train", "val", "test"):
                if split not in used:
                    self.warn(file, f"no row is in split '{split}'; 'trigpoint data split' makes one")

    def labels(self) -> None:
        """Landmarks and rows with few annotations, and millimetres that only some rows have."""
        file, samples = self.table.table, self.table.samples
        for k, (name, share) in enumerate(self.unlabelled.items()):
            if not any(sample.visibility[k] > 0 for sample in samples):
                message = "annotated in no row, so it cannot be learned; annotate it or drop its columns"
                self.warn(file, message, landmark=name)
            elif share >= _SPARSE:
                self.warn(file, f"not annotated in {100 * share:.0f} % of the rows", landmark=name)
        for sample in samples:
            if not np.isfinite(sample.points).any() and not self.table.instances:
                self.warn(file, "no landmark is annotated, so the row teaches and measures nothing", sample.row)
        if any(self.spaced) and not all(self.spaced):
            have = f"{sum(self.spaced)} of {len(samples)} rows have a pixel spacing"
            self.warn(file, f"{have}; without all, no error is given in mm", samples[self.spaced.index(False)].row)

    def unnamed_images(self) -> None:
        images = self.table.images
        if not images.is_dir() or not self.table.table.is_file():
            return
        named = {os.path.realpath(file) for file in self.images}  # also of links in a circle
        present = sorted(file for file in images.rglob("*") if is_image(file))
        for file in [file for file in present if not sound_text(str(file))]:
            present.remove(file)
            self.error(images, f"expected names that are UTF-8, got {os.fsencode(file.name)!r}; rename the file")
        left = [file for file in present if os.path.realpath(file) not in named]
        message = "no row names this image; add a row or move it away"
        self.warn_of_first([(f, message, None) for f in left], f"that no row names ({len(left)} of {len(present)})")

    def summary(self) -> Summary:
        sizes = [(image.width, image.height) for image in self.images.values() if image.width]
        samples = self.table.samples
        return Summary(
            name=self.table.name,
            rows=sum(len(rows) for rows in self.table.listed.values()),
            images=len(self.images),
            landmarks=len(self.table.landmarks),
            subjects=len({sample.subject for sample in samples if sample.subject}),
            splits=dict(Counter(sample.split or "(none)" for sample in samples)),
            unlabelled=self.unlabelled,
            smallest=min(sizes, key=math.prod, default=None),
            largest=max(sizes, key=math.prod, default=None),
            with_spacing=sum(self.spaced),
        )
