"""Points that a labelling tool stores one by one, gathered to objects: whose they are, and which were marked twice."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import check_path, is_formula, number, shown
from trigpoint.data.formats.collected import ABSENT, NOT_ANNOTATED, Collected, Mark
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet

REPEATS = ("left_out", "instances")
_TOLD = 5  # landmarks that a message lists


def repeats_of(given: str) -> str:
    """One of ``REPEATS``: what becomes of a landmark that stands several times. Raises ConfigError."""
    if given not in REPEATS:
        raise ConfigError(f"repeats: expected {' or '.join(REPEATS)}, got {shown(given)}")
    return given


class ObjectRows(Collected):
    """Rows of images whose points come singly, each with a landmark and, where the tool groups points, an object.

    Two objects in any image make a multi-instance set; if no image has two, objects are not told apart. A landmark
    that one object has twice counts as not annotated, and is told: which of the two is meant, nobody knows. With
    ``repeats="instances"`` points that no object owns are instances in the order of the file, the first of every
    landmark in the first, and what an image does not show is absent.

    ``tell`` counts things of one kind, so that a thousand left-out boxes are one problem. ``wanted``: the landmarks to
    keep, in this order (None: all).
    """

    def __init__(
        self, source: Path, images: Path, names: Sequence[str] | None = None, repeats: str = REPEATS[0]
    ) -> None:
        super().__init__(source, images, names)
        self.wanted = None if names is None else set(names)
        self.repeats = repeats_of(repeats)
        self._objects: list[_Object] = []
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}
        self._given: dict[Path, str] = {}
        self._unseen = 0

    def tell(self, what: str, where: str) -> None:
        """Count one thing of a kind; the problems get ``what`` once, with the number and the first place."""
        self._counts[what] += 1
        self._first.setdefault(what, where)

    def find(self, name: str, where: str) -> Path:
        """The image that a label names. Raises DataError naming ``where`` for what can be no file."""
        try:
            image = self.image(name)
            check_path(image)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        return image

    def rooted_beside(self) -> None:
        """Take the common folder of the images as theirs, if they lie beside the folder of the labels."""
        folders = [one.image.parent for one in self._objects]
        if folders and not any(folder.is_relative_to(self.images) for folder in folders):
            above = Path(os.path.normpath(self.images / os.pardir))
            if all(folder != above and folder.is_relative_to(above) for folder in folders):
                self.images = Path(os.path.commonpath(folders))

    def listed(self, names: Any) -> None:
        """The landmarks that a file lists, annotated or not, unless only some are wanted."""
        if isinstance(names, list) and self.wanted is None:
            self.names.update(dict.fromkeys(name for name in names if isinstance(name, str)))

    def stated_size(self, image: Path, width: object, height: object) -> None:
        """Tell when the labels were made for another size than the upright file has; blank or 0 says nothing."""
        if differs := size_differs(image, width, height):
            self.tell("labels for another size than that of the upright image; check the points or the image", differs)

    def put(self, image: Path, objects: "ImageObjects", *, split: str = "", subject: str = "") -> None:
        """Add the rows of an image. One that was given before is left out and told."""
        if image in self._given:
            self.tell(f"image given before (in {self._given[image]}); left out", objects.where)
            return
        self._given[image] = objects.where
        rows = list(self._rows_of(objects))
        if not rows:
            self._unseen += not objects.seen
            rows = [("", {}, ABSENT if objects.seen else 0)]
        taken = {instance for instance, _, _ in rows}
        for instance, marks, blank in rows:
            own = instance
            if not own and len(rows) > 1:
                own = next(str(k) for k in range(1, len(rows) + 2) if str(k) not in taken)
                taken.add(own)
            self._objects.append(_Object(image, marks, split, subject, own, blank))

    def _rows_of(self, objects: "ImageObjects") -> list[tuple[str, dict[str, Mark], int]]:
        """(instance, marks, visibility of the other landmarks) of each object."""
        out: list[tuple[str, dict[str, Mark], int]] = []
        for group, points in objects.groups.items():
            twice = [name for name, marks in points.items() if len(marks) > 1]
            if not group and twice and self.repeats == "instances":
                most = max(map(len, points.values()))
                rows = [{name: marks[k] for name, marks in points.items() if k < len(marks)} for k in range(most)]
                unmarked = 0 if group in objects.doubtful else ABSENT
                out += [(str(k), marks, unmarked) for k, marks in enumerate(rows, start=1)]
                continue
            for name in twice:
                self.tell(
                    f"landmark '{name}' stands more than once in one object; not annotated there (give each object a "
                    "group of its own, or read with --option repeats=instances)",
                    objects.where,
                )
            single = self.repeats == "instances" and not group and group not in objects.doubtful
            marks = {name: found[0] if len(found) == 1 else NOT_ANNOTATED for name, found in points.items()}
            out.append((group, marks, ABSENT if single else 0))
        return out

    def dataset(
        self,
        name: str = "",
        *,
        landmarks: LandmarkSet | None = None,
        instances: bool | None = None,
    ) -> LandmarkDataset:
        """As ``Collected.dataset``; ``instances`` True: the file itself says that the set has instances."""
        counts = Counter(one.image for one in self._objects if one.says_something)
        if not instances and not any(count > 1 for count in counts.values()):
            single: dict[Path, _Object] = {}
            for one in self._objects:  # what says nothing stands back
                if one.says_something or not counts[one.image]:
                    single.setdefault(one.image, one.alone())
            self._objects = list(single.values())
        for one in self._objects:
            image, marks, split, subject, instance, blank = one
            self.add(image, marks, split=split, subject=subject, instance=instance, blank=blank)
        if self._unseen:
            self.problem(self.source, f"{self._unseen} images have no labels; they count as not annotated")
        for what, count in self._counts.items():
            place = self._first[what].removeprefix(f"{self.source}: ")
            self.problem(self.source, f"{what} ({f'{count} times, first' if count > 1 else 'once'}: {place})")
        return super().dataset(name, landmarks=landmarks)


class _Object(NamedTuple):
    """One object in an image; ``blank`` is the visibility of landmarks that it lacks."""

    image: Path
    marks: Mapping[str, Mark]
    split: str
    subject: str
    instance: str
    blank: int

    @property
    def says_something(self) -> bool:
        """Whether it has landmarks or is known to be absent, and is not only the trace of what was left out."""
        return bool(self.marks) or self.blank == ABSENT

    def alone(self) -> "_Object":
        """The same in a set without instances, which knows no absent landmark."""
        marks = {name: NOT_ANNOTATED if mark.visibility < 0 else mark for name, mark in self.marks.items()}
        return self._replace(marks=marks, instance="", blank=0)


class ImageObjects:
    """The points of one image, while they are read. ``where`` names the place in messages.

    ``seen``: somebody looked at the image, so that no point in it means that it shows none.
    """

    def __init__(self, rows: ObjectRows, where: str, *, seen: bool = True) -> None:
        self.rows, self.where, self.seen = rows, where, seen
        self.groups: dict[str, dict[str, list[Mark]]] = {}
        self.doubtful: set[str] = set()  # objects of which something could not be read

    def point(
        self, landmark: Any, x: Any, y: Any, group: str = "", visibility: int = 2, score: float | None = None
    ) -> None:
        """One point in pixels. A name or number that is none is told, and the point left out."""
        name = str(landmark).strip() if isinstance(landmark, str | int) and not isinstance(landmark, bool) else ""
        if not name or is_formula(name):
            self.rows.tell(f"expected the name of a landmark, got {shown(landmark)}; left out", self.where)
            self.lost(group)
        elif self.rows.wanted is not None and name not in self.rows.wanted:
            self.rows.tell(f"landmark {shown(name)} is not among the given names; left out", self.where)
        elif isinstance(x, str) or isinstance(y, str) or (at := (number(x), number(y)))[0] is None or at[1] is None:
            self.rows.tell(f"landmark {shown(name)}: expected two numbers; left out", f"{self.where}: {shown([x, y])}")
            self.mark(name, NOT_ANNOTATED, group)
        else:
            mark = Mark(at[0], at[1], visibility) if score is None else Mark(at[0], at[1], visibility, score)
            self.mark(name, mark, group)

    def mark(self, name: str, mark: Mark, group: str = "") -> None:
        """A landmark of an object, unless it is not among the wanted."""
        if self.rows.wanted is None or name in self.rows.wanted:
            self.groups.setdefault(group, {}).setdefault(name, []).append(mark)

    def lost(self, group: str) -> None:
        """Something of an object could not be read: the object is not known to be absent."""
        self.groups.setdefault(group, {})
        self.doubtful.add(group)


def size_differs(image: Path, width: object, height: object) -> str | None:
    """The two sizes, when a label file states another than the upright image has; None without both.

    Such points were made on another copy: one not turned as its EXIF orientation says, or resized since.
    """
    stated = number(width), number(height)
    if not stated[0] or not stated[1] or not image.is_file():
        return None
    try:
        high, wide = image_size(image)
    except DataError:
        return None  # told where the image is opened
    if stated == (wide, high):
        return None
    turned = ", turned as its EXIF orientation says" if stated == (high, wide) else ""
    return f"{image.name}: size {wide} x {high}{turned}, labels for {stated[0]:g} x {stated[1]:g}"
