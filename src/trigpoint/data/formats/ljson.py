"""landmarker.io ``.ljson`` version 2: one JSON file per image. Its points are [y, x]."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, shown
from trigpoint.data.formats import base
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample

VERSION = 2


class Ljson(base.Format):
    """Names from the labels: a label whose mask is one point names that point, any other label is a group.

    Points without a label of their own are called after their first group and their place in it (``jaw_00``), or
    p00, p01, ... without one. A missing landmark is ``[null, null]``. Coordinates count from 0 at the centre of the
    top-left pixel, as ours. Occluded points come back as visible; split, subject and pairs are not stored, and
    connectivity, which only draws lines, is read past and written empty.
    """

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one ``.ljson`` file or a folder of them; landmarks are matched by name. Raises DataError."""
        return base.read_per_image(source, ".ljson", images, _parse)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``."""
        marks = dataset.landmarks
        labels: list[dict[str, Any]] = [{"label": name, "mask": [k]} for k, name in enumerate(marks.names)]
        labels += [{"label": g, "mask": [marks.index(m) for m in members]} for g, members in marks.groups.items()]

        def text(sample: Sample) -> str:
            stored = [[None, None] if np.isnan(x) else [float(y), float(x)] for x, y in sample.points]
            values = {"version": VERSION, "labels": labels, "landmarks": {"points": stored, "connectivity": []}}
            return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

        return base.write_per_image(dataset, target, ".ljson", text, overwrite=overwrite)


def _parse(file: Path) -> tuple[LandmarkSet, FloatArray]:
    values = base.read_json(file)
    if values.get("version") != VERSION:
        got = shown(values.get("version"))
        raise DataError(f"{file}: expected ljson version {VERSION}, got {got}; save it as version {VERSION}")
    body: dict[str, Any] = base.member(values, "landmarks", dict, str(file))
    stored: list[Any] = base.member(body, "points", list, f"{file}: landmarks")
    points = np.array([_point(file, index, item) for index, item in enumerate(stored)], dtype=np.float64)
    if not len(points):
        raise DataError(f"{file}: expected points, got none")
    return _landmarks(file, values, len(points)), points


def _point(file: Path, index: int, item: Any) -> tuple[float, float]:
    if not isinstance(item, list) or len(item) != 2:
        raise DataError(f"{file}: landmarks.points[{index}]: expected [y, x], got {shown(item)}")
    if item == [None, None]:
        return np.nan, np.nan
    y, x = (None if isinstance(value, str) else number(value) for value in item)
    if x is None or y is None:
        raise DataError(f"{file}: landmarks.points[{index}]: expected two numbers or two nulls, got {shown(item)}")
    return x, y


def _landmarks(file: Path, values: dict[str, Any], count: int) -> LandmarkSet:
    names: dict[int, str] = {}
    groups: dict[str, list[int]] = {}
    for index, label in enumerate(base.objects(values, "labels", str(file)) if "labels" in values else []):
        where = f"{file}: labels[{index}]"
        name: str = base.member(label, "label", str, where)
        mask: list[Any] = base.member(label, "mask", list, where)
        for k in mask:
            if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k < count:
                raise DataError(f"{where}: expected point numbers 0 to {count - 1} in 'mask', got {shown(k)}")
        if len(mask) == 1 and mask[0] not in names:
            names[mask[0]] = name
        else:
            groups[name] = mask
    plain = base.default_names(count)
    for name, mask in groups.items():
        for place, k in enumerate(mask):
            names.setdefault(k, f"{name}_{place:02d}")
    ordered = tuple(names.get(k, plain[k]) for k in range(count))
    try:
        return LandmarkSet(ordered, groups={g: tuple(ordered[k] for k in mask) for g, mask in groups.items()})
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
