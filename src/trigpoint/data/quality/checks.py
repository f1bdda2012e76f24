"""Every problem of a dataset folder in one pass: the table, the image files, the annotations, the splits.

An error makes training refuse the dataset or the measured numbers wrong; a warning is for a person to look at.
"""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import size_problem
from trigpoint.data.description import ProblemError, read_description
from trigpoint.data.files import Progress, sound_text
from trigpoint.data.missing import frames_problem
from trigpoint.data.pixels.folders import hidden
from trigpoint.data.pixels.frame_names import video_of
from trigpoint.data.pixels.images import is_image
from trigpoint.data.quality.copies import copy_findings
from trigpoint.data.quality.findings import CheckReport, Finding, Summary
from trigpoint.data.quality.nearby import NearbyImages
from trigpoint.data.quality.pictures import Picture, read_pictures
from trigpoint.data.quality.sentinels import find_sentinels
from trigpoint.data.quality.swaps import find_swaps
from trigpoint.data.table import Table, read_table
from trigpoint.data.table_names import exists
from trigpoint.data.videos import frames_told
from trigpoint.landmarks import Sample

__all__ = ["CheckReport", "Finding", "Summary", "check_dataset"]

_LISTED = 20  # of images without a file that get a hint, and of places that stand for "missing"
_NAMED = 5  # in a line that counts
_ORDER = {"error": 0, "warning": 1, "note": 2}
_SPARSE = 0.5  # unlabelled share of a landmark from which a warning is due


def check_dataset(
    folder: str | Path,
    progress: Progress | None = None,
    workers: int | None = None,
    images: str | Path | None = None,
) -> CheckReport:
    """Check a dataset folder (or one of its tables) and report every problem found, not only the first.

    ``progress(done, total)`` is called after each image. Every image is decoded once, in ``workers`` threads (None: as
    many as there are cores); the findings do not depend on their number. ``images``: look for the images below this
    folder instead, as ``LandmarkDataset.load`` does. Raises DataError only when ``folder`` does not exist.
    """
    table = read_table(folder, strict=False, images=images)
    checks = _Checks(table, read_pictures(table.listed, progress, workers))
    checks.annotators()
    checks.image_files()
    checks.points()
    checks.coinciding_points()
    checks.found += copy_findings(table, checks.images)
    checks.subjects()
    checks.frames()
    checks.splits()
    checks.labels()
    for swap in find_swaps([sample.points for sample in table.samples], table.landmarks):
        checks.warn(table.table, swap.message, table.samples[swap.index].row, swap.landmark)
    checks.unnamed_images()
    found = sorted(checks.found, key=lambda finding: (_ORDER[finding.severity], finding.row or 0))
    return CheckReport(found, checks.summary())


class _Checks:
    """What is known of a dataset; each check adds what it finds wrong to ``found``."""

    def __init__(self, table: Table, images: Mapping[Path, Picture]) -> None:
        self.table, self.images = table, images
        self.first_row = {file: rows[0] for file, rows in table.listed.items()}
        self.spaced = [any((table.spacing_mm, s.spacing_mm, images[s.image].spacing)) for s in table.samples]
        missing = [sample.visibility == 0 for sample in table.samples]
        shares = np.mean(missing, axis=0).tolist() if missing else []
        self.unlabelled: dict[str, float] = dict(zip(table.landmarks.names, shares, strict=False))
        self.labelled: dict[str, int] = {}
        self.found = [Finding(p.file, p.message, p.row, p.landmark) for p in table.problems]
        self.found += [Finding(p.file, p.message, p.row, p.landmark, "note") for p in table.notes]

    def error(self, file: Path, message: str, row: int | None = None) -> None:
        self.found.append(Finding(file, message, row))

    def warn(self, file: Path, message: str, row: int | None = None, landmark: str | None = None) -> None:
        self.found.append(Finding(file, message, row, landmark, "warning"))

    def warn_of_rows(self, samples: Sequence[Sample], one: str, many: str) -> None:
        """One warning of these rows: of a single one as it is, of more their number and the first ones."""
        if len(samples) == 1:
            self.warn(self.table.table, one, samples[0].row)
        elif samples:
            first = ", ".join(str(sample.row) for sample in samples[:_NAMED]) + (", ..." * (len(samples) > _NAMED))
            self.warn(self.table.table, f"{len(samples)} rows {many} (rows {first})", samples[0].row)

    def annotators(self) -> None:
        """The tables of the annotators: their problems, and how many images they have labelled."""
        try:
            about = read_description(self.table.folder, [])
        except ProblemError:  # told already
            return
        for name, file in about.annotators.items():
            place = about.folder / file
            self.labelled[name] = 0
            if place == self.table.table or not place.is_file():
                known = self.table.samples if place == self.table.table else ()
            else:
                own = read_table(place, strict=False, unlabelled=True)
                known = own.samples
                self.found += [Finding(p.file, p.message, p.row, p.landmark) for p in own.problems if p.file == place]
            self.labelled[name] = len({s.image for s in known if (s.visibility > 0).any()})

    def image_files(self) -> None:
        gone = {file: row for file, row in self.first_row.items() if not exists(file)}
        if len(gone) > 1 and (video := frames_problem(gone)):
            self.error(self.table.table, f"expected image files, {len(gone)} are missing{video}", min(gone.values()))
            gone = {}
        nearby, hints = NearbyImages(self.table.images), _LISTED
        for file, row in self.first_row.items():
            damage = self.images[file].damage
            if file in gone:
                hint, hints = (nearby.hint(file) if hints > 0 else ""), hints - 1
                self.error(file, f"expected an image file, got none there{hint or '; check the name'}", row)
            elif damage and exists(file):
                self.error(file, damage, row)

    def points(self) -> None:
        """Points outside their image: an error when most are, as in loading (it was resized); else warnings."""
        told = self._sentinels()
        for i, sample in enumerate(self.table.samples):
            image = self.images[sample.image]
            if not image.width:
                continue
            wrong_size = size_problem(sample, image.height, image.width)
            if wrong_size is not None and sample.scores is not None:
                got = "most predicted points lie outside of the image; correct them, or leave the row out"
                self.warn(sample.image, got, sample.row)
                continue
            if wrong_size is not None:
                self.error(sample.image, wrong_size, sample.row)
                if not self.table.instances:  # one instance of several: its image may well be the right one
                    continue
            # One pixel beyond the outermost pixel centre is allowed: a point may sit on the very edge of the picture.
            beyond = (sample.points < -1) | (sample.points > np.array([image.width, image.height]))
            for k in [k for k in np.flatnonzero(beyond.any(axis=1)).tolist() if (i, k) not in told]:
                x, y = sample.points[k]
                message = f"expected a point inside the image of {image.width} x {image.height}, got ({x:g}, {y:g})"
                fix = "; correct it, or blank its cells if it cannot be seen"
                self.warn(sample.image, message + fix, sample.row, self.table.landmarks.names[k])

    def _sentinels(self) -> set[tuple[int, int]]:
        """Warn of coordinates that stand for "missing"; gives the position of sample and landmark of each."""
        samples, names = self.table.samples, self.table.landmarks.names
        if not samples:
            return set()
        sizes = [(self.images[sample.image].width, self.images[sample.image].height) for sample in samples]
        found = find_sentinels(np.stack([sample.points for sample in samples]), sizes)
        for one in found[:_LISTED]:
            self.warn(self.table.table, one.message, samples[one.rows[0]].row, names[one.column])
        if len(found) > _LISTED:
            also = ", ".join(f"'{names[one.column]}'" for one in found[_LISTED : _LISTED + _NAMED])
            self.warn(self.table.table, f"{len(found) - _LISTED} more landmarks have such places: {also}, ...")
        return {(row, one.column) for one in found for row in one.rows}

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

    def subjects(self) -> None:
        """Subjects in several splits: an error, but where these splits hold no other subject, as of a single video."""
        file, samples = self.table.table, self.table.samples
        rows: dict[str, dict[str, int]] = {}
        others: dict[str, set[str]] = {}
        for sample in samples:
            if sample.subject and sample.split:
                rows.setdefault(sample.subject, {}).setdefault(sample.split, sample.row)
            others.setdefault(sample.split, set()).add(sample.subject)
        for subject, places in rows.items():
            where = ", ".join(f"'{split}' (row {row})" for split, row in places.items())
            if len(places) > 1 and all(others[split] == {subject} for split in places):
                what = "so numbers say how well other frames of it are done, not other subjects"
                message = f"subject '{subject}' is the only one in the splits {where}, {what}"
                self.warn(file, message, max(places.values()))
            elif len(places) > 1:
                fix = "put it in one ('trigpoint data split FOLDER --force' divides all rows anew by subject)"
                self.error(file, f"expected subject '{subject}' in one split, got {where}; {fix}", max(places.values()))

    def frames(self) -> None:
        """Frames of a video that no subject joins; only a note where another tool may have named other images so."""
        force = " --force" if any(sample.split for sample in self.table.samples) else ""
        told = frames_told(self.table.samples, f"'trigpoint data split FOLDER --videos{force}'")
        if told:
            certain = any(video_of(sample.image.name) for sample in self.table.samples if not sample.subject)
            self.found.append(Finding(self.table.table, told, severity="warning" if certain else "note"))

    def splits(self) -> None:
        """Rows that no split uses, and splits that are not there."""
        samples = self.table.samples
        used = {sample.split for sample in samples}
        if not used - {""}:
            return
        blank = [sample for sample in samples if not sample.split]
        fix = "fill it in ('trigpoint data split FOLDER --only-blank' does)"
        one = f"expected a split, got a blank cell, so no split uses this row; {fix}"
        self.warn_of_rows(blank, one, f"have a blank cell where a split is expected, so no split uses them; {fix}")
        for split in ("train", "val", "test"):
            if split not in used:
                fix = "'trigpoint data split FOLDER --force' divides all rows anew"
                if "train" in used:
                    some = "" if split == "test" else " --fractions train=0.85,val=0.15"
                    fix = f"'trigpoint data split FOLDER --of train{some}' keeps some of 'train' for it"
                fix = f"training draws it from the training subset, or {fix}" if split == "val" else fix
                self.warn(self.table.table, f"no row is in split '{split}'; {fix}")

    def labels(self) -> None:
        """Landmarks and rows with few annotations, and millimetres that only some rows have."""
        file, samples = self.table.table, self.table.samples
        for k, (name, share) in enumerate(self.unlabelled.items()):
            if not any(sample.visibility[k] > 0 for sample in samples):
                message = "annotated in no row, so it cannot be learned; annotate it or drop its columns"
                self.warn(file, message, landmark=name)
            elif share >= _SPARSE:
                self.warn(file, f"not annotated in {100 * share:.0f} % of the rows", landmark=name)
        empty = [] if self.table.instances else [s for s in samples if not np.isfinite(s.points).any()]
        one = "no landmark is annotated, so the row teaches and measures nothing"
        self.warn_of_rows(empty, one, "have no annotated landmark, so they teach and measure nothing")
        if any(self.spaced) and not all(self.spaced):
            have = f"{sum(self.spaced)} of {len(samples)} rows have a pixel spacing"
            self.warn(file, f"{have}; without all, no error is given in mm", samples[self.spaced.index(False)].row)

    def unnamed_images(self) -> None:
        images = self.table.images
        if not images.is_dir() or not self.table.table.is_file():
            return
        named = {os.path.realpath(file) for file in self.images}  # also of links in a circle
        present = sorted(file for file in images.rglob("*") if not hidden(file, images) and is_image(file, met=True))
        for file in [file for file in present if not sound_text(str(file))]:
            present.remove(file)
            self.error(images, f"expected names that are UTF-8, got {os.fsencode(file.name)!r}; rename the file")
        left = [file for file in present if os.path.realpath(file) not in named]
        if len(left) == 1:
            self.warn(left[0], "no row names this image; add a row or move it away")
        elif left:
            first = ", ".join(file.relative_to(images).as_posix() for file in left[:_NAMED])
            first += ", ..." * (len(left) > _NAMED)
            self.warn(
                images, f"no row names {len(left)} of {len(present)} images ({first}); add rows or move them away"
            )

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
            annotators=self.labelled,
        )
