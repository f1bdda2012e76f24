"""300-W and ibug ``.pts``: one text file per image, points counted from 1, no names."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, read_text
from trigpoint.data.formats import base
from trigpoint.data.table import format_place
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample

FIRST_PIXEL = 1.0  # the centre of the top-left pixel is (1, 1) in a .pts file (Matlab); stated only here
_HEADER = re.compile(r"^(version|n_points)\s*:\s*([0-9]{1,9})$")


class Pts(base.Format):
    """Points in the order of the file, named by ``names`` (default p00, p01, ...).

    A missing landmark is written and read as ``nan nan``, since the format has no sign of its own for it. Occluded
    points come back as visible; split, subject, pairs and groups are not stored.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        self.names = None if names is None else tuple(names)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one ``.pts`` file or a folder of them. Raises DataError with file and line."""
        return base.read_per_image(source, ".pts", images, self._parse)

    def _parse(self, file: Path) -> base.Parsed:
        points = _points(file)
        names = base.default_names(len(points)) if self.names is None else self.names
        if len(points) != len(names):
            raise DataError(f"{file}: expected {len(names)} points as --names gives, got {len(points)}")
        return base.Parsed(LandmarkSet(names), points)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``, in the order of the landmarks (or of ``names``)."""
        return base.write_per_image(dataset, target, ".pts", _text, self.names, overwrite=overwrite)


def _text(sample: Sample) -> str:
    lines = [" ".join(format_place(value) or "nan" for value in point) for point in sample.points + FIRST_PIXEL]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, "}", ""])


def _points(file: Path) -> FloatArray:
    count: int | None = None
    lines = [(line, raw.strip()) for line, raw in enumerate(read_text(file).splitlines(), start=1) if raw.strip()]
    texts = [text for _, text in lines]
    start, end = (texts.index(brace) if brace in texts else len(texts) for brace in "{}")
    for line, text in lines[:start]:
        found = _HEADER.match(text)
        if found is None:
            expected = "'version: 1', 'n_points: <n>' or '{'"
            raise DataError(f"{file}, line {line}: expected {expected}, got {text[:40]!r}")
        count = int(found[2]) if found[1] == "n_points" else count
    points = [_point(file, line, text) for line, text in lines[start + 1 : end]]
    if end == len(texts):
        last = lines[-1][0] if lines else 1
        raise DataError(f"{file}, line {last}: expected '{{ points }}', got the end of the file")
    for line, text in lines[end + 1 :]:
        raise DataError(f"{file}, line {line}: expected nothing after '}}', got {text[:40]!r}")
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
