"""labelme: one JSON file per image, each point a shape of its own."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import shown
from trigpoint.data.formats.base import (
    Format,
    annotation_files,
    beside,
    member,
    objects,
    read_json,
    write_files,
)
from trigpoint.data.formats.collected import ABSENT
from trigpoint.data.formats.objects import ImageObjects, ObjectRows, repeats_of
from trigpoint.data.names import plain_name
from trigpoint.data.pixels.images import SUFFIXES, image_size
from trigpoint.errors import DataError
from trigpoint.landmarks import Sample

_MOST = 1 << 28  # bytes of one file: labelme may embed the image in it


class LabelMe(Format):
    """Landmarks by the ``label`` of shapes of type ``point``; ``group_id`` tells the objects of an image apart.

    ``source`` is a file or a folder of ``*.json``; JSON files that labelme did not write are told and left out.
    ``imagePath`` is relative to the file, with either slash. Where it leads nowhere, the image of the same name is
    looked for below ``images``. labelme turns images upright as we do; its numbers are kept as they are, though it
    counts from the corner of the top-left pixel (read and write with ``--origin corner`` where half a pixel matters).

    Told and not used: shapes other than points, flags, an image embedded in the file (``imageData``), labels for an
    image of another size. Two points of one label in one group count as not annotated, see ``repeats`` (``instances``:
    each is an instance). labelme cannot say that a point is occluded or absent; occluded points come back as visible.
    A saved file without points means, among instances, that the image shows none.

    ``names`` keeps these labels in this order. We also write our own keys ``landmarks``, ``split``, ``subject`` and,
    in a shape, ``instance``; labelme keeps them. Pairs, groups and spacing are not stored.
    """

    def __init__(self, names: Sequence[str] | None = None, repeats: str = "left_out") -> None:
        self.names, self.repeats = names, repeats_of(repeats)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one file or a folder of them. Raises DataError."""
        root, folder, files = annotation_files(source, ".json", images)
        rows = ObjectRows(Path(source), folder, self.names, self.repeats)
        named = False
        for file in files:
            values = read_json(file) if len(files) == 1 else _labels(file, rows)
            if values:
                named |= _image(file, values, rows, root)
        if images is None:
            rows.rooted_beside()
        return rows.dataset(root.resolve().name, instances=named or None)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``; image files are opened for their width and height."""
        texts: dict[Path, str] = {}
        for indices in dataset.by_image():
            samples = [dataset.samples[index] for index in indices]
            file = beside(dataset, samples[0], target, ".json")
            if file in texts:
                raise DataError(f"{samples[0].image}: expected one image called '{file.stem}', got two; rename one")
            texts[file] = _text(dataset, samples, file)
        return write_files(texts, overwrite=overwrite)


def _labels(file: Path, rows: ObjectRows) -> dict[str, Any] | None:
    """The values of a file in a folder, where other JSON files may stand too."""
    try:
        values = read_json(file)
    except DataError as error:
        rows.problem(file, f"{str(error).removeprefix(f'{file}').lstrip(':, ')}; left out")
        return None
    if "shapes" not in values:
        rows.tell("expected a labelme file with 'shapes', got another JSON file; left out", str(file))
        return None
    return values


def _image(file: Path, values: dict[str, Any], rows: ObjectRows, root: Path) -> bool:
    """Add the image of one file; whether a shape has our key ``instance``."""
    shapes = objects(values, "shapes", str(file))
    image = _image_file(file, values, rows, root)
    rows.listed(values.get("landmarks"))
    if values.get("imageData"):
        rows.tell("the image embedded in the file is not used, only the image file", str(file))
    if values.get("flags") and any(values["flags"].values() if isinstance(values["flags"], dict) else [True]):
        rows.tell("flags of an image are not read", str(file))
    rows.stated_size(image, values.get("imageWidth"), values.get("imageHeight"))
    found = ImageObjects(rows, str(file))
    for index, shape in enumerate(shapes):
        _point(found, shape, index)
    split, subject = (str(values.get(key) or "") for key in ("split", "subject"))
    rows.put(image, found, split=split, subject=subject)
    return any("instance" in shape for shape in shapes)


def _image_file(file: Path, values: dict[str, Any], rows: ObjectRows, root: Path) -> Path:
    """Where ``imagePath`` leads, else the image with the name of the label file, else where it is expected."""
    name = _relative(member(values, "imagePath", str, str(file)), file.parent, root)
    image = rows.find(name, str(file))
    if not image.is_file():
        stem = rows.images / file.relative_to(root)
        same = [other for suffix in SUFFIXES if (other := stem.with_suffix(suffix)).is_file()]
        if same:
            rows.image.missing.pop(name, None)
            rows.tell("'imagePath' leads nowhere; the image with the name of the label file is taken", str(file))
            return same[0]
    return image


def _relative(stated: str, place: Path, root: Path) -> str:
    """An ``imagePath``, which is relative to its own file, as seen from the folder of all files."""
    plain = plain_name(stated)
    if not plain or plain.startswith("/"):
        return plain
    return Path(os.path.normpath(os.path.relpath(place, root) + "/" + plain)).as_posix()


def _point(found: ImageObjects, shape: dict[str, Any], index: int) -> None:
    kind = shape.get("shape_type", "polygon")  # as in files of labelme before version 3
    group = shape.get("instance", shape.get("group_id"))
    owner = "" if group is None or isinstance(group, dict | list) else str(group)
    points = shape.get("points")
    if kind != "point":
        found.rows.tell(f"shape of type {shown(kind)}; only points are read", found.where)
        return
    if not isinstance(points, list) or len(points) != 1 or not isinstance(points[0], list) or len(points[0]) != 2:
        found.rows.tell("expected one [x, y] in a point; left out", f"{found.where}: shapes[{index}]: {shown(points)}")
        found.lost(owner)
        return
    if isinstance(shape.get("flags"), dict) and any(shape["flags"].values()):
        found.rows.tell("flags of a point are not read", found.where)
    found.point(shape.get("label"), points[0][0], points[0][1], owner)


def _text(dataset: LandmarkDataset, samples: list[Sample], file: Path) -> str:
    height, width = image_size(samples[0].image)
    shapes = []
    for order, sample in enumerate(samples):
        if dataset.instances and (sample.visibility == ABSENT).all():
            continue
        own = {"instance": sample.instance} if dataset.instances else {}
        for name, (x, y), seen in zip(dataset.landmarks.names, sample.points, sample.visibility, strict=True):
            if seen > 0:
                shape = {"label": name, "points": [[float(x), float(y)]], "shape_type": "point", "flags": {}}
                shapes.append(shape | {"group_id": order + 1 if dataset.instances else None, "description": ""} | own)
    try:
        path = Path(os.path.relpath(samples[0].image.resolve(), file.parent.resolve())).as_posix()
    except ValueError:  # on another drive
        path = samples[0].image.resolve().as_posix()
    own = {key: text for key, text in (("split", samples[0].split), ("subject", samples[0].subject)) if text}
    values: dict[str, Any] = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": path, "imageData": None}
    values |= {"imageHeight": height, "imageWidth": width, "landmarks": list(dataset.landmarks.names)} | own
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
