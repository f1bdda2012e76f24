"""ISBI 2015 cephalograms: one ``.txt`` per image with 19 lines ``x,y``, one folder per doctor."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, read_text
from trigpoint.data.formats.base import Format, read_per_image, write_per_image
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
    """The 19 landmarks of the challenge, in its order.

    ``annotator`` chooses the doctor, or the mean of both (default, when the source holds a folder of each, such as
    ``400_senior`` and ``400_junior``; a folder of ``.txt`` files is read as it is). Coordinates are taken as whole
    pixels counted from 0 and are not shifted. ``spacing_mm`` states the pixel size (0.1 for the challenge's images).
    The eight lines of diagnosis after the points are skipped.

    The format cannot say that a landmark is missing, so such a dataset is refused; occluded points come back as
    visible; split, subject, pairs and groups are not stored.
    """

    def __init__(self, annotator: Annotator | None = None, spacing_mm: float | Spacing | None = None) -> None:
        if annotator is not None and annotator not in get_args(Annotator):
            raise DataError(f"isbi annotator: expected mean, senior or junior, got '{annotator}'")
        self.annotator = annotator
        self.spacing_mm = spacing_pair(spacing_mm, "isbi spacing_mm")

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read a folder of ``.txt`` files, or one with a folder per doctor. Raises DataError with file and line."""
        root = Path(source)
        folders = self._folders(root)

        def parse(file: Path) -> tuple[LandmarkSet, FloatArray]:
            both = [folder / file.relative_to(folders[0]) if folder.is_dir() else folder for folder in folders]
            return LandmarkSet(NAMES), np.mean([_parse(one) for one in both], axis=0)

        found = read_per_image(folders[0], ".txt", root if images is None else images, parse)
        samples = [replace(sample, spacing_mm=self.spacing_mm) for sample in found.samples]
        return replace(found, samples=samples, name=root.name, table=root, spacing_mm=self.spacing_mm)

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
        """Write one file per image into the folder ``target``; the landmarks are found by their names in ``NAMES``."""
        return write_per_image(dataset, target, ".txt", _text, NAMES, overwrite=overwrite)


def _text(sample: Sample) -> str:
    for name, seen in zip(NAMES, sample.visibility, strict=True):
        if not seen:
            where = f"{sample.image}, row {sample.row}, landmark '{name}'"
            fix = "isbi cannot store a missing point"
            raise DataError(f"{where}: expected all 19 points, got none here; {fix}")
    return "".join(f"{format_number(x)},{format_number(y)}\n" for x, y in sample.points)


def _parse(file: Path) -> FloatArray:
    if not file.is_file():
        fix = "take one doctor instead of the mean"
        raise DataError(f"{file}: expected both doctors to have this file, got none; {fix}")
    points: list[list[float]] = []
    for line, raw in enumerate(read_text(file).splitlines(), start=1):
        values = [number(cell.strip()) for cell in raw.split(",")]
        if len(points) == len(NAMES):
            if raw.strip() and (len(values) != 1 or values[0] is None):
                raise DataError(f"{file}, line {line}: expected a diagnosis number after 19 points, got {raw[:40]!r}")
        elif len(values) != 2 or values[0] is None or values[1] is None:
            raise DataError(f"{file}, line {line}: expected 'x,y', got {raw[:40]!r}")
        else:
            points.append([values[0], values[1]])
    if len(points) != len(NAMES):
        raise DataError(f"{file}, line {len(points) + 1}: expected {len(NAMES)} lines 'x,y', got {len(points)}")
    return np.array(points, dtype=np.float64)
