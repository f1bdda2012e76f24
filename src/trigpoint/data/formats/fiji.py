"""Points of Fiji and ImageJ: ``.roi`` files, ``.zip`` of the ROI manager, Results as csv; needs the extra ``fiji``."""

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import decoding, number, open_file, read_text, shown, sound_text
from trigpoint.data.formats.base import Format, annotation_files, default_names, images_of, write_per_image
from trigpoint.data.formats.collected import NOT_ANNOTATED, Collected, Mark, merged_names
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import Sample

_KINDS = (".roi", ".zip", ".csv")
_MOST, _ENTRIES = 1 << 22, 20_000  # bytes of a ROI, ROIs of a zip
_OWN_NAME = re.compile(r"^\d+(-\d+){1,3}(-\d+)?$")  # 0001-0052-0110, which ImageJ gives: slice, y and x
_POINT = 10  # the type of a point selection
_SUMMARY = ("Mean", "SD", "Min", "Max")  # rows that Summarize appends


class _Dot(NamedTuple):
    label: str  # "" where only the order says which it is
    x: float
    y: float


class Fiji(Format):
    """Landmarks by the names of ROIs, or by their order (p00, p01, ...) where ImageJ named them itself.

    ``a.roi``, ``a.zip`` or ``a.csv`` belongs to the image ``a.*``. A multi-point selection alone gives p00, p01, ...;
    one of several in a zip ``NAME_00``, ``NAME_01``, ... ``names`` names all points in their order; ``landmark=cell``
    makes each point an instance of that one landmark. Points count from 0 at the centre of the top-left pixel, as
    ours (ImageJ draws the selections of areas from the pixel's corner, but those of points and lines from its
    centre). Selections other than points, and points of the second and later slices, are left out and told.

    A csv of Results (X, Y, perhaps Label with the image's title and the ROI's name) does not say its unit: X and Y
    are taken as pixels and this is told; for a calibrated image state ``pixel``, its size in ImageJ's unit. ROI files
    are in pixels whatever the calibration. Written are zips, one ROI per landmark, in single precision (0.0005 px at
    5000). A missing landmark is left out. Visibility, split, subject, pairs and groups are not stored, instances are
    refused.
    """

    def __init__(
        self, names: Sequence[str] | None = None, landmark: str | None = None, pixel: float | None = None
    ) -> None:
        size = None if pixel is None else number(pixel)
        if pixel is not None and (size is None or size <= 0):
            raise ConfigError(f"fiji: pixel: expected a size above 0, got {shown(pixel)}")
        if names is not None and landmark is not None:
            raise ConfigError("fiji: expected --names or landmark=, got both; leave one out")
        self.names = None if names is None else tuple(names)
        self.landmark = None if landmark is None else str(landmark)
        self.pixel = size

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one file or a folder of them. Raises DataError naming the file, ConfigError without roifile."""
        path = Path(source)
        root, folder, files = annotation_files(path, _KINDS, images)
        if path.is_file() and path.suffix.lower() not in _KINDS:
            raise DataError(f"{path}: expected {', '.join(_KINDS)}, got suffix '{path.suffix}'")
        found = Collected(path, folder)
        dots: dict[Path, list[_Dot]] = {}
        places = images_of(found, root, [file for file in files if file.suffix.lower() != ".csv"])
        for file in files:
            if file.suffix.lower() == ".csv":
                self._results(found, file, root, dots)
            else:
                dots.setdefault(places[file], []).extend(_rois(found, file))
        self._add(found, dots)
        found.tell_turned("ImageJ")
        return found.dataset()

    def _add(self, found: Collected, dots: dict[Path, list[_Dot]]) -> None:
        if self.landmark is not None:
            for image, own in dots.items():
                for order, dot in enumerate(own, start=1):
                    found.add(image, {self.landmark: _mark(dot)}, instance=str(order))
            return
        most = max(map(len, dots.values()), default=0)
        if self.names is not None and most > len(self.names):
            raise DataError(
                f"{found.source}: expected {len(self.names)} points, got {most} in an image; name all of them"
            )
        plain = self.names or default_names(most)
        named = {
            image: [plain[k] if self.names else dot.label or plain[k] for k, dot in enumerate(own)]
            for image, own in dots.items()
        }
        found.names.update(dict.fromkeys(merged_names(named.values()) if self.names is None else self.names))
        for image, own in dots.items():
            marks: dict[str, Mark] = {}
            times = Counter(named[image])
            for name, dot in zip(named[image], own, strict=True):
                if times[name] > 1 and name not in marks:
                    found.problem(image, "expected each name once, got several points; all left out", landmark=name)
                marks[name] = _mark(dot) if times[name] == 1 else NOT_ANNOTATED
            found.add(image, marks)

    def _results(self, found: Collected, file: Path, root: Path, dots: dict[Path, list[_Dot]]) -> None:
        """Take up the points of a csv of Results."""
        text = read_text(file)
        tabs = "\t" in text.partition("\n")[0]
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=True))
        except csv.Error as error:
            raise DataError(f"{file}: not readable as csv: {error}") from None
        head = [cell.strip() for cell in rows[0]] if rows else []
        if not {"X", "Y"} <= set(head):
            raise DataError(f"{file}, row 1: expected columns X and Y of Results, got {shown(head)}; measure points")
        own = None if "Label" in head else images_of(found, root, [file])[file]
        other = summary = 0
        for line, cells in enumerate(rows[1:], start=2):
            row = dict(zip(head, (cell.strip() for cell in cells), strict=False))
            if not any(row.values()):
                continue
            label = row.get("Label", "")
            if label in _SUMMARY:
                summary += 1
                continue
            if any((number(row.get(key, "1")) or 1) > 1 for key in ("Slice", "Frame", "Ch")):
                other += 1
                continue
            x, y = (np.nan if (row.get(k) or "").lower() == "nan" else number(row.get(k)) for k in "XY")
            if x is None or y is None:
                got = f"{shown(row.get('X'))}, {shown(row.get('Y'))}"
                raise DataError(f"{file}, row {line}: expected numbers as X and Y, got {got}")
            image, name = (own, "") if own is not None else _labelled(found, file, line, label)
            size = self.pixel or 1.0
            dots.setdefault(image, []).append(_Dot(name, x / size, y / size))
        if other:
            found.problem(file, f"{other} points of later slices, frames or channels are left out")
        if summary:
            found.problem(file, f"{summary} rows of a summary are left out")
        if self.pixel is None:
            fix = "if the image was calibrated, give its pixel's size: --option pixel=0.5"
            found.problem(file, f"X and Y are taken as pixels; {fix}")

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one zip of ROIs per image into the folder ``target``. Raises ConfigError without roifile."""
        roifile = _roifile()
        names = self.names or dataset.landmarks.names

        def text(sample: Sample) -> bytes:
            out = io.BytesIO()
            taken: set[str] = set()
            with zipfile.ZipFile(out, "w") as archive:
                for name, point in zip(names, sample.points, strict=True):
                    if not np.isnan(point).any():
                        roi = roifile.ImagejRoi.frompoints(np.array([point], np.float32), name=name)
                        roi.roitype = roifile.ROI_TYPE.POINT
                        archive.writestr(zipfile.ZipInfo(_entry(name, taken)), roi.tobytes())
            return out.getvalue()

        return write_per_image(dataset, target, ".zip", text, self.names, overwrite=overwrite)


def _roifile() -> Any:
    try:
        import roifile
    except ImportError:
        raise ConfigError('ROI files need a package that is not installed; pip install "trigpoint[fiji]"') from None
    return roifile


def _mark(dot: _Dot) -> Mark:
    return NOT_ANNOTATED if np.isnan(dot.x + dot.y) else Mark(dot.x, dot.y)


def _entry(name: str, taken: set[str]) -> str:
    """The name of a ROI's file in a zip, which the ROI manager shows."""
    plain = re.sub(r"[\\/:\x00-\x1f]", "_", name)[:100] or "_"
    entry = plain
    while f"{entry}.roi" in taken:
        entry += "_"
    taken.add(f"{entry}.roi")
    return f"{entry}.roi"


def _labelled(found: Collected, file: Path, row: int, label: str) -> tuple[Path, str]:
    """The image of a Label such as ``a.png:left eye`` or, of a stack of files, ``folder:a.png``, and the name in it."""
    parts = [part.strip() for part in label.split(":")]
    try:
        for title in (label, parts[0], *parts[:0:-1]):
            find = found.image if ":" in title else found.image.alike
            if title and (image := find(title)) and title not in found.image.missing:
                rest = [part for part in parts[1:] if part != title and not _OWN_NAME.match(part)]
                return image, rest[0] if len(rest) == 1 and title != label else ""
            found.image.missing.pop(title, None)
        return found.image(parts[0]), ""
    except DataError as error:
        raise DataError(f"{file}, row {row}: Label: {error}") from None


def _rois(found: Collected, file: Path) -> Iterator[_Dot]:
    """The points of a ``.roi`` or ``.zip``; what is no point is told."""
    entries = list(_entries(file))
    for entry, data in entries:
        where = f"{entry}: " if len(entries) > 1 else ""
        with decoding(file, f"expected a ROI of ImageJ, got something else or a damaged one {where}"):
            roi = _roifile().ImagejRoi.frombytes(data)
            kind, name = int(roi.roitype), str(roi.name or PurePosixPath(entry).stem)
            planes = [int(getattr(roi, f"{axis}position")) for axis in ("", "c_", "z_", "t_")]
            count = int(roi.n_coordinates)
            points = np.array(roi.coordinates(), np.float64).reshape(-1, 2) if kind == _POINT else np.zeros((0, 2))
            slices = None if roi.counter_positions is None else np.array(roi.counter_positions)
        if kind != _POINT:
            found.problem(file, f"{where}expected a selection of points, got one of another kind; left out")
            continue
        if len(points) != count or not np.isfinite(points).all() or (slices is not None and len(slices) != count):
            raise DataError(f"{file}: {where}expected {count} points with finite numbers; the file is damaged")
        if not sound_text(name) or any(ord(letter) < 32 for letter in name):
            raise DataError(f"{file}: {where}expected the name of a ROI as text, got {shown(name)}; rename it")
        own = "" if _OWN_NAME.match(name) or (len(entries) == 1 and count != 1) else name
        if file.suffix.lower() == ".roi" and own == file.stem:
            own = ""
        later = np.zeros(count, bool) if slices is None else slices > 1
        later |= max(planes) > 1
        if later.any():
            found.problem(file, f"{where}{later.sum()} points of the second or later slices are left out")
        for index, (x, y) in enumerate(points):
            if not later[index]:
                yield _Dot(f"{own}_{index:02d}" if own and count > 1 else own, float(x), float(y))


def _entries(file: Path) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of each ROI. Raises DataError for too many or too large ones."""
    with open_file(file) as stream:
        if file.suffix.lower() == ".roi":
            data = stream.read(_MOST + 1)
            if len(data) > _MOST:
                raise DataError(f"{file}: expected a ROI of at most {_MOST} bytes, got more")
            yield file.name, data
            return
        with decoding(file, "expected a zip of ROIs, got something else or a damaged one"):
            archive = zipfile.ZipFile(stream)
            inside = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".roi")]
        if not inside:
            raise DataError(f"{file}: expected ROIs in the zip, got none; save them with the ROI manager")
        if len(inside) > _ENTRIES:
            raise DataError(f"{file}: expected at most {_ENTRIES} ROIs, got {len(inside)}")
        for entry in inside:
            with decoding(file, "expected a zip of ROIs, got a damaged one"), archive.open(entry) as packed:
                data = packed.read(_MOST + 1)
            if len(data) > _MOST:
                raise DataError(f"{file}: {shown(entry.filename)}: expected a ROI of at most {_MOST} bytes, got more")
            yield shown(entry.filename).strip("'\""), data
