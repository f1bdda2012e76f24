"""Coordinates that stand for "missing": one exact spot that a landmark has in many rows, as other tools write it.

tpsDig writes (-1, -1), pose tools (0, 0), scripts 99999 or a corner of the image; read as places, they are learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.landmarks import FloatArray

_SLACK = 0.5  # px beyond the outermost pixel centre that a real point may have
_NEAR = (3.0, 0.02)  # px, and share of the image's diagonal, within which places count as the same region
_ENOUGH, _SHARE = 3, 0.05  # rows, and share of them, from which any other spot is suspect
_RESTS = 0.75  # share of the rows on a spot inside the images from which a landmark counts as one that rests there
_TYPICAL = 0.1  # of the other rows: where one of their spots has more, the landmark rests by itself


@dataclass(frozen=True)
class Sentinel:
    """A suspicion: the landmark at position ``column`` is on exactly ``spot`` in ``rows`` (positions of samples).

    ``spot`` is told from the top left, or, where images of several sizes share no such spot, from the ``corner`` that
    they share. ``annotated``: rows that annotate the landmark.
    """

    column: int
    spot: tuple[float, float]
    rows: tuple[int, ...]
    annotated: int
    corner: str = "top left"

    @property
    def message(self) -> str:
        """What is wrong and how to repair it."""
        x, y = self.spot
        where = f"exactly ({x:g}, {y:g})" + ("" if self.corner == "top left" else f" from the {self.corner} corner")
        return (
            f"expected places in the images, got {where} in {len(self.rows)} of {self.annotated} rows, as other tools "
            "write what is missing; where it was not annotated, blank both cells of these rows"
        )


class _Spots(NamedTuple):
    """Different places (S, 2), how often each occurs, which one each row has, and how near counts as one region."""

    places: FloatArray
    counts: npt.NDArray[np.int64]
    of_row: npt.NDArray[np.int64]
    reach: float


_CORNERS = {"top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1)}


def find_sentinels(points: FloatArray, sizes: Sequence[tuple[int, int] | None] | None = None) -> list[Sentinel]:
    """Landmarks that are on one exact spot too often, by landmark.

    ``points`` (N, K, 2), NaN = missing; ``sizes`` (N,) are (width, height) of the images where known. A spot that is
    outside of its images, or the corner of them, is suspect from the second time on, counted over all landmarks; any
    other when the landmark is there again and again and otherwise moves about elsewhere. One that rests, as before a
    fixed camera, is not suspect, nor one that is always near its usual place.

    >>> moving = [[20.0 + n, 15.5 + n] for n in range(6)]
    >>> found = find_sentinels(np.array([[place] for place in [*moving, *[[-1.0, -1.0]] * 5]]))
    >>> [(one.column, one.spot, len(one.rows), one.annotated) for one in found]
    [(0, (-1.0, -1.0), 5, 11)]
    >>> find_sentinels(np.array([[place] for place in [*moving, *[[22.5, 17.5]] * 5]]))
    []
    >>> find_sentinels(np.full((20, 1, 2), 100.0))
    []
    """
    found: list[Sentinel] = []
    if not points.size:
        return found
    told = np.full((len(points), points.shape[1]), False)
    extents = np.full((len(points), 2), np.nan)
    for i, size in enumerate(sizes or ()):
        if size is not None and size[0]:
            extents[i] = size
    for corner, side in _CORNERS.items():
        if any(side) and np.isnan(extents).all():
            break
        moved = points - np.where(np.array(side), extents, 0.0)[:, None] if any(side) else points
        for one in _from_corner(moved, points, extents, told, corner):
            told[list(one.rows), one.column] = True
            found.append(one)
    return sorted(found, key=lambda one: one.column)


def _from_corner(
    moved: FloatArray, points: FloatArray, extents: FloatArray, told: npt.NDArray[np.bool_], corner: str
) -> list[Sentinel]:
    """Suspicions by places counted from one corner of the images."""
    known = np.isfinite(moved).all(-1) & ~told
    reach = _reach(points, extents)
    impossible = _outside(points, extents) & known
    odd = (impossible | _at_corner(points, extents)) & known
    anywhere: dict[tuple[float, float], int] = {}
    for place in moved[odd].tolist():
        anywhere[tuple(place)] = anywhere.get(tuple(place), 0) + 1
    found = []
    for k in range(points.shape[1]):
        rows = np.flatnonzero(known[:, k])
        if not len(rows) or (corner != "top left" and not odd[rows, k].any()):
            continue
        spots = _spots(moved[rows, k], reach)
        annotated = int(np.isfinite(points[:, k]).all(-1).sum())
        many = len(spots.counts)
        strange = np.bincount(spots.of_row, odd[rows, k], many) == spots.counts
        beyond = np.bincount(spots.of_row, impossible[rows, k], many) == spots.counts
        candidates = strange | ((spots.counts >= max(_ENOUGH, _SHARE * annotated)) & (corner == "top left"))
        for s in np.flatnonzero(candidates).tolist():
            place = (float(spots.places[s, 0]), float(spots.places[s, 1]))
            if beyond[s]:
                suspect = anywhere[place] > 1
            elif strange[s]:
                suspect = anywhere[place] > 1 and _alone(spots, s) and (many > 1 or place == (0, 0))
            else:
                suspect = _repeated(spots, s)
            if suspect:
                found.append(Sentinel(k, place, tuple(rows[spots.of_row == s].tolist()), annotated, corner))
    return found


def _spots(places: FloatArray, reach: float) -> _Spots:
    joined, of_row, counts = np.unique(places[:, 0] + 1j * places[:, 1], return_inverse=True, return_counts=True)
    return _Spots(np.stack([joined.real, joined.imag], 1), counts.astype(np.int64), np.asarray(of_row, np.int64), reach)


def _outside(points: FloatArray, extents: FloatArray) -> npt.NDArray[np.bool_]:
    """(N, K) whether a point is beyond its image, as far as its size is known."""
    beyond = points > extents[:, None] - 1 + _SLACK  # no size: False
    return np.asarray((points < -_SLACK).any(-1) | beyond.any(-1))


def _at_corner(points: FloatArray, extents: FloatArray) -> npt.NDArray[np.bool_]:
    """(N, K) whether a point is at a corner of its image, within the pixel that a tool may count from."""
    low = np.abs(points) <= 1
    high = np.abs(points - (extents[:, None] - 1)) <= 1
    return np.asarray((low | high).all(-1))


def _reach(points: FloatArray, extents: FloatArray) -> float:
    """How near places are of one region: by the diagonal of the images, or of what the points cover."""
    sides = extents[np.isfinite(extents).all(-1)]
    if not len(sides):
        inside = points[np.isfinite(points).all(-1) & ~_outside(points, extents)]
        sides = np.diff(np.percentile(inside, [5, 95], axis=0), axis=0) if len(inside) else np.zeros((1, 2))
    return max(_NEAR[0], _NEAR[1] * float(np.median(np.hypot(*sides.T))))


def _alone(spots: _Spots, s: int) -> bool:
    """Whether a landmark is rarely near a spot that it is often on."""
    near = int(spots.counts[np.hypot(*(spots.places - spots.places[s]).T) <= spots.reach].sum() - spots.counts[s])
    others = int(spots.counts.sum() - spots.counts[s])
    return near * 4 <= min(int(spots.counts[s]), others)


def _repeated(spots: _Spots, s: int) -> bool:
    """Whether a spot inside the images is repeated as no landmark that moves would."""
    others = np.delete(spots.counts, s)
    if len(others) < _ENOUGH or spots.counts[s] > _RESTS * spots.counts.sum():
        return False
    return int(others.max()) <= max(1, _TYPICAL * int(others.sum())) and _alone(spots, s)
