"""What a reader of a foreign format gathers, image by image, and the dataset made of it: nothing is lost in silence."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.files import number
from trigpoint.data.names import ImageFinder, found_by_end
from trigpoint.data.pixels.images import image_size
from trigpoint.data.pixels.turned import is_turned
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, FloatArray, LandmarkSet, Sample, Spacing, spacing_pair

_TOLD = 10  # problems in an error
NOT_BELOW = "images are not below"
"""In the problem of images that are not there, which an error may tell as well."""
_FIRST = 3  # places that a line about many names
_TURNED = (
    "the tool that made the labels did not turn the images as their EXIF orientation says, so the points do not fit; "
    "unless the stated sizes are wrong, remove the EXIF orientation from the files or label the upright images"
)
_RESIZED = (
    "the images were resized after they were labelled, so the points do not fit; unless the stated sizes are wrong, "
    "put back the labelled images or scale the points"
)


class Mark(NamedTuple):
    """One landmark in pixels, with its visibility (0 not annotated, 1 occluded, 2 visible, ``ABSENT``) and score."""

    x: float
    y: float
    visibility: int = 2
    score: float = np.nan


NOT_ANNOTATED = Mark(np.nan, np.nan, 0)


class _Row(NamedTuple):
    image: Path
    names: tuple[str, ...]  # one object for all rows that name the same landmarks
    values: FloatArray  # (len(names), 4) as in Mark
    split: str
    subject: str
    instance: str
    spacing_mm: Spacing | None
    row: int
    blank: int


class Collected:
    """The rows of a dataset in the making. ``names``: the landmarks, if the format lists them (None: as they come).

    ``image(name)`` finds the file that an annotation names. ``problem`` notes what was left out, and why; ``tally``
    does so where the same may happen many times; ``stated_size`` takes the size that an image had when it was labelled.
    """

    def __init__(self, source: Path, images: Path, names: Sequence[str] | None = None) -> None:
        self.source, self.images = source, images
        self.image = ImageFinder(images)
        self.names: dict[str, None] = dict.fromkeys(names or ())
        self.problems: list[Problem] = []
        self._rows: list[_Row] = []
        self._name_lists: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._places: dict[tuple[Path, str], tuple[list[str], int]] = {}
        self._sizes: dict[Path, tuple[float, float]] = {}

    def problem(self, file: Path, message: str, row: int | None = None, landmark: str | None = None) -> None:
        """Note something that is left out of the dataset."""
        self.problems.append(Problem(file, message, row, landmark))

    def tally(self, file: Path, message: str, place: str) -> None:
        """Note one of many alike: they become one problem, ``message`` with the first places and a count."""
        first, count = self._places.get((file, message), ([], 0))
        if count < _FIRST:
            first.append(place)
        self._places[file, message] = first, count + 1

    def stated_size(self, image: Path, width: object, height: object) -> None:
        """What a label file says of an image's size, to be compared with the upright file; blank or 0 says nothing."""
        stated = number(width), number(height)
        if stated[0] and stated[1]:
            self._sizes[image] = stated[0], stated[1]

    def add(
        self,
        image: Path,
        marks: Mapping[str, Mark],
        *,
        split: str = "",
        subject: str = "",
        instance: str = "",
        spacing_mm: float | Spacing | None = None,
        row: int = 0,
        blank: int = 0,
    ) -> None:
        """One image, or one instance in it; ``blank`` is the visibility of landmarks that ``marks`` does not name."""
        values = np.array(list(marks.values()), np.float64).reshape(-1, 4)
        self._append(_Row(image, tuple(marks), values, split, subject, instance, spacing_pair(spacing_mm), row, blank))

    def tell_turned(self, tool: str) -> None:
        """Note images whose EXIF orientation turns them, for tools that show them as they are stored."""
        images = dict.fromkeys(row.image for row in self._rows)
        if turned := [image for image in images if is_turned(image)]:
            about = f"{len(turned)} images are turned by their EXIF orientation, which {tool} does not apply"
            self.problem(self.source, f"{about}, the first is {turned[0]}; look at them: trigpoint data show")

    def add_values(
        self,
        image: Path,
        names: tuple[str, ...],
        values: FloatArray,
        *,
        split: str = "",
        subject: str = "",
        instance: str = "",
        row: int = 0,
        blank: int = 0,
    ) -> None:
        """As ``add``, with ``values`` (len(names), 4) as in ``Mark``: for formats whose files have very many rows."""
        self._append(_Row(image, names, values, split, subject, instance, None, row, blank))

    def _append(self, row: _Row) -> None:
        if row.names not in self._name_lists:
            self.names.update(dict.fromkeys(row.names))
        self._rows.append(row._replace(names=self._name_lists.setdefault(row.names, row.names)))

    def dataset(
        self, name: str = "", *, landmarks: LandmarkSet | None = None, instances: bool | None = None
    ) -> LandmarkDataset:
        """What was gathered. ``instances`` None: several rows of an image, or a named instance, make it a
        multi-instance set; False: of several rows the first counts, the others are told.

        Raises DataError when no landmark is annotated anywhere, with the first problems as the likely reason.
        """
        marks = landmarks or LandmarkSet(tuple(self.names))
        rows = self._sound_rows(instances)
        images = {row.image for row in rows}
        many = len(images) < len(rows) or any(row.instance for row in rows) if instances is None else instances
        order = {name: k for k, name in enumerate(marks.names)}
        samples = [_sample(row, order) for row in rows]
        problems = [*self.problems, *self._tallied(), *self._about_images()]
        if not any((sample.visibility > 0).any() for sample in samples):
            raise DataError(f"{self.source}: expected annotated landmarks, got none{listed(problems)}")
        return LandmarkDataset(
            samples,
            marks,
            name=name or self.source.stem,
            images=self.images,
            table=self.source,
            instances=many,
            problems=problems,
        )

    def _sound_rows(self, instances: bool | None) -> list[_Row]:
        out, seen = [], set()
        for row in self._rows:
            if row.image in self.image.shared:
                names = " and ".join(f"'{name}'" for name in self.image.shared[row.image])
                self.tally(self.source, "different names lead to one file; left out", f"{row.image}: {names}")
            elif instances is False and row.image in seen:
                again = "expected each image once, got one again; the first counts, left out"
                self.tally(self.source, again, f"{row.image.name} in row {row.row}" if row.row else row.image.name)
            else:
                seen.add(row.image)
                out.append(row)
        return out

    def _tallied(self) -> list[Problem]:
        return [
            Problem(file, f"{message} ({', '.join(first)}{f' and {count - len(first)} more' * (count > len(first))})")
            for (file, message), (first, count) in self._places.items()
        ]

    def _about_images(self) -> list[Problem]:
        out = []
        if moved := self.image.moved:
            first, place = next(iter(moved.items()))
            found = f"{found_by_end(len(moved))}, the first '{first}' as {place}"
            out.append(Problem(self.source, found))
        if missing := self.image.missing:
            first, place = next(iter(missing.items()))
            found = f"{len(missing)} {NOT_BELOW} {self.images}, the first '{first}', expected as {place}"
            out.append(Problem(self.source, f"{found}; say where they are (--images FOLDER)"))
        outside = {row.image for row in self._rows if not row.image.is_relative_to(self.images)}
        if outside:
            first = min(outside).as_posix()
            out.append(Problem(self.source, f"{len(outside)} images lie outside {self.images}, such as {first}"))
        return out + self._wrong_sizes()

    def _wrong_sizes(self) -> list[Problem]:
        wrong: dict[str, list[str]] = {_TURNED: [], _RESIZED: []}
        for image, stated in self._sizes.items():
            try:
                height, width = image_size(image)
            except DataError:  # missing or unreadable, which is told where it is looked at or copied
                continue
            if stated != (width, height):
                said = f"{image.name} (stated {stated[0]:g} x {stated[1]:g}, upright file {width} x {height})"
                wrong[_TURNED if stated == (height, width) else _RESIZED].append(said)
        return [
            Problem(
                self.source,
                f"{len(found)} of {len(self._sizes)} images have another size than is stated: "
                f"{', '.join(islice(found, _FIRST))}{', ...' * (len(found) > _FIRST)}; {reason}",
            )
            for reason, found in wrong.items()
            if found
        ]


def reason(file: Path, error: Exception) -> str:
    """An error as the message of a problem, which names the file itself.

    >>> reason(Path("a.pts"), DataError("a.pts, line 2: expected 'x y', got 'x'"))
    "line 2: expected 'x y', got 'x'"
    """
    return str(error).removeprefix(str(file)).lstrip(":, ")


def listed(problems: Sequence[object]) -> str:
    """The first problems as lines below an error, and how many more there are.

    >>> listed(["a is cut"])
    '\\na is cut'
    """
    more = [f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
    return "".join(f"\n{line}" for line in [*problems[:_TOLD], *more])


def _sample(row: _Row, order: Mapping[str, int]) -> Sample:
    values = row.values
    if row.names != tuple(order):
        values = np.full((len(order), 4), [np.nan, np.nan, row.blank, np.nan])
        known = [k for k, name in enumerate(row.names) if name in order]
        values[[order[row.names[k]] for k in known]] = row.values[known]
    visibility = values[:, 2].astype(np.int64)
    points = values[:, :2].copy()
    points[visibility <= 0] = np.nan
    scores = values[:, 3].copy() if np.isfinite(values[:, 3]).any() else None
    return Sample(row.image, points, visibility, row.split, row.subject, row.instance, row.spacing_mm, row.row, scores)


def merged_names(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """All names of several lists, in an order that each list agrees with where there is one.

    >>> merged_names([["left", "tip"], ["left", "right", "tip"], ["nose", "left"]])
    ('nose', 'left', 'right', 'tip')
    """
    out: list[str] = []
    seen: set[str] = set()
    for names in dict.fromkeys(tuple(dict.fromkeys(names)) for names in lists):
        if out[: len(names)] == list(names):
            continue
        if list(names[: len(out)]) == out:  # as in most sets: all names so far and some more
            out = list(names)
            seen = set(out)
            continue
        place = 0
        later = [name for name in names if name in seen]
        if later and names[0] not in seen:
            place = out.index(later[0])
        elif not later:
            place = len(out)
        for name in names:
            if name in seen:
                place = out.index(name) + 1
            else:
                out.insert(place, name)
                seen.add(name)
                place += 1
    return tuple(out)


__all__ = ["ABSENT", "NOT_ANNOTATED", "Collected", "Mark", "listed", "merged_names", "reason"]
