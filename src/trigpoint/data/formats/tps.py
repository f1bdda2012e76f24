"""tps files of tpsDig and the other morphometric programs: specimens one after another, y counted upwards, no names."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, read_text, shown, write_text
from trigpoint.data.formats.base import Format, annotation_files, default_names
from trigpoint.data.formats.collected import ABSENT, NOT_ANNOTATED, Collected, Mark
from trigpoint.data.pixels.images import image_size
from trigpoint.data.table import format_number, format_place
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import Sample

_Y = ("up", "up0", "down")
_MM = {"mm": 1.0, "cm": 10.0, "um": 1e-3, "inch": 25.4}  # millimetres of a unit that SCALE may count
_KEY = re.compile(r"^([A-Za-z][A-Za-z0-9_]*)\s*=\s*(.*)$")
_BLANK = ("na", "nan")
_MOST = 100_000  # landmarks of a specimen


@dataclass
class _Specimen:
    line: int
    points: list[tuple[float, float]] = field(default_factory=list)  # as written, NaN = missing
    keys: dict[str, str] = field(default_factory=dict)
    curves: int = 0  # points of curves and outlines, which are not read


class Tps(Format):
    """Points in the order of the file, named by ``names`` (default p00, p01, ...); each ``LM=`` begins a specimen.

    x counts from the left, y from the bottom, and the images' heights are needed: row = height - y (``y=up``), the rule
    of those who convert tpsDig's files (ml-morph); tpsDig itself does not say whether its lowest row is 0 or 1, so an
    offset of a pixel can remain. ``y=up0``: row = height - 1 - y. ``y=down``: y is the row, as ImageJ's and some R
    packages' files have it. x and rows count from 0 at the centre of the top-left pixel.

    Missing is ``NA``, ``nan`` or two negative numbers; it is written as ``-1 -1``. A single negative number is a point
    outside the image. ``SCALE=`` is the length of a pixel; the file does not say in what, so that it is only used with
    ``unit`` (mm, cm, um, inch). Several specimens with one ``IMAGE=`` are instances, named by ``ID=`` if those differ,
    else 1, 2, ...; one with ``LM=0`` says that the image shows none. CURVES, OUTLINES, other keys and ``LM3=`` are
    not read: the first are told, LM3 is refused. Visibility, split, subject, pairs and groups are not stored.
    """

    def __init__(self, names: Sequence[str] | None = None, y: str = "up", unit: str | None = None) -> None:
        if y not in _Y:
            raise ConfigError(f"tps: y: unknown direction '{y}'; {did_you_mean(str(y), _Y)}")
        if unit is not None and unit not in _MM:
            raise ConfigError(f"tps: unit: unknown unit '{unit}'; {did_you_mean(str(unit), _MM)}")
        self.names = None if names is None else tuple(names)
        self.y, self.unit = y, unit

    @property
    def keeps(self) -> Collection[str]:
        return () if self.unit is None else ("spacing_mm",)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one ``.tps`` file or a folder of them; images are opened for their heights. Raises DataError."""
        _, folder, files = annotation_files(source, ".tps", images)
        specimens = [(file, one) for file in files for one in _specimens(file)]
        most = max((len(one.points) for _, one in specimens), default=0)
        names = default_names(most) if self.names is None else self.names
        found = Collected(Path(source), folder, names)
        unscaled, unknown = 0, Counter[str]()
        rows: dict[Path, list[tuple[Path, _Specimen]]] = {}
        for file, one in specimens:
            unscaled += "scale" in one.keys and self.unit is None
            unknown.update(one.keys.keys() - {"lm", "image", "id", "scale", "comment"})
            if len(one.points) > len(names):
                where = f"{file}, line {one.line}"
                raise DataError(f"{where}: expected {len(names)} landmarks, got LM={len(one.points)}; name all of them")
            if not one.keys.get("image"):
                found.problem(file, "a specimen without IMAGE= is left out", row=one.line)
            else:
                rows.setdefault(_image(found, file, one), []).append((file, one))
        many = any(len(ones) > 1 for ones in rows.values())
        for image, ones in rows.items():
            ids = [one.keys.get("id", "") for _, one in ones]
            told = len(set(ids)) == len(ids) and all(ids)
            for order, (file, one) in enumerate(ones):
                instance = (ids[order] if told else str(order + 1)) if many and not np.isnan(one.points).all() else ""
                self._add(found, file, one, image, instance, ABSENT if many and not one.points else 0)
        if unscaled:
            fix = "say it with: --option unit=mm (or cm, um, inch)"
            found.problem(Path(source), f"SCALE of {unscaled} specimens is not used, its unit is not known; {fix}")
        if curves := sum(one.curves for _, one in specimens):
            found.problem(Path(source), f"{curves} points of curves and outlines are left out, only LM= is read")
        for key, count in unknown.items():
            found.problem(Path(source), f"the key {key.upper()} of {count} specimens is not read")
        found.tell_turned("tpsDig, as far as is known,")
        return found.dataset()

    def _add(self, found: Collected, file: Path, one: _Specimen, image: Path, instance: str, blank: int) -> None:
        points = one.points
        if self.y != "down" and not np.isnan(points).all():
            try:
                height = _height(image) - (self.y == "up0")
            except DataError as error:
                found.problem(file, f"a specimen is left out, since y needs its image's height: {error}", row=one.line)
                return
            points = [(x, height - y) for x, y in points]
        names = list(found.names)
        if 0 < len(points) < len(names):
            found.problem(file, f"{len(points)} of {len(names)} landmarks: the last are not annotated", row=one.line)
        marks = {
            name: NOT_ANNOTATED if np.isnan(x) else Mark(x, y) for name, (x, y) in zip(names, points, strict=False)
        }
        spacing = None
        if self.unit is not None and "scale" in one.keys:
            scale = number(one.keys["scale"].replace(",", "."))
            if scale is None or not 0 < scale * _MM[self.unit] < np.inf:
                found.problem(file, f"SCALE: expected a number above 0, got {shown(one.keys['scale'])}", row=one.line)
            else:
                spacing = scale * _MM[self.unit]
        found.add(image, marks, instance=instance, spacing_mm=spacing, row=one.line, blank=blank)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file, in the order of the landmarks (or of ``names``); images are opened for their heights.

        ``untold`` counts images without ``SCALE=``. Raises DataError for a ``unit`` where no pixel size is known.
        """
        picked = dataset if self.names is None else dataset.pick(self.names)
        self.untold = self._unscaled(dataset)
        lines: list[str] = []
        for index, sample in enumerate(picked.samples):
            name = picked.image_name(sample)
            none = dataset.instances and (sample.visibility == ABSENT).all()
            points = [] if none else self._text(sample)
            scale = []
            if self.unit is not None and sample.spacing_mm is not None:
                across, down = sample.spacing_mm
                if across != down:
                    expected = "expected square pixels, for tps has one SCALE"
                    raise DataError(f"{sample.image}: {expected}, got {across:g} x {down:g} mm; leave out unit")
                size = float(f"{across / _MM[self.unit]:.12g}")  # 12 digits: what rounding leaves is not written
                scale = [f"SCALE={format_number(size)}"]
            own = sample.instance if dataset.instances and sample.instance else str(index)
            if any(letter in name + own for letter in "\r\n"):
                raise DataError(f"{sample.image}: expected names without line breaks, as tps needs; rename it")
            lines += [f"LM={len(points)}", *points, f"IMAGE={name}", f"ID={own}", *scale]
        return [write_text(target, "\n".join([*lines, ""]), overwrite=overwrite)]

    def _unscaled(self, dataset: LandmarkDataset) -> list[str]:
        """What ``unit`` asks for and the set does not know."""
        if self.unit is None or not dataset.samples:
            return []
        sized = [sample.spacing_mm is not None for sample in dataset.samples]
        if not any(sized):
            fix = "state spacing_mm in dataset.yaml or the table, or leave out unit"
            raise DataError(f"{dataset.name}: unit={self.unit}: expected images of known pixel size, got none; {fix}")
        if all(sized):
            return []
        return [f"{sized.count(False)} of {len(sized)} specimens have no SCALE=, their pixel size is not known"]

    def _text(self, sample: Sample) -> list[str]:
        height = 0 if self.y == "down" else image_size(sample.image)[0] - (self.y == "up0")
        out = []
        for x, row in sample.points:
            y = row if self.y == "down" else height - row
            if x < 0 and y < 0:
                where = f"{sample.image}, row {sample.row}"
                raise DataError(f"{where}: expected a point that tps can store, got one left of and below the image")
            out.append("-1 -1" if np.isnan(x) else f"{format_place(float(x))} {format_place(float(y))}")
        return out


@cache
def _height(image: Path) -> int:
    return image_size(image)[0]


def _image(found: Collected, file: Path, one: _Specimen) -> Path:
    try:
        return found.image.alike(one.keys["image"])
    except DataError as error:
        raise DataError(f"{file}, line {one.line}: IMAGE: {error}") from None


def _specimens(file: Path) -> list[_Specimen]:
    """The specimens of a file. Raises DataError with file and line."""
    out: list[_Specimen] = []
    lines = list(enumerate(read_text(file).splitlines(), start=1))
    at = 0
    while at < len(lines):
        line, text = lines[at][0], lines[at][1].strip()
        at += 1
        if not text:
            continue
        found = _KEY.match(text)
        if found is None:
            raise DataError(f"{file}, line {line}: expected KEY=VALUE, such as LM=12, got {shown(text[:60])}")
        key, value = found[1].lower(), found[2].strip()
        if key == "lm3":
            raise DataError(f"{file}, line {line}: expected landmarks of images (LM=), got LM3=, which has three axes")
        if key == "lm":
            out.append(_Specimen(line))
        if not out:
            raise DataError(f"{file}, line {line}: expected LM= first, got {found[1]}=; is it a tps file?")
        if key in ("lm", "points"):
            count = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
            if not 0 <= count <= min(_MOST, len(lines) - at):
                raise DataError(
                    f"{file}, line {line}: expected a number of points and so many lines, got {shown(text)}"
                )
            points = [_point(file, *lines[at + step]) for step in range(count)]
            at += count
            out[-1].points += points if key == "lm" else []
            out[-1].curves += count if key == "points" else 0
        elif key not in ("curves", "outlines"):
            out[-1].keys.setdefault(key, value)
    if not out:
        raise DataError(f"{file}: expected specimens that begin with LM=, got none; is it a tps file?")
    return out


def _point(file: Path, line: int, text: str) -> tuple[float, float]:
    cells = text.split()
    if len(cells) == 2 and any(cell.lower() in _BLANK for cell in cells):
        return np.nan, np.nan
    values = [number(cell) for cell in cells]
    if len(values) != 2 or values[0] is None or values[1] is None:
        raise DataError(f"{file}, line {line}: expected 'x y', got {shown(text[:60])}")
    if values[0] < 0 and values[1] < 0:
        return np.nan, np.nan
    return values[0], values[1]
