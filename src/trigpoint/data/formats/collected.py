"""What a reader of a foreign format gathers, image by image, and the dataset made of it: nothing is lost in silence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.description import Problem
from trigpoint.data.names import ImageFinder
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample, Spacing, spacing_pair

_TOLD = 5  # problems in an error


class Mark(NamedTuple):
    """One landmark in pixels, with its visibility (0 not annotated, 1 occluded, 2 visible, ``ABSENT``) and score."""

    x: float
    y: float
    visibility: int = 2
    score: float = np.nan


NOT_ANNOTATED = Mark(np.nan, np.nan, 0)


class _Row(NamedTuple):
    image: Path
    marks: Mapping[str, Mark]
    split: str
    subject: str
    instance: str
    spacing_mm: Spacing | None
    row: int
    blank: int


class Collected:
    """The rows of a dataset in the making. ``names``: the landmarks, if the format lists them (None: as they come).

    ``image(name)`` finds the file that an annotation names. ``problem`` notes what was left out, and why.
    """

    def __init__(self, source: Path, images: Path, names: Sequence[str] | None = None) -> None:
        self.source, self.images = source, images
        self.image = ImageFinder(images)
        self.names: dict[str, None] = dict.fromkeys(names or ())
        self.problems: list[Problem] = []
        self._rows: list[_Row] = []

    def problem(self, file: Path, message: str, row: int | None = None, landmark: str | None = None) -> None:
        """Note something that is left out of the dataset."""
        self.problems.append(Problem(file, message, row, landmark))

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
        self.names.update(dict.fromkeys(marks))
        self._rows.append(_Row(image, marks, split, subject, instance, spacing_pair(spacing_mm), row, blank))

    def dataset(self, name: str = "", *, landmarks: LandmarkSet | None = None) -> LandmarkDataset:
        """What was gathered; several rows of an image, or a named instance, make it a multi-instance set.

        Raises DataError when no landmark is annotated anywhere, with the first problems as the likely reason.
        """
        marks = landmarks or LandmarkSet(tuple(self.names))
        images = [row.image for row in self._rows]
        many = len(set(images)) < len(images) or any(row.instance for row in self._rows)
        samples = [_sample(row, marks.names) for row in self._rows]
        problems = [*self.problems, *self._about_images()]
        if not any((sample.visibility > 0).any() for sample in samples):
            reasons = "".join(f"\n{problem}" for problem in problems[:_TOLD])
            raise DataError(f"{self.source}: expected annotated landmarks, got none{reasons}")
        return LandmarkDataset(
            samples,
            marks,
            name=name or self.source.stem,
            images=self.images,
            table=self.source,
            instances=many,
            problems=problems,
        )

    def _about_images(self) -> list[Problem]:
        out = []
        if moved := self.image.moved:
            first, place = next(iter(moved.items()))
            found = f"{len(moved)} images were found by the end of their names only, the first '{first}' as {place}"
            out.append(Problem(self.source, found))
        outside = [row.image for row in self._rows if not row.image.is_relative_to(self.images)]
        if outside:
            count = len(set(outside))
            out.append(Problem(self.source, f"{count} images lie outside {self.images}, the first is {outside[0]}"))
        return out


def _sample(row: _Row, names: tuple[str, ...]) -> Sample:
    marks = [row.marks.get(name) or Mark(np.nan, np.nan, row.blank) for name in names]
    points = np.array([mark[:2] for mark in marks], np.float64).reshape(-1, 2)
    visibility = np.array([mark.visibility for mark in marks], np.int64)
    points[visibility <= 0] = np.nan
    scores = np.array([mark.score for mark in marks], np.float64)
    own = row.split, row.subject, row.instance, row.spacing_mm, row.row
    return Sample(row.image, points, visibility, *own, scores if np.isfinite(scores).any() else None)


__all__ = ["ABSENT", "NOT_ANNOTATED", "Collected", "Mark"]
