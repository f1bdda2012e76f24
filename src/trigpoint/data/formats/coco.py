"""COCO keypoints JSON: names in the category, three numbers x, y, v per landmark, several instances per image."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import inside, number, shown, write_text
from trigpoint.data.formats.base import Format, member, objects, read_json
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import ABSENT, FloatArray, IntArray, LandmarkSet, Sample


class Coco(Format):
    """Landmarks by the names in the category's ``keypoints``; ``category`` is needed when several have keypoints.

    COCO keypoints are pixel indices counted from 0, so the centre of the top-left pixel is (0, 0) as here, and the
    numbers are kept as they are (tools that put the pixel's corner at 0 add the half pixel themselves). Visibility
    0, 1, 2 means the same as here; the coordinates of a point with visibility 0 are ignored.

    Several annotations of one image become instances, called by their own key ``instance`` or 1, 2, ... There, 0 stays
    what COCO says, not labelled; that a landmark is known to be absent cannot be said and is read back as not labelled.
    Only an image without annotations is known to have no instance. Our keys
    ``split``, ``subject`` (of an image) and ``instance`` are extra and ignored by other tools. Pairs, groups and the
    normaliser are not stored; boxes and areas are written from the points; skeletons are not read.
    """

    def __init__(self, category: str | None = None) -> None:
        self.category = category

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read an annotation file; ``images`` is the folder of its ``file_name`` (default: the file's own folder)."""
        file = Path(source)
        values = read_json(file)
        kind, names = self._category(file, values)
        folder = file.parent if images is None else Path(images)
        by_image: dict[Any, list[dict[str, Any]]] = {}
        for index, note in enumerate(objects(values, "annotations", str(file))):
            if note.get("category_id") == kind and not note.get("iscrowd"):
                where = f"{file}: annotations[{index}]"
                by_image.setdefault(_plain_id(note, "image_id", where), []).append({**note, "_where": where})
        instances = any(len(notes) > 1 or any("instance" in note for note in notes) for notes in by_image.values())
        samples: list[Sample] = []
        seen: dict[Any, str] = {}
        for index, image in enumerate(objects(values, "images", str(file))):
            where = f"{file}: images[{index}]"
            name: str = member(image, "file_name", str, where)
            own = _plain_id(image, "id", where)
            if own in seen or not name or not inside(name):
                raise DataError(f"{where}: expected an 'id' of its own and a name inside the folder, got {shown(name)}")
            seen[own] = name
            samples += _samples(folder / name, image, by_image.get(own, []), names, instances)
        for image_id, notes in by_image.items():
            if image_id not in seen:
                where = notes[0]["_where"]
                raise DataError(f"{where}: expected the 'image_id' of a listed image, got {shown(image_id)}")
        marks = LandmarkSet(names)
        return LandmarkDataset(samples, marks, name=file.stem, images=folder, table=file, instances=instances)

    def _category(self, file: Path, values: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
        kinds = [kind for kind in objects(values, "categories", str(file)) if kind.get("keypoints")]
        names = [str(kind.get("name")) for kind in kinds]
        if self.category is not None and self.category not in names:
            raise DataError(f"{file}: unknown category '{self.category}'; {did_you_mean(self.category, names)}")
        chosen = [kind for kind in kinds if self.category in (None, kind.get("name"))]
        if len(chosen) != 1:
            raise DataError(
                f"{file}: expected one category with 'keypoints', got {len(chosen)} ({', '.join(names[:20])})"
            )
        keypoints: list[Any] = member(chosen[0], "keypoints", list, f"{file}: categories")
        try:
            return chosen[0].get("id"), LandmarkSet(tuple(str(name) for name in keypoints)).names
        except DataError as error:
            raise DataError(f"{file}: categories: {error}") from None

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one JSON file; image files are opened for their width and height."""
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for number_, indices in enumerate(dataset.by_image(), start=1):
            first = dataset.samples[indices[0]]
            height, width = image_size(first.image)
            image = {"id": number_, "file_name": dataset.image_name(first), "width": width, "height": height}
            images.append(image | {key: v for key, v in (("split", first.split), ("subject", first.subject)) if v})
            for index in indices:
                sample = dataset.samples[index]
                if dataset.instances and (sample.visibility == ABSENT).all():
                    continue  # no instance
                notes.append(_annotation(sample, len(notes) + 1, number_, dataset.instances))
        kind = {"id": 1, "name": self.category or dataset.name or "object", "supercategory": "landmarks"}
        categories = [{**kind, "keypoints": list(dataset.landmarks.names), "skeleton": []}]
        values = {"images": images, "annotations": notes, "categories": categories}
        return [write_text(target, json.dumps(values, ensure_ascii=False) + "\n", overwrite=overwrite)]


def _plain_id(values: dict[str, Any], key: str, where: str) -> int | str:
    """The id of an image; 1.0 is 1 and true is none."""
    value = values.get(key)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{where}: expected '{key}' as a number or text, got {shown(value)}")
    return value


def _annotation(sample: Sample, own_id: int, image_id: int, instances: bool) -> dict[str, Any]:
    seen = sample.visibility > 0
    keypoints: list[float] = []
    for (x, y), v in zip(sample.points, sample.visibility, strict=True):
        keypoints += [float(x), float(y), int(v)] if v > 0 else [0, 0, 0]
    box = [0.0, 0.0, 0.0, 0.0]
    if seen.any():
        low, high = sample.points[seen].min(axis=0), sample.points[seen].max(axis=0)
        box = [float(value) for value in (*low, *(high - low))]
    return {
        "id": own_id,
        "image_id": image_id,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": int(seen.sum()),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        **({"instance": sample.instance} if instances else {}),
    }


def _samples(
    path: Path, image: dict[str, Any], notes: list[dict[str, Any]], names: tuple[str, ...], instances: bool
) -> Iterator[Sample]:
    split, subject = str(image.get("split") or ""), str(image.get("subject") or "")
    if not notes:
        unseen = np.full(len(names), ABSENT if instances else 0, np.int64)
        yield Sample(path, np.full((len(names), 2), np.nan), unseen, split, subject)
    taken = set()
    for order, note in enumerate(notes, start=1):
        points, visibility = _keypoints(note, names)
        given = note.get("instance")
        instance = str(order if given is None else given) if instances else ""
        if instance in taken:
            raise DataError(f"{note['_where']}: expected each 'instance' of an image once, got '{instance}' again")
        taken.add(instance)
        yield Sample(path, points, visibility, split, subject, instance)


def _keypoints(note: dict[str, Any], names: tuple[str, ...]) -> tuple[FloatArray, IntArray]:
    where = note["_where"]
    values: list[Any] = member(note, "keypoints", list, where)
    if len(values) != 3 * len(names):
        raise DataError(f"{where}: expected {3 * len(names)} keypoint numbers (x, y, v each), got {len(values)}")
    points = np.full((len(names), 2), np.nan)
    visibility = np.zeros(len(names), dtype=np.int64)
    for k, name in enumerate(names):
        x, y = number(values[3 * k]), number(values[3 * k + 1])
        seen = values[3 * k + 2]
        if isinstance(seen, bool) or seen not in (0, 1, 2):
            raise DataError(f"{where}, landmark '{name}': expected visibility 0, 1 or 2, got {shown(seen)}")
        if seen and (x is None or y is None):
            raise DataError(f"{where}, landmark '{name}': expected numbers, got {shown(values[3 * k : 3 * k + 2])}")
        if seen:
            points[k], visibility[k] = (x, y), int(seen)
    return points, visibility
