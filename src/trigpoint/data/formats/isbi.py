"""ISBI 2015 cephalograms, and text files like theirs: one ``.txt`` per image with lines ``x,y``, doctors in folders."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.files import number, read_text
from trigpoint.data.formats.base import Format, Parsed, default_names, read_per_image, write_per_image
from trigpoint.data.table import format_number
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample, Spacing, spacing_pair

Annotator = Literal["mean", "senior", "junior"]
NAMES = (
    "sella", "nasion", "orbitale", "porion", "subspinale_A", "supramentale_B", "pogonion", "menton", "gnathion",
    "gonion", "lower_incisal_incision", "upper_incisal_incision", "upper_lip", "lower_lip", "subnasale",
    "soft_tissue_pogonion", "posterior_nasal_spine", "anterior_nasal_spine", "articulare",
)  # fmt: skip


class Isbi(Format):
    """The 19 landmarks of the challenge, in its order, or any number of others.

    ``names`` names the points in the order of the lines; without it, 19 are those of the challenge and others are
    p00, p01, ... ``annotator`` chooses the doctor, or the mean of both (default, when the source holds a folder of
    each, such as ``400_senior`` and ``400_junior``; a folder of ``.txt`` files is read as it is). Coordinates are
    taken as pixels counted from 0 and are not shifted. ``spacing_mm`` states the pixel size (0.1 for the challenge's
    images). Lines of one number after the points, such as the eight of the challenge's diagnosis, are skipped.

    The format cannot say that a landmark is missing, so such a dataset is refused; occluded points come back as
    visible; split, subject, pairs and groups are not stored.
    """

    def __init__(
        self,
        annotator: Annotator | None = None,
        spacing_mm: float | Spacing | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if annotator is not None and annotator not in get_args(Annotator):
            raise DataError(f"isbi annotator: expected mean, senior or junior, got '{annotator}'")
        self.annotator = annotator
        self.spacing_mm = spacing_pair(spacing_mm, "isbi spacing_mm")
        self.names = None if names is None else tuple(names)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read a folder of ``.txt`` files, or one with a folder per doctor. Raises DataError with file and line."""
        root = Path(source)
        folders = self._folders(root)

        def parse(file: Path) -> Parsed:
            both = [folder / file.relative_to(folders[0]) if folder.is_dir() else folder for folder in folders]
            points = [_parse(one, None if self.names is None else len(self.names)) for one in both]
            if len({len(each) for each in points}) > 1:
                got = " and ".join(str(len(each)) for each in points)
                raise DataError(f"{file}: expected as many points of both doctors, got {got}")
            default = NAMES if len(points[0]) == len(NAMES) else default_names(len(points[0]))
            return Parsed(LandmarkSet(self.names or default), np.mean(points, axis=0))

        given = root if images is None else images
        found = read_per_image(folders[0], ".txt", given, parse, spacing_mm=self.spacing_mm)
        problems = list(found.problems)
        if self.names is None and found.landmarks.names != NAMES:
            what = f"{len(found.landmarks)} points, where the challenge has {len(NAMES)}; they are called p00, p01, ..."
            problems.append(Problem(root, f"{what}: name them with --names"))
        return replace(found, name=root.name, table=root, spacing_mm=self.spacing_mm, problems=problems)

    def _folders(self, root: Path) -> list[Path]:
        """The doctors' folders to average, or ``root`` itself when it has none."""
        doctors = {who: sorted(p for p in root.rglob(f"*{who}*") if p.is_dir()) for who in ("senior", "junior")}
        if any(doctors.values()):
            wanted = ("senior", "junior") if self.annotator in (None, "mean") else (str(self.annotator),)
            for who in wanted:
                if len(doctors[who]) != 1:
                    raise DataError(f"{root}: expected one folder '*{who}*', got {len(doctors[who])}; name one doctor")
            return [doctors[who][0] for who in wanted]
        if self.annotator is not None:
            expected = f"expected a folder per doctor to take '{self.annotator}'"
            raise DataError(f"{root}: {expected}, got none; leave the annotator out")
        return [root]

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``: the landmarks ``names``, else the challenge's where the
        dataset has some of them, else all in their order."""
        own = dataset.landmarks.names
        names = self.names or (NAMES if set(own) & set(NAMES) else own)
        return write_per_image(dataset, target, ".txt", lambda sample: _text(sample, names), names, overwrite=overwrite)


def _text(sample: Sample, names: Sequence[str]) -> str:
    for name, seen in zip(names, sample.visibility, strict=True):
        if not seen:
            where = f"{sample.image}, row {sample.row}, landmark '{name}'"
            fix = "isbi cannot store a missing point"
            raise DataError(f"{where}: expected all {len(names)} points, got none here; {fix}")
    return "".join(f"{format_number(x)},{format_number(y)}\n" for x, y in sample.points)


def _parse(file: Path, count: int | None) -> FloatArray:
    """(count, 2), or as many points as there are lines ``x,y``."""
    if not file.is_file():
        fix = "take one doctor instead of the mean"
        raise DataError(f"{file}: expected both doctors to have this file, got none; {fix}")
    points: list[list[float]] = []
    after = False  # the diagnosis, one number a line
    for line, raw in enumerate(read_text(file).rstrip().splitlines(), start=1):
        values = [number(cell.strip()) for cell in raw.split(",")]
        after = after or (bool(points) and len(values) == 1 and values[0] is not None)
        if after and (len(values) != 1 or (raw.strip() and values[0] is None)):
            raise DataError(f"{file}, line {line}: expected a diagnosis number after the points, got {raw[:40]!r}")
        if not after and (len(values) != 2 or values[0] is None or values[1] is None):
            raise DataError(f"{file}, line {line}: expected 'x,y', got {raw[:40]!r}")
        if not after:
            points.append([value for value in values if value is not None])
    if not points or count not in (None, len(points)):
        wanted = f"{count} lines 'x,y'" if count else "lines 'x,y'"
        raise DataError(f"{file}, line {len(points) + 1}: expected {wanted}, got {len(points)}")
    return np.array(points, dtype=np.float64)
