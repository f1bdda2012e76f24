"""Which images to label next: those that a run is unsure of, and that are unlike the labelled ones and each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from trigpoint.app.pictures import Picture
from trigpoint.app.project import Entry, Project
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray

T = TypeVar("T")
_FIFTH = 5  # so many images make one whose labels are looked at again
SIDE = 16  # pixels of the picture by which images are compared


class Chosen(NamedTuple):
    """An image that is worth labelling; ``apart``: how far views of it lie apart, original pixels (NaN: not known);
    ``unlike``: how unlike it is to the nearest one that is labelled or was chosen before, from 0 to 2."""

    entry: Entry
    apart: float
    unlike: float


def to_choose_from(project: Project) -> tuple[list[Entry], list[Entry]]:
    """The readable images that are labelled, and those that are not (whole)."""
    names = project.names
    done: list[Entry] = []
    left: list[Entry] = []
    for entry in project.entries:
        rows = entry.state.rows
        whole = bool(rows) and entry.state.decided(names) >= len(names) * len(rows)
        if not entry.broken:
            (done if whole else left).append(entry)
    return done, left


def choose(
    project: Project,
    apart: Callable[[Entry], float],
    count: int,
    progress: Callable[[int, int], None] | None = None,
    look: Callable[[Entry], FloatArray] = lambda entry: appearance(Picture(entry.file)),
) -> list[Chosen]:
    """The images to label next, the most useful first.

    ``apart`` says how far views of an image lie apart, ``look`` what it looks like, as a vector of length 1. Raises
    DataError where all are labelled.
    """
    done, left = to_choose_from(project)
    if not left:
        raise DataError(f"{project.opened.folder}: expected images without labels, got none; all are labelled")
    known, doubts, looks = [], [], []
    for number, entry in enumerate([*done, *left], 1):
        seen = look(entry)
        if number <= len(done):
            known.append(seen)
        else:
            looks.append(seen)
            doubts.append(apart(entry))
        if progress is not None:
            progress(number, len(done) + len(left))
    order = ordered(np.array(doubts), np.array(looks), np.array(known).reshape(-1, len(looks[0])), count)
    return [Chosen(left[i], doubts[i], unlike) for i, unlike in order]


def appearance(picture: Picture) -> FloatArray:
    """A small grey picture as a vector of length 1 around its mean, so that exposure and contrast do not count."""
    values = picture.small(64)[0].astype(np.float64).mean(0)
    rows = np.linspace(0, values.shape[0], SIDE + 1).astype(int)
    columns = np.linspace(0, values.shape[1], SIDE + 1).astype(int)
    cells = [
        [values[a : max(b, a + 1), c : max(d, c + 1)].mean() for c, d in itertools.pairwise(columns)]
        for a, b in itertools.pairwise(rows)
    ]
    flat = np.nan_to_num(np.array(cells).ravel())
    flat = flat - flat.mean()
    length = float(np.linalg.norm(flat))
    out: FloatArray = flat / length if length > 0 else flat
    return out


def ordered(
    doubts: FloatArray, looks: FloatArray, known: Sequence[FloatArray] | FloatArray, count: int
) -> list[tuple[int, float]]:
    """Indices of images, and how unlike each is to what comes before it: the largest product of its rank by doubt and
    of how unlike it is comes first. Doubts that are not known count as the median.

    >>> looks = np.array([[1.0, 0], [1.0, 0.01], [0, 1.0]])
    >>> [i for i, _ in ordered(np.array([3.0, 2.9, 1.0]), looks, looks[:0], 3)]
    [0, 2, 1]
    """
    filled = np.where(np.isfinite(doubts), doubts, np.nanmedian(doubts) if np.isfinite(doubts).any() else 0.0)
    ranks = (1 + np.argsort(np.argsort(filled, kind="stable"), kind="stable")) / len(filled)
    unlike = np.full(len(looks), 2.0)
    for other in known:
        unlike = np.minimum(unlike, np.linalg.norm(looks - other, axis=1))
    chosen: list[tuple[int, float]] = []
    left = np.ones(len(looks), bool)
    for _ in range(min(count, len(looks))):
        best = int(np.argmax(np.where(left, ranks * (unlike + 1e-3), -1.0)))
        chosen.append((best, float(unlike[best])))
        left[best] = False
        unlike = np.minimum(unlike, np.linalg.norm(looks - looks[best], axis=1))
    return chosen


def woven(first: Sequence[T], second: Sequence[T]) -> list[T]:
    """Every fifth of ``second``, while there are some, among ``first``.

    >>> woven("abcdef", "XY")
    ['a', 'b', 'c', 'd', 'X', 'e', 'f', 'Y']
    """
    out, others = list[T](), list(second)
    for number, one in enumerate(first, 1):
        out.append(one)
        if number % (_FIFTH - 1) == 0 and others:
            out.append(others.pop(0))
    return out + others
