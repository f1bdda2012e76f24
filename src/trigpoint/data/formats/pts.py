"""300-W and ibug ``.pts``: one text file per image, points counted from 1, no names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import read_text
from trigpoint.data.formats.base import (
    annotation_files,
    default_names,
    image_of,
    number,
    refuse_instances,
    write_per_image,
)
from trigpoint.data.table import format_number
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample

FIRST_PIXEL = (
    1.0  # the centre of the top-left pixel is (1, 1) in a .pts file (Matlab); this is the only place that says so
)
_HEADER = re.compile(r"^(version|n_points)\s*:\s*([0-9]{1,9})$")


class Pts:
    """Points in the order of the file, named by ``names`` (default p00, p01, ...).

    A missing landmark is written and read as ``nan nan``, since the format has no sign of its own for it. Occluded
    points come back as visible; split, subject, pairs and groups are not stored.
    """

    keeps_names: ClassVar[bool] = False
    keeps_missing: ClassVar[bool] = True
    keeps_visibility: ClassVar[bool] = False
    keeps_instances: ClassVar[bool] = False
    one_file: ClassVar[bool] = False

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = None if names is None else tuple(names)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one ``.pts`` file or a folder of them. Raises DataError with file and line."""
        root, files = annotation_files(Path(source), ".pts")
        folder = root if images is None else Path(images)
        names = self.names
        samples = []
        for file in files:
            points = _parse(file)
            names = default_names(len(points)) if names is None else names
            if len(points) != len(names):
                raise DataError(
                    f"{file}: expected {len(names)} points, got {len(points)}; all files need the same landmarks"
                )
            visibility = np.where(np.isnan(points[:, 0]), 0, 2).astype(np.int64)
            samples.append(Sample(image_of(file, root, folder), points, visibility))
        return LandmarkDataset(samples, LandmarkSet(names or ()), name=root.name, images=folder, table=Path(source))

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``, in the order of the landmarks (or of ``names``)."""
        refuse_instances(dataset, "pts")
        data = dataset if self.names is None else dataset.pick(self.names)
        texts = ((sample, _text(sample.points)) for sample in data.samples)
        return write_per_image(data, Path(target), ".pts", texts, overwrite=overwrite)


def _text(points: FloatArray) -> str:
    lines = [" ".join(format_number(value) or "nan" for value in point) for point in points + FIRST_PIXEL]
    return "\n".join(["version: 1", f"n_points: {len(points)}", "{", *lines, "}", ""])


def _parse(file: Path) -> FloatArray:
    count: int | None = None
    points: list[tuple[float, float]] = []
    state = "head"
    for line, raw in enumerate(read_text(file).splitlines(), start=1):
        text = raw.strip()
        if not text:
            continue
        if state == "head" and text == "{":
            state = "points"
        elif state == "head":
            found = _HEADER.match(text)
            if found is None:
                raise DataError(
                    f"{file}, line {line}: expected 'version: 1', 'n_points: <n>' or '{{', got {text[:40]!r}"
                )
            count = int(found[2]) if found[1] == "n_points" else count
        elif state == "points" and text == "}":
            state = "end"
        elif state == "points":
            points.append(_point(file, line, text))
        else:
            raise DataError(f"{file}, line {line}: expected nothing after '}}', got {text[:40]!r}")
    if state != "end":
        raise DataError(
            f"{file}, line {line if points or count else 1}: expected '{{ points }}', got the end of the file"
        )
    if count is not None and count != len(points):
        raise DataError(f"{file}: expected n_points: {count} points, got {len(points)}; the file is cut or edited")
    if not points:
        raise DataError(f"{file}: expected points, got none")
    return np.array(points, dtype=np.float64) - FIRST_PIXEL


def _point(file: Path, line: int, text: str) -> tuple[float, float]:
    cells = text.split()
    if [cell.lower() for cell in cells] == ["nan", "nan"]:
        return np.nan, np.nan
    values = [number(cell) for cell in cells]
    if len(values) != 2 or values[0] is None or values[1] is None:
        raise DataError(f"{file}, line {line}: expected 'x y', got {text[:40]!r}")
    return values[0], values[1]
