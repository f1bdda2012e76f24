"""A COCO file to a dataset: what one annotation gets wrong is left out and told, the others are read."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import load_json, number, shown
from trigpoint.data.formats.base import member, objects
from trigpoint.data.formats.collected import NOT_ANNOTATED, Collected
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import ABSENT, FloatArray, LandmarkSet

_FEW = 0.1  # share of the labelled images: fewer with several annotations may be mistakes
_NO_KEYPOINTS = "annotations without keypoints; their landmarks count as not annotated in these images"
_CROWD = "crowds, whose members are not labelled: their landmarks count as not annotated in these images"
_NO_IMAGE = "expected the 'image_id' of a listed image, got another; left out"
_NO_CATEGORY = "expected the 'category_id' of a listed category, got another; not annotated in these images"
_OTHERS = "annotations of other categories are left out"


class Category(NamedTuple):
    """The category that is read: its id as text (see ``key``), as it stands in the file, and its landmarks."""

    key: str
    id: Any
    landmarks: LandmarkSet


@dataclass
class _Image:
    path: Path
    split: str
    subject: str
    notes: list[tuple[FloatArray, str | None]] = field(default_factory=list)  # (K, 4) as in Mark, and the name, of each
    unsure: bool = False  # there may be more of every landmark than the notes tell

    def labelled(self) -> list[FloatArray]:
        """The notes that have a labelled landmark."""
        return [values for values, _ in self.notes if (values[:, 2] > 0).any()]


def key(value: object) -> str | None:
    """An id as text, so that 1, 1.0 and "1" are one; None for what is no id.

    >>> key(1), key("1"), key(1.0), key("a"), key(True)
    ('1', '1', '1', 'a', None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def read_object(file: Path) -> dict[str, Any]:
    """The annotation file. Raises DataError, with the way out for a list of results."""
    values = load_json(file)
    if isinstance(values, list):
        what = "got a list, as COCO results are"
        fix = "name the annotation file that has the images and categories: --option truth=FILE"
        raise DataError(f"{file}: expected a JSON object with images, annotations and categories, {what}; {fix}")
    if not isinstance(values, dict):
        raise DataError(f"{file}, line 1: expected a JSON object, got {type(values).__name__}")
    return values


def read_category(file: Path, values: dict[str, Any], wanted: str | None) -> Category:
    """The category with keypoints, by name or id when there are several. Raises DataError."""
    kinds = objects(values, "categories", str(file))
    with_points = [kind for kind in kinds if kind.get("keypoints")]
    names = [str(kind.get("name")) for kind in with_points]
    own = [{str(kind.get("name")), key(kind.get("id"))} for kind in with_points]
    if wanted is not None and not any(wanted in words for words in own):
        raise DataError(f"{file}: unknown category '{wanted}'; {did_you_mean(wanted, names)}")
    chosen = [kind for kind, words in zip(with_points, own, strict=True) if wanted is None or wanted in words]
    if len(chosen) != 1:
        which = ", ".join(names[:20])
        fix = "; choose one: --option category=NAME (or its id)" if chosen else "; are they keypoints?"
        raise DataError(f"{file}: expected one category with 'keypoints', got {len(chosen)} ({which}){fix}")
    own_key = key(chosen[0].get("id"))
    if own_key is None or sum(key(kind.get("id")) == own_key for kind in kinds) > 1:
        got = shown(chosen[0].get("id"))
        raise DataError(f"{file}: categories: expected an 'id' of its own for '{chosen[0].get('name')}', got {got}")
    keypoints: list[Any] = member(chosen[0], "keypoints", list, f"{file}: categories")
    try:
        marks = LandmarkSet(tuple(str(name) for name in keypoints))
    except DataError as error:
        raise DataError(f"{file}: categories: {error}") from None
    return Category(own_key, chosen[0].get("id"), marks)


def read_coco(
    file: Path, folder: Path, category: str | None = None, instances: bool | None = None, truth: Path | None = None
) -> LandmarkDataset:
    """Read an annotation file, or with ``truth`` a list of results whose images and category that file lists.

    ``instances``: whether an image may show several; None: where some image has several annotations. Raises DataError
    for what makes the file meaningless as a whole.
    """
    about = truth or file
    values = read_object(about)
    kind = read_category(about, values, category)
    rows = Collected(file, folder, kind.landmarks.names)
    images = _images(rows, about, values)
    found = load_json(file) if truth else values
    if isinstance(found, list):
        found = {"annotations": found}
    elif not isinstance(found, dict):
        raise DataError(f"{file}: expected a list of results, got {type(found).__name__}")
    reader = _Annotations(rows, kind, {key(each.get("id")) for each in values["categories"]}, images)
    for index, note in _each(rows, file, found, "annotations"):
        reader.take(note, f"annotations[{index}]")
    unlike = list({id(image): image for image in images.values()}.values())
    many = _is_many(rows, unlike, reader.named if instances is None else instances, asked=instances is not None)
    for image in unlike:
        _add(rows, image, kind.landmarks.names, many)
    skeleton = tuple(_skeleton(rows, about, values, kind))
    return rows.dataset(file.stem, landmarks=replace(kind.landmarks, skeleton=skeleton), instances=many)


def _each(rows: Collected, file: Path, values: dict[str, Any], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    items: list[Any] = member(values, name, list, str(file))
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield index, item
        else:
            rows.tally(file, f"{name}: expected JSON objects, got something else; left out", f"{name}[{index}]")


def _images(rows: Collected, file: Path, values: dict[str, Any]) -> dict[str, _Image]:
    """The listed images by id. An id of two images is nobody's; two entries of one file are one image."""
    out: dict[str, _Image] = {}
    by_path: dict[Path, _Image] = {}
    twice: set[str] = set()
    for index, image in _each(rows, file, values, "images"):
        where, own, name = f"images[{index}]", key(image.get("id")), image.get("file_name")
        try:
            path = rows.image(name if isinstance(name, str) else "")
        except DataError:
            path = None
        if own is None or path is None:
            got = shown({"id": image.get("id"), "file_name": name})
            rows.problem(file, f"{where}: expected an 'id' and the 'file_name' of an image, got {got}; left out")
            continue
        if own in out or own in twice:
            out.pop(own, None)
            twice.add(own)
            rows.tally(file, "expected an 'id' of its own for each image, got one again; both left out", where)
            continue
        if path in by_path:
            rows.tally(file, "an image is listed again under another id; its annotations are taken together", where)
        rows.stated_size(path, image.get("width"), image.get("height"))
        about = str(image.get("split") or ""), str(image.get("subject") or "")
        out[own] = by_path.setdefault(path, _Image(path, *about))
    return out


class _Annotations:
    """Takes up annotations one by one; ``named``: some bear our own key ``instance``."""

    def __init__(self, rows: Collected, kind: Category, kinds: set[str | None], images: dict[str, _Image]) -> None:
        self.rows, self.kind, self.kinds, self.images = rows, kind, kinds, images
        self.named = False

    def take(self, note: dict[str, Any], where: str) -> None:
        """Add an annotation to its image, or tell why not."""
        rows, file, own = self.rows, self.rows.source, key(note.get("category_id"))
        image = self.images.get(key(note.get("image_id")) or "")
        if own != self.kind.key and own in self.kinds and own is not None:
            rows.tally(file, _OTHERS, where)
        elif image is None:
            rows.tally(file, _NO_IMAGE, f"{where}: {shown(note.get('image_id'))}")
        elif own != self.kind.key:
            image.unsure = True
            rows.tally(file, _NO_CATEGORY, f"{where}: {shown(note.get('category_id'))}")
        elif note.get("iscrowd"):
            image.unsure = True
            rows.tally(file, _CROWD, where)
        elif not note.get("keypoints"):
            image.unsure = True
            rows.tally(file, _NO_KEYPOINTS, where)
        else:
            marks, name = self._marks(note, where), note.get("instance")
            image.unsure |= marks is None
            if marks is not None:
                self.named |= name is not None
                image.notes.append((marks, None if name is None else str(name)))

    def _marks(self, note: dict[str, Any], where: str) -> FloatArray | None:
        """(K, 4) as in ``Mark``; None where the numbers cannot be told apart."""
        names, values = self.kind.landmarks.names, note["keypoints"]
        if not isinstance(values, list) or len(values) != 3 * len(names):
            got = len(values) if isinstance(values, list) else type(values).__name__
            message = f"expected {3 * len(names)} keypoint numbers (x, y, v each), got {got}; not annotated here"
            self.rows.problem(self.rows.source, f"{where}: {message}")
            return None
        scores = _scores(note, values, len(names))
        is_result = scores is not None and note.get("num_keypoints") is None  # whose third number is any
        out = np.empty((len(names), 4))
        out[:, :3] = _numbers(values).reshape(-1, 3)
        out[:, 3] = np.nan if scores is None else scores
        if is_result:
            out[:, 2] = np.where((out[:, :2] == 0).all(axis=1), 0, 2)
        seen = out[:, 2]
        unseen = seen == 0
        bad = ~(unseen | (seen == 1) | (seen == 2)) | ~(unseen | np.isfinite(out[:, 0] + out[:, 1]))
        for k in np.flatnonzero(bad):
            got = shown(values[3 * k : 3 * k + 3])
            message = f"expected numbers x, y and visibility 0, 1 or 2, got {got}; not annotated here"
            self.rows.problem(self.rows.source, f"{where}, landmark '{names[k]}': {message}")
        out[bad | unseen] = NOT_ANNOTATED
        return out


def _numbers(values: list[Any]) -> FloatArray:
    """(N,) numbers, NaN for what is none."""
    if {*map(type, values)} <= {int, float}:
        with suppress(OverflowError):  # an integer of hundreds of digits
            return np.array(values, np.float64)
    found = map(number, values)
    return np.array([np.nan if value is None else value for value in found])


def _scores(note: dict[str, Any], values: list[Any], count: int) -> list[float] | None:
    """A score for each landmark: our own key, else the third numbers of results, else the annotation's."""
    own = note.get("keypoint_scores")
    if isinstance(own, list) and len(own) == count:
        return [np.nan if (value := number(item)) is None else value for item in own]
    score = number(note.get("score"))
    if score is None:
        return None
    third = [number(value) for value in values[2::3]]
    if note.get("num_keypoints") is None and any(value not in (None, 0, 1, 2) for value in third):
        return [np.nan if value is None else value for value in third]
    return [score] * count


def _is_many(rows: Collected, images: Sequence[_Image], many: bool, asked: bool) -> bool:
    """Whether it is a multi-instance set; that images have several annotations is told, unless it was asked for."""
    if asked:
        return many
    counts = [len(image.labelled()) for image in images]
    labelled = [image for image, count in zip(images, counts, strict=True) if count]
    several = [image.path.name for image, count in zip(images, counts, strict=True) if count > 1]
    if not several:
        return many
    which = f"{', '.join(several[:3])}{', ...' * (len(several) > 3)}"
    told = f"{len(several)} of {len(labelled)} labelled images have several annotations ({which}): read as instances"
    if len(several) <= max(1.0, _FEW * len(labelled)):
        told += "; if one object was labelled twice, mend these or leave them out: --option instances=no"
    rows.problem(rows.source, told)
    return True


def _add(rows: Collected, image: _Image, names: tuple[str, ...], many: bool) -> None:
    """The rows of one image."""

    def add(values: FloatArray | None, instance: str = "", blank: int = 0) -> None:
        given = (names, values) if values is not None else ((), np.empty((0, 4)))
        split, subject = image.split, image.subject
        rows.add_values(image.path, *given, split=split, subject=subject, instance=instance, blank=blank)

    if not many:
        labelled = image.labelled()
        if len(labelled) > 1:
            message = "several annotations in one image, where one is expected; not annotated there"
            rows.tally(rows.source, message, image.path.name)
        add(labelled[0] if len(labelled) == 1 else None)
        return
    taken: set[str] = set()
    for order, (values, name) in enumerate(image.notes, start=1):
        instance = str(order) if name is None else name
        if instance in taken:
            instance = next(text for n in range(1, len(image.notes) + 2) if (text := f"{instance} {n}") not in taken)
            message = "expected each 'instance' of an image once, got one again; renamed"
            rows.tally(rows.source, message, f"{image.path.name}: {instance}")
        taken.add(instance)
        add(values, instance)
    if image.unsure:
        add(None, next(text for n in range(len(taken) + 1) if (text := str(len(taken) + 1 + n)) not in taken))
    elif not image.notes:
        add(None, blank=ABSENT)


def _skeleton(rows: Collected, file: Path, values: dict[str, Any], kind: Category) -> Iterator[tuple[str, str]]:
    """Lines between landmarks, which COCO counts from 1."""
    names = kind.landmarks.names
    category = next(each for each in values["categories"] if key(each.get("id")) == kind.key)
    lines = category.get("skeleton")
    for line in lines if isinstance(lines, list) else []:
        if isinstance(line, list) and len(line) == 2 and all(type(k) is int and 1 <= k <= len(names) for k in line):
            yield names[line[0] - 1], names[line[1] - 1]
        else:
            rows.tally(file, f"skeleton: expected two numbers from 1 to {len(names)}; left out", shown(line))
