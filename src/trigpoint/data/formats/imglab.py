"""XML of dlib's imglab, which ``train_shape_predictor`` reads: images, boxes and their parts, in whole pixels."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, shown, write_text
from trigpoint.data.formats.base import Format
from trigpoint.data.formats.collected import ABSENT, Collected, Mark, merged_names
from trigpoint.data.pixels.images import image_size
from trigpoint.data.table import format_number
from trigpoint.data.xml import ENTITY, read_xml
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import Sample

_BOXES = ("points", "image")
_HEAD = "<?xml version='1.0' encoding='UTF-8'?>\n<dataset>\n<name>{}</name>\n<images>"


class Imglab(Format):
    """Landmarks by the names of their parts, in the order of the file; imglab and dlib sort them as text (0, 1, 10, 2).

    Coordinates count whole pixels from 0 at the centre of the top-left pixel. dlib reads no fractions, so points are
    rounded when they are written; ``decimals=yes`` keeps them, for other readers. ``box=points`` (default) writes a box
    around the points, wider by ``margin`` (a share of its longer side) on each side; ``box=image`` the whole image.

    Several boxes of an image are instances, called by their ``label`` if those of each image differ, else 1, 2, ... A
    part that a box lacks is not annotated. A box with ``ignore`` is left out and told; an image that has no others is
    not annotated, and an image without any box shows no instance. Names of images are relative to the XML file; dlib
    neither writes nor reads ``&amp;``, so that a bare & stands for itself, and names with < are refused.
    Visibility, split, subject, pairs and groups are not stored, boxes are not read.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        box: str = "points",
        margin: float = 0.1,
        decimals: bool = False,
    ) -> None:
        if box not in _BOXES:
            raise ConfigError(f"imglab: box: unknown choice '{box}'; {did_you_mean(str(box), _BOXES)}")
        share = number(margin)
        if share is None or not 0 <= share <= 10:
            raise ConfigError(f"imglab: margin: expected a share from 0 to 10, got {shown(margin)}")
        if not isinstance(decimals, bool):
            raise ConfigError(f"imglab: decimals: expected yes or no, got {shown(decimals)}")
        self.names = None if names is None else tuple(names)
        self.box, self.margin, self.decimals = box, share, decimals

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one XML file; ``images`` is the folder of its images (default: the file's). Raises DataError.

        ``names`` renames the parts, in the order in which they would come without it.
        """
        file = Path(source)
        root = read_xml(file)
        listed = root.find("images")
        if root.tag != "dataset" or listed is None:
            raise DataError(f"{file}: expected <dataset> with <images>, as imglab writes it, got <{root.tag[:40]}>")
        kept: list[tuple[str, list[tuple[str, dict[str, Mark]]], bool]] = []
        ignored = 0
        for index, node in enumerate(listed.iter("image")):
            where = f"image {index + 1}"
            name = node.get("file")
            if not name:
                raise DataError(f"{file}: {where}: expected the attribute 'file', got none")
            boxes = node.findall("box")
            skipped = [box for box in boxes if box.get("ignore") not in (None, "0", "false")]
            ignored += len(skipped)
            used = [box for box in boxes if box not in skipped]
            kept.append((name, [_box(file, f"{where} ({name[:80]})", box) for box in used], bool(skipped)))
        parts = self._order([list(marks) for _, boxes, _ in kept for _, marks in boxes])
        if self.names is not None and len(self.names) != len(parts):
            raise DataError(f"{file}: expected {len(self.names)} parts, got {len(parts)}: {shown(parts)}")
        new = dict(zip(parts, self.names or parts, strict=True))
        found = Collected(file, file.parent if images is None else Path(images), tuple(new.values()))
        if ignored:
            found.problem(file, f"{ignored} boxes that are to be ignored are left out")
        self._add(found, file, kept, new)
        found.tell_turned("dlib")
        return found.dataset()

    def _order(self, lists: list[list[str]]) -> tuple[str, ...]:
        """The order of the file; sorted where each box is, since one may lack parts."""
        merged = merged_names(names for names in lists if names)
        return tuple(sorted(merged)) if all(names == sorted(names) for names in lists) else merged

    def _add(
        self,
        found: Collected,
        file: Path,
        kept: list[tuple[str, list[tuple[str, dict[str, Mark]]], bool]],
        new: dict[str, str],
    ) -> None:
        many = any(len(boxes) > 1 for _, boxes, _ in kept)
        told = all(len({label for label, _ in boxes} - {""}) == len(boxes) for _, boxes, _ in kept)
        seen = Counter[Path]()
        for index, (name, boxes, skipped) in enumerate(kept):
            try:
                image = found.image(name)
            except DataError as error:
                raise DataError(f"{file}: image {index + 1}: {error}") from None
            seen[image] += 1
            if seen[image] > 1:
                raise DataError(f"{file}: image {index + 1}: expected each image once, got '{name[:80]}' again")
            for order, (label, marks) in enumerate(boxes, start=1):
                renamed = {new[part]: mark for part, mark in marks.items()}
                found.add(image, renamed, instance=(label if told else str(order)) if many else "")
            if not boxes:
                found.add(image, {}, blank=ABSENT if many and not skipped else 0)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one XML file; images are opened only for ``box=image``."""
        try:
            text = self._text(dataset, Path(target))
        except DataError as error:
            raise DataError(f"{target}: {error}") from None
        return [write_text(target, text, overwrite=overwrite)]

    def _text(self, dataset: LandmarkDataset, target: Path) -> str:
        picked = dataset if self.names is None else dataset.pick(self.names)
        lines = [_HEAD.format(_quoted(dataset.name)[1:-1])]
        for rows in picked.by_image():
            name = Path(os.path.relpath(picked.samples[rows[0]].image, target.parent)).as_posix()
            lines.append(f"  <image file={_quoted(name)}>")
            for index in rows:
                lines += self._lines(picked.samples[index], picked.landmarks.names, dataset.instances)
            lines.append("  </image>")
        return "\n".join([*lines, "</images>", "</dataset>", ""])

    def _lines(self, sample: Sample, names: Sequence[str], instances: bool) -> list[str]:
        seen = sample.visibility > 0
        if not seen.any():
            ignored = not instances or (sample.visibility == 0).any()
            return ["    <box top='0' left='0' width='1' height='1' ignore='1'/>"] if ignored else []
        points = sample.points if self.decimals else np.rint(sample.points)
        if self.box == "image":
            height, width = image_size(sample.image)
            left, top = 0, 0
        else:
            low, high = np.floor(points[seen].min(axis=0)), np.ceil(points[seen].max(axis=0))
            wider = np.ceil(self.margin * (high - low + 1).max())
            left, top = (int(value) for value in low - wider)
            width, height = (int(value) for value in high - low + 1 + 2 * wider)
        lines = [f"    <box top='{top}' left='{left}' width='{width}' height='{height}'>"]
        if instances and sample.instance:
            lines.append(f"      <label>{_quoted(sample.instance)[1:-1]}</label>")
        for name, (x, y), there in zip(names, points, seen, strict=True):
            if there:
                place = f"x='{format_number(float(x))}' y='{format_number(float(y))}'"
                lines.append(f"      <part name={_quoted(name)} {place}/>")
        return [*lines, "    </box>"]


def _quoted(text: str) -> str:
    """A text in quotes, as dlib reads and writes it: it knows no ``&amp;`` and the like. Raises DataError."""
    if any(ord(letter) < 32 or letter in "<\ufffe\uffff" for letter in text) or ENTITY.search(text.encode()):
        raise DataError(f"expected a name that dlib's XML can hold, got {shown(text)}; rename it")
    if "'" in text and '"' in text:
        raise DataError(f"expected a name with one kind of quotes, as dlib's XML needs, got {shown(text)}; rename it")
    return f'"{text}"' if "'" in text else f"'{text}'"


def _box(file: Path, where: str, box: Element) -> tuple[str, dict[str, Mark]]:
    """(label, marks by name) of one box. Raises DataError naming file, image and part."""
    marks: dict[str, Mark] = {}
    for part in box.findall("part"):
        name = part.get("name")
        x, y = number(part.get("x")), number(part.get("y"))
        if not name or x is None or y is None:
            got = f"name {shown(name)}, x {shown(part.get('x'))}, y {shown(part.get('y'))}"
            raise DataError(f"{file}: {where}: expected a part with name, x and y, got {got}")
        if name in marks:
            raise DataError(f"{file}: {where}, landmark '{name[:80]}': expected each part of a box once, got it twice")
        marks[name] = Mark(x, y)
    label = box.find("label")
    return ("" if label is None else (label.text or "").strip()), marks
