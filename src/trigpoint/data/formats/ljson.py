"""landmarker.io and menpo ``.ljson``, versions 1 to 3: one JSON file per image. Its points are [y, x]."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, shown
from trigpoint.data.formats import base
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import LandmarkSet, Sample

VERSION = 2  # which is written: landmarker.io and menpo read it


class Ljson(base.Format):
    """Names from the labels: a label whose mask is one point names that point, any other label is a group.

    Points without a label of their own are called after their first group and their place in it (``jaw_00``), or
    p00, p01, ... without one. A missing landmark is ``[null, null]``. Coordinates count from 0 at the centre of the
    top-left pixel, as ours. ``connectivity`` is the skeleton. In version 1, where the points stand in their groups,
    a group of one point is a label. Version 3 holds sets of landmarks by name; ``group`` chooses one where there are
    several. Written is version 2.

    A landmark that a file has no label for is not annotated in its image, and told. Occluded points come back as
    visible; split, subject and pairs are not stored.
    """

    def __init__(self, group: str | None = None) -> None:
        self.group = None if group is None else str(group)

    @property
    def keeps(self) -> Collection[str]:
        return ("groups",)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read one ``.ljson`` file or a folder of them; landmarks are matched by name. Raises DataError."""
        return base.read_per_image(source, ".ljson", images, self._parse, named=True)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one file per image into the folder ``target``."""
        marks = dataset.landmarks
        labels: list[dict[str, Any]] = [{"label": name, "mask": [k]} for k, name in enumerate(marks.names)]
        labels += [{"label": g, "mask": [marks.index(m) for m in members]} for g, members in marks.groups.items()]
        lines = [[marks.index(a), marks.index(b)] for a, b in marks.skeleton]

        def text(sample: Sample) -> str:
            stored = [[None, None] if np.isnan(x) else [float(y), float(x)] for x, y in sample.points]
            values = {"version": VERSION, "labels": labels, "landmarks": {"points": stored, "connectivity": lines}}
            return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

        return base.write_per_image(dataset, target, ".ljson", text, overwrite=overwrite)

    def _parse(self, file: Path) -> base.Parsed:
        values, where = base.read_json(file), str(file)
        version = values.get("version")
        if version == 1:
            values = _second_version(file, values)
        elif version == 3:
            groups: dict[str, Any] = base.member(values, "groups", dict, where)
            if self.group is None and len(groups) != 1:
                fix = "choose one: --option group=NAME"
                raise DataError(f"{file}: expected one group of landmarks, got {', '.join(groups) or 'none'}; {fix}")
            if self.group is not None and self.group not in groups:
                raise DataError(f"{file}: unknown group '{self.group}'; {did_you_mean(self.group, groups)}")
            name = self.group or next(iter(groups))
            values, where = base.member(groups, name, dict, f"{file}: groups"), f"{file}: groups.{shown(name)}"
        elif version != VERSION:
            raise DataError(f"{file}: expected ljson version 1, 2 or 3, got {shown(version)}")
        body: dict[str, Any] = base.member(values, "landmarks", dict, where)
        stored: list[Any] = base.member(body, "points", list, f"{where}: landmarks")
        points = np.array([_point(where, index, item) for index, item in enumerate(stored)], dtype=np.float64)
        if not len(points):
            raise DataError(f"{file}: expected points, got none")
        lines, notes = _lines(body.get("connectivity"), len(points))
        return base.Parsed(_landmarks(where, values, len(points), lines), points, notes)


def _second_version(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Groups that hold their points, as in version 1, as one list of points with labels."""
    points: list[Any] = []
    labels: list[dict[str, Any]] = []
    lines: list[Any] = []
    for index, group in enumerate(base.objects(values, "groups", str(file))):
        where, first = f"{file}: groups[{index}]", len(points)
        points += [mark.get("point") for mark in base.objects(group, "landmarks", where)]
        labels.append({"label": group.get("label"), "mask": list(range(first, len(points)))})
        joined = group.get("connectivity")
        for line in joined if isinstance(joined, list) else []:
            plain = isinstance(line, list) and all(type(k) is int for k in line)
            lines.append([k + first for k in line] if plain else line)
    return {"labels": labels, "landmarks": {"points": points, "connectivity": lines}}


def _point(where: str, index: int, item: Any) -> tuple[float, float]:
    if not isinstance(item, list) or len(item) != 2:
        raise DataError(f"{where}: landmarks.points[{index}]: expected [y, x], got {shown(item)}")
    if item == [None, None]:
        return np.nan, np.nan
    y, x = (None if isinstance(value, str) else number(value) for value in item)
    if x is None or y is None:
        raise DataError(f"{where}: landmarks.points[{index}]: expected two numbers or two nulls, got {shown(item)}")
    return x, y


def _lines(given: Any, count: int) -> tuple[list[tuple[int, int]], list[str]]:
    """Pairs of point numbers, and what is none."""
    lines, notes = [], []
    for index, line in enumerate(given if isinstance(given, list) else []):
        if isinstance(line, list) and len(line) == 2 and all(type(k) is int and 0 <= k < count for k in line):
            lines.append((line[0], line[1]))
        else:
            notes.append(f"connectivity[{index}]: expected two point numbers, got {shown(line)}; left out")
    return lines, notes


def _landmarks(where: str, values: dict[str, Any], count: int, lines: list[tuple[int, int]]) -> LandmarkSet:
    names: dict[int, str] = {}
    groups: dict[str, list[int]] = {}
    for index, label in enumerate(base.objects(values, "labels", where) if "labels" in values else []):
        at = f"{where}: labels[{index}]"
        name: str = base.member(label, "label", str, at)
        mask: list[Any] = base.member(label, "mask", list, at)
        for k in mask:
            if isinstance(k, bool) or not isinstance(k, int) or not 0 <= k < count:
                raise DataError(f"{at}: expected point numbers 0 to {count - 1} in 'mask', got {shown(k)}")
        if len(mask) == 1 and mask[0] not in names:
            names[mask[0]] = name
        else:
            groups[name] = mask
    plain = base.default_names(count)
    for name, mask in groups.items():
        for place, k in enumerate(mask):
            names.setdefault(k, f"{name}_{place:02d}")
    ordered = tuple(names.get(k, plain[k]) for k in range(count))
    members = {group: tuple(ordered[k] for k in mask) for group, mask in groups.items()}
    try:
        return LandmarkSet(ordered, groups=members, skeleton=tuple((ordered[a], ordered[b]) for a, b in lines))
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
