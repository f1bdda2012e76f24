"""The format: a row of text per object."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trigpoint.config import to_yaml
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import copy_file, number, read_text, shown
from trigpoint.data.formats.base import Format, write_files
from trigpoint.data.formats.collected import ABSENT, NOT_ANNOTATED, Mark
from trigpoint.data.formats.objects import ImageObjects, ObjectRows
from trigpoint.data.formats.yolo.about import About, is_file, labels_of, yaml_file
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet, Sample

SPLITS = ("train", "val", "test")
_SLACK = 0.01  # how far outside 0..1 Ultralytics takes a coordinate
_BOX = 0.05  # what a box leaves around the points, of its side


class Yolo(Format):
    """Landmarks by ``kpt_names`` of the dataset yaml, else by ``names``, else k0, k1, ...

    ``source`` is the yaml or its folder; ``images`` takes the place of its key ``path``. ``train``, ``val`` and
    ``test`` are folders or lists of images; the labels of ``images/a/b.png`` are in ``labels/a/b.txt``. A row is
    ``class cx cy w h`` and then x, y or x, y, visibility of every landmark (``kpt_shape``), as shares of the width and
    height of the upright image, which is opened for its size. ``flip_idx`` gives the pairs.

    x times the width is the pixel coordinate. Ultralytics itself mirrors x to width - x, which has the corner of
    the top-left pixel at 0, but its converter from COCO divides pixel indices and adds nothing, as most scripts do; so
    nothing is added here either. Where the labels truly count from the corner, use ``--origin corner``.

    Visibility 0 is not annotated, whatever the numbers; so is a negative point and (0, 0) where there is no visibility.
    A third number that is neither 0, 1 nor 2 is the score of a prediction. An empty text file means that
    the image shows nothing, none that nobody looked (Ultralytics trains on both as background). Told and left out:
    rows of another length, points more than 1 % outside the image, and rows of other classes than ``category``, which
    several classes need.

    Written are the yaml, lists of images and labels; an image goes to ``images/`` with ``copy``, else put it there
    yourself. Images without any annotated landmark are left out of the lists. YOLO holds no names of instances, no
    subjects and no absent landmark, only the subsets train, val and test; images of another one are refused.
    """

    def __init__(self, names: Sequence[str] | None = None, category: str | None = None, copy: bool = False) -> None:
        self.names, self.copy = names, copy is True
        self.category = None if category is None else str(category)

    @property
    def keeps(self) -> Collection[str]:
        return ("pairs",)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read a dataset. Raises DataError."""
        file = yaml_file(Path(source))
        about = About(file, self.names, self.category)
        base = Path(images) if images is not None else about.root
        rows = ObjectRows(file, base, about.names)
        classes: set[int] = set()
        for split in SPLITS:
            for listed, labels in about.listed(split, base, rows):
                image = listed if is_file(listed) else rows.find(_below(listed, (base, about.root)), str(file))
                classes |= _read_image(image, labels if is_file(labels) else labels_of(image), about, rows, split)
        if about.category is None and len(classes) > 1:
            found = ", ".join(about.classes.get(k, str(k)) for k in sorted(classes)[:20])
            fix = "choose one with --option category=NAME"
            raise DataError(f"{file}: expected objects of one class, got {len(classes)} ({found}); {fix}")
        return rows.dataset(file.stem, landmarks=LandmarkSet(about.names, pairs=about.pairs(rows)))

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write the yaml, lists and labels into a folder; image files are opened for their size."""
        folder = Path(target)
        texts: dict[Path, str] = {}
        lists: dict[str, list[str]] = {split: [] for split in SPLITS}
        copies: dict[Path, Path] = {}
        for indices in dataset.by_image():
            samples = [dataset.samples[index] for index in indices]
            if all((sample.visibility == 0).all() for sample in samples):
                continue
            name, split = dataset.image_name(samples[0]), samples[0].split or "train"
            if split not in lists:
                raise DataError(f"{samples[0].image}: expected train, val or test, got split {shown(split)}; rename it")
            name = Path(name).name if Path(name).is_absolute() else name
            file = folder / "labels" / Path(name).with_suffix(".txt")
            if file in texts:
                raise DataError(f"{samples[0].image}: expected one image called '{file.stem}', got two; rename one")
            texts[file] = "".join(_row(sample, dataset.landmarks.names) for sample in samples)
            lists[split].append(f"./images/{name}\n")
            copies[folder / "images" / name] = samples[0].image
        values: dict[str, Any] = {split: f"{split}.txt" for split in SPLITS if lists[split] or split != "test"}
        values |= {"kpt_shape": [len(dataset.landmarks), 3]}
        if dataset.landmarks.pairs:
            values["flip_idx"] = dataset.landmarks.flip_permutation().tolist()
        values["names"] = {0: self.category or dataset.name or "object"}
        values["kpt_names"] = {0: list(dataset.landmarks.names)}
        texts |= {folder / f"{split}.txt": "".join(lists[split]) for split in SPLITS if f"{split}" in values}
        written = write_files(texts | {folder / "data.yaml": to_yaml(values)}, overwrite=overwrite)
        for place, image in copies.items() if self.copy else ():
            if not place.exists():
                copy_file(image, place)
        return written


def _below(file: Path, roots: Sequence[Path]) -> str:
    """A listed image as seen from one of the folders."""
    for root in roots:
        if file.is_relative_to(root):
            return file.relative_to(root).as_posix()
    return file.as_posix()


def _read_image(image: Path, labels: Path, about: About, rows: ObjectRows, split: str) -> set[int]:
    """Add the objects of one image; the classes that it has."""
    seen = is_file(labels)
    found = ImageObjects(rows, str(labels if seen else image), seen=seen)
    lines = read_text(labels).splitlines() if seen else []
    try:
        size = image_size(image) if any(line.strip() for line in lines) else (1, 1)
    except DataError as error:
        rows.tell("labels of an image that cannot be opened for its size; left out", f"{labels} ({error})")
        return set()
    classes = set()
    for row, line in enumerate(lines, start=1):
        if line.strip():
            classes |= _object(found, line.split(), row, about, size)
    rows.put(image, found, split=split)
    return classes - {-1}


class _Point(NamedTuple):
    x: float
    y: float
    third: float


def _object(found: ImageObjects, cells: list[str], row: int, about: About, size: tuple[int, int]) -> set[int]:
    where, group = f"{found.where}, row {row}", str(row)
    values = [number(cell) for cell in cells]
    length = 5 + about.count * about.numbers
    kind = values[0]
    if len(values) not in (length, length + 1) or None in values or kind is None or not kind.is_integer():
        found.rows.tell(f"expected a class and {length - 1} numbers (kpt_shape) in a row; left out", where)
        found.lost(group)
        return {-1}
    if about.category is not None and int(kind) != about.category:
        found.rows.tell(f"rows of class {about.classes.get(int(kind), int(kind))}; left out", where)
        return {-1}
    for k, name in enumerate(about.names):
        at = 5 + k * about.numbers
        x, y, third = _Point(*(float(v or 0) for v in values[at : at + about.numbers]), *[2.0] * (3 - about.numbers))
        if third == 0 or (about.numbers == 2 and (min(x, y) < 0 or x == y == 0)):
            found.mark(name, NOT_ANNOTATED, group)
        elif not (min(x, y) >= -_SLACK and max(x, y) <= 1 + _SLACK and 0 <= third <= 2):
            what = "expected shares of width and height from 0 to 1 and visibility 0, 1 or 2"
            found.rows.tell(f"landmark '{name}': {what}; not annotated there", f"{where}: {x:g} {y:g} {third:g}")
            found.mark(name, NOT_ANNOTATED, group)
        elif third in (1, 2):
            found.mark(name, Mark(x * size[1], y * size[0], int(third)), group)
        else:
            found.mark(name, Mark(x * size[1], y * size[0], 2, third), group)
    return {int(kind)}


def _row(sample: Sample, names: tuple[str, ...]) -> str:
    """One object as a row of text; an object without a point, or an instance that is absent, has none."""
    seen = sample.visibility > 0
    if not seen.any() or (sample.visibility == ABSENT).all():
        return ""
    height, width = image_size(sample.image)
    shares = sample.points / (width, height)
    for name, share, there in zip(names, shares, seen, strict=True):
        if there and not (share.min() >= -_SLACK and share.max() <= 1 + _SLACK):
            got = f"got one outside {width} x {height} pixels, which Ultralytics refuses; correct it"
            raise DataError(
                f"{sample.image}, row {sample.row}, landmark '{name}': expected a point in the image, {got}"
            )
    low, high = shares[seen].min(axis=0), shares[seen].max(axis=0)
    room = np.maximum(_BOX * (high - low), 1 / np.array([width, height]))
    low, high = np.clip(low - room, 0, 1), np.clip(high + room, 0, 1)
    cells = ["0", *(repr(float(v)) for v in (*(low + high) / 2, *(high - low)))]
    for (x, y), v in zip(shares, sample.visibility, strict=True):
        cells += [repr(float(x)), repr(float(y)), str(int(v))] if v > 0 else ["0", "0", "0"]
    return " ".join(cells) + "\n"
