"""Which left/right pairs look swapped, judged by what the whole set does; mirrored views are told apart from swaps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trigpoint.landmarks import FloatArray, LandmarkSet

_ENOUGH_ROWS = 8  # annotated pairs from which a majority means something
_CLEAR = 0.85  # share of rows that must agree before a dissenting one is suspect
_FAR = 0.35  # of the pair's usual distance: smaller differences occur by themselves when a subject turns
_RARE = 0.05  # share of mirrored images up to which each is reported: beyond, mirrored views belong to the set


@dataclass(frozen=True)
class Swap:
    """A suspicion: ``index`` is the position in the set, ``landmark`` the first of the pair (None: all pairs)."""

    index: int
    landmark: str | None
    message: str


def find_swaps(points: Sequence[FloatArray], landmarks: LandmarkSet) -> list[Swap]:
    """Pairs whose sides stand the other way round than in most of the set.

    ``points`` are (K, 2) per image, NaN = missing. For each pair the sign of x(first) - x(second) is compared with the
    majority. With three or more pairs, an image in which most pairs dissent counts as mirrored: its pairs are judged
    mirrored, and it is reported as a whole if such images are rare. A pair without a clear majority is not judged.

    >>> marks = LandmarkSet(("left", "right"), pairs=(("left", "right"),))
    >>> usual, swapped = np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([[9.0, 0.0], [0.0, 0.0]])
    >>> [swap.index for swap in find_swaps([usual] * 12 + [swapped], marks)]
    [12]
    """
    if not landmarks.pairs or len(points) < _ENOUGH_ROWS:
        return []
    first = [landmarks.names.index(a) for a, _ in landmarks.pairs]
    second = [landmarks.names.index(b) for _, b in landmarks.pairs]
    stack = np.stack(list(points))
    across = _relative(stack[:, first, 0] - stack[:, second, 0], stack)
    sides, views = _majorities(across)
    agrees = np.sign(across) * sides * views[:, None]
    known = np.isfinite(across)
    count = known.sum(axis=0)
    clear = (count >= _ENOUGH_ROWS) & ((agrees == 1).sum(axis=0) >= _CLEAR * np.maximum(count, 1))
    far = np.abs(across) > _FAR * pd.DataFrame(np.abs(across)).median().to_numpy()  # of what is known in each column
    found = []
    for i, p in np.argwhere((agrees == -1) & far & clear):
        a, b = landmarks.pairs[p]
        share = 100 * (agrees[:, p] == 1).sum() / count[p]
        view = " for a mirrored view such as this" if views[i] < 0 else ""
        message = f"left and right may be swapped: '{a}' and '{b}' stand the other way round"
        found.append(Swap(int(i), a, f"{message} than in {share:.0f} % of rows{view}"))
    mirrored = np.flatnonzero(views < 0)
    if 0 < len(mirrored) <= max(1, _RARE * len(points)):
        message = "nearly all left/right pairs stand the other way round: a mirrored image, or all pairs swapped"
        found += [Swap(int(i), None, message) for i in mirrored]
    return sorted(found, key=lambda swap: swap.index)


def _relative(across: FloatArray, stack: FloatArray) -> FloatArray:
    """Differences (N, P) in units of the extent of each image's points, so that images of any size compare."""
    known = np.isfinite(stack).all(axis=2, keepdims=True)
    sides = np.where(known, stack, -np.inf).max(axis=1) - np.where(known, stack, np.inf).min(axis=1)
    extent = np.hypot(*sides.T)
    return np.asarray(across / np.where(extent > 0, extent, np.nan)[:, None])


def _majorities(across: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The usual sign of each pair (P,) and the view of each image (N,), -1 = mirrored, by alternating votes."""
    signs = np.sign(np.nan_to_num(across))
    views = np.ones(len(signs))
    sides = _vote(signs.sum(axis=0))
    judged = (signs != 0).sum(axis=1) >= 3  # with one or two pairs a swap and a mirrored view look the same
    for _ in range(5):
        views = np.where(judged, _vote(signs @ sides), 1.0)
        sides = _vote(views @ signs)
    if (views < 0).sum() > len(views) / 2:
        views, sides = np.where(judged, -views, 1.0), -sides
    return sides, views


def _vote(total: FloatArray) -> FloatArray:
    return np.where(total < 0, -1.0, 1.0)
