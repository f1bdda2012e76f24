"""Markups of 3D Slicer, ``.mrk.json`` and ``.fcsv``: points in millimetres of the patient, a file per image."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import check_path, csv_text, number, open_file, read_text, shown
from trigpoint.data.formats.base import Format, annotation_files, images_of, objects, read_json, write_per_image
from trigpoint.data.formats.collected import NOT_ANNOTATED, Collected, Mark, merged_names
from trigpoint.data.pixels.placement import Placement, placement
from trigpoint.data.table import format_number, refuse_formulas
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import FloatArray, Sample

_SYSTEMS = {"LPS": 1.0, "RAS": -1.0}  # the sign of x and y against LPS, which images of ITK and DICOM count in
_NUMBERED = {"0": "RAS", "1": "LPS"}  # of files before Slicer 4.11; older ones say nothing, which is RAS
_COLUMNS = ("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label", "desc", "associatedNodeID")
_FILES = ("mrk.json", "fcsv")
_SCHEMA = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
_SCHEMA += "markups-schema-v1.0.3.json#"


class _Point(NamedTuple):
    label: str
    position: FloatArray | None  # LPS (3,), None: not placed


class Slicer(Format):
    """Landmarks by the labels of the points (F-1, F-2, ... unless renamed); ``names`` renames them in their order.

    A file belongs to the image of the same name (``a.mrk.json``, ``a.fcsv``: ``a.png``); ``images`` may also be the one
    image of a single file. Points are millimetres; RAS is turned into LPS by the signs of x and y. Slicer places a
    plain image with the centre of its first pixel at 0, pixels of 1 mm, x = column and y = row in LPS (so both are
    negative in RAS); if it took another pixel size from the file (a resolution in TIFF or JPEG), say ``spacing_mm``. A
    DICOM image lies where its tags say, with pixels that need not be square. Points more than half a slice away from
    the image's plane belong to another slice: left out and told.

    Points with the status ``undefined``, ``missing`` or ``preview`` are not annotated. Only point lists are read,
    lines, curves and the like are told; several lists in a file are instances 1, 2, ... ``file=fcsv`` writes the old
    format, which cannot say that a landmark is missing and leaves it out. Visibility, split, subject, pairs and groups
    are not stored, instances are refused.
    """

    def __init__(
        self, names: Sequence[str] | None = None, spacing_mm: float | None = None, file: str = "mrk.json"
    ) -> None:
        size = None if spacing_mm is None else number(spacing_mm)
        if spacing_mm is not None and (size is None or size <= 0):
            raise ConfigError(f"slicer: spacing_mm: expected millimetres above 0, got {shown(spacing_mm)}")
        if file not in _FILES:
            raise ConfigError(f"slicer: file: unknown kind '{file}'; {did_you_mean(str(file), _FILES)}")
        self.names = None if names is None else tuple(names)
        self.spacing_mm, self.file = size, file

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one ``.mrk.json`` or ``.fcsv`` file, or a folder of them. Raises DataError with file and point."""
        path = Path(source)
        check_path(path)
        one = Path(images) if images is not None and Path(images).is_file() else None
        if one is not None and not path.is_file():
            raise DataError(
                f"{path}: expected one file of points for the image {one}, got a folder; give --images a folder"
            )
        kinds = tuple(f".{kind}" for kind in _FILES)
        root, folder, files = annotation_files(path, kinds, one.parent if one is not None else images)
        lists = [(file, found) for file in files for found in _point_lists(file)]
        names = self.names
        if names is None:
            names = merged_names([[point.label for point in points] for _, (points, _) in lists if points])
        found = Collected(path, folder, names)
        count = Counter(file for file, (points, _) in lists if points)
        many, order = max(count.values(), default=0) > 1, Counter[Path]()
        places = dict.fromkeys(files, one) if one is not None else images_of(found, root, list(count))
        for file, (points, message) in lists:
            if message:
                found.problem(file, message)
            elif points:
                order[file] += 1
                image = places[file]
                marks = self._marks(found, file, points, self._placement(image))
                spacing = self.spacing_mm
                found.add(image, marks, instance=str(order[file]) if many else "", spacing_mm=spacing)
        found.tell_turned("3D Slicer")
        return found.dataset()

    def _marks(self, found: Collected, file: Path, points: list[_Point], place: Placement) -> dict[str, Mark]:
        if self.names is not None:
            if len(points) > len(self.names):
                raise DataError(f"{file}: expected {len(self.names)} points, got {len(points)}; name all of them")
            points = [point._replace(label=name) for point, name in zip(points, self.names, strict=False)]
        axes = np.array([place.right, place.down, np.cross(place.right, place.down)])
        marks: dict[str, Mark] = {}
        twice: set[str] = set()
        for point in points:
            if point.label in marks and point.label not in twice:
                twice.add(point.label)
                message = "expected each label once, got several points; all of them are left out"
                found.problem(file, message, landmark=point.label)
            marks[point.label] = NOT_ANNOTATED
            if point.position is None:
                continue
            x, y, z = axes @ (point.position - np.array(place.origin))
            if abs(z) > max(0.5, place.thickness / 2):
                message = f"the point lies {abs(z):.3g} mm outside the plane of the image and is left out"
                found.problem(file, message, landmark=point.label)
            else:
                marks[point.label] = Mark(float(x / place.spacing[0]), float(y / place.spacing[1]))
        return marks | dict.fromkeys(twice, NOT_ANNOTATED)

    def _placement(self, image: Path) -> Placement:
        found = placement(image) if _is_dicom(image) else Placement()
        return found if self.spacing_mm is None else found._replace(spacing=(self.spacing_mm, self.spacing_mm))

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``, in LPS as Slicer does; DICOM images are opened."""

        def text(sample: Sample) -> str:
            place = self._placement(sample.image)
            right, down = np.array(place.right), np.array(place.down)
            scaled = sample.points * np.array(place.spacing)
            positions = np.array(place.origin) + scaled[:, :1] * right + scaled[:, 1:] * down
            names = self.names or dataset.landmarks.names
            return _json_text(names, positions) if self.file == "mrk.json" else _fcsv_text(names, positions)

        return write_per_image(dataset, target, f".{self.file}", text, self.names, overwrite=overwrite)


def _is_dicom(image: Path) -> bool:
    if image.suffix.lower() in (".dcm", ".dicom"):
        return True
    with open_file(image) as stream:
        return stream.read(132)[128:] == b"DICM"


def _point_lists(file: Path) -> Iterator[tuple[list[_Point], str]]:
    """(points, "") of each list in a file, or ([], why it is none)."""
    if file.name.lower().endswith(".fcsv"):
        yield list(_fcsv_points(file)), ""
        return
    values = read_json(file)
    for index, node in enumerate(objects(values, "markups", str(file))):
        where = f"{file}: markups[{index}]"
        kind, system, unit = (node.get(key) for key in ("type", "coordinateSystem", "coordinateUnits"))
        if kind not in ("Fiducial", "PointList"):
            yield [], f"markups[{index}] is left out: expected a point list, got {shown(kind)}"
            continue
        if not isinstance(system, str) or _NUMBERED.get(system, system) not in _SYSTEMS:
            raise DataError(f"{where}: coordinateSystem: expected LPS or RAS, got {shown(system)}")
        if unit not in (None, "mm", ["mm"] * 3):
            raise DataError(f"{where}: coordinateUnits: expected mm, got {shown(unit)}")
        sign = _SYSTEMS[_NUMBERED.get(system, system)]
        points = objects(node, "controlPoints", where)
        yield [_control_point(f"{where}: controlPoints[{k}]", k, one, sign) for k, one in enumerate(points)], ""


def _control_point(where: str, index: int, values: dict[str, Any], sign: float) -> _Point:
    label = values.get("label")
    label = f"F-{index + 1}" if label in (None, "") else label
    if not isinstance(label, str):
        raise DataError(f"{where}: expected 'label' as text, got {shown(label)}")
    position = values.get("position")
    if values.get("positionStatus", "defined") != "defined" or position is None:
        return _Point(label, None)
    return _Point(label, _position(f"{where}, landmark '{label[:80]}'", position, sign))


def _position(where: str, values: Any, sign: float) -> FloatArray:
    numbers = [number(value) for value in values] if isinstance(values, list) else []
    if len(numbers) != 3 or None in numbers:
        raise DataError(f"{where}: expected three numbers of millimetres, got {shown(values)}")
    out: FloatArray = np.array(numbers, np.float64) * np.array([sign, sign, 1.0])
    return out


def _fcsv_points(file: Path) -> Iterator[_Point]:
    columns: Sequence[str] = _COLUMNS
    system = "RAS"
    for line, raw in enumerate(read_text(file).splitlines(), start=1):
        text = raw.strip()
        key, equals, value = (part.strip() for part in text.lstrip("# ").partition("="))
        if text.startswith("#"):
            if key == "CoordinateSystem" and equals:
                system = _NUMBERED.get(value, value)
                if system not in _SYSTEMS:
                    raise DataError(f"{file}, line {line}: CoordinateSystem: expected LPS or RAS, got {shown(value)}")
            elif key == "columns" and equals:
                columns = [name.strip() for name in value.split(",")]
                if missing := {"x", "y", "z", "label"} - set(columns):
                    raise DataError(f"{file}, line {line}: columns: expected '{min(missing)}' among them, got none")
        elif text:
            try:
                cells = next(csv.reader(io.StringIO(raw)))
            except csv.Error as error:
                raise DataError(f"{file}, line {line}: not readable as csv: {error}") from None
            row = dict(zip(columns, cells, strict=False))
            label = row.get("label", "").strip()
            where = f"{file}, line {line}, landmark {shown(label)}"
            if not label:
                raise DataError(f"{file}, line {line}: expected {', '.join(columns)[:80]}, got {shown(raw[:80])}")
            yield _Point(label, _position(where, [row[axis] for axis in "xyz"], _SYSTEMS[system]))


def _json_text(names: Sequence[str], positions: FloatArray) -> str:
    points = []
    for index, (name, position) in enumerate(zip(names, positions, strict=True), start=1):
        placed = not np.isnan(position).any()
        status = {"positionStatus": "defined" if placed else "undefined"}
        where = [float(value) for value in position] if placed else [0.0, 0.0, 0.0]
        points.append({"id": str(index), "label": name, "position": where, **status})
    node = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}
    return json.dumps({"@schema": _SCHEMA, "markups": [node]}, indent=1, ensure_ascii=False) + "\n"


def _fcsv_text(names: Sequence[str], positions: FloatArray) -> str:
    refuse_formulas(names, "fcsv")
    head = ["# Markups fiducial file version = 4.11", "# CoordinateSystem = LPS", f"# columns = {','.join(_COLUMNS)}"]
    rows: list[list[str]] = []
    for name, position in zip(names, positions, strict=True):
        if not np.isnan(position).any():
            numbers = [format_number(float(value)) for value in position]
            rows.append([str(len(rows) + 1), *numbers, "0", "0", "0", "1", "1", "1", "0", name, "", ""])
    return "\n".join(head) + "\n" + csv_text(rows)
