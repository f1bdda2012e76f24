"""Whether errors of landmarks near one another go together, and what one corrected point then says of the others.

Errors of predicted points are read as a Gaussian process over the image: those of two landmarks at distance d correlate
by (1 - alone) exp(-d / length), with d in units of the figure's size. Given the errors of the points that were
corrected, the conditional mean is where the others have to move (Rasmussen and Williams 2006, Eq. 2.23).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.landmarks import FloatArray

LENGTHS, ALONE = (0.2, 0.4, 0.8), (0.1, 0.3, 0.5)
LEAST_POINTS = 100  # whose errors are known, below which nothing is said
LEAST_GAIN = 0.1  # share of the corrections that has to be saved
MOST_LANDMARKS = 200  # above, a page would have to compute too much while a point is dragged
_IMAGES = 30  # that are tried
_FAR = 1.5  # times the median error: as far away a point is worth correcting


class Together(NamedTuple):
    """``length`` in units of the figure's size (the root mean square distance of its points from their centre),
    ``alone`` the share of an error that no other landmark shares."""

    length: float
    alone: float

    def correlation(self, points: FloatArray) -> FloatArray:
        """(K, K) of the errors of ``points`` (K, 2), all of them known."""
        size = np.sqrt(np.square(points - points.mean(0)).sum(1).mean())
        apart = np.linalg.norm(points[:, None] - points, axis=-1) / max(float(size), 1e-9)
        found: FloatArray = (1 - self.alone) * np.exp(-apart / self.length) + self.alone * np.eye(len(points))
        return found

    def moved(self, points: FloatArray, corrected: FloatArray) -> FloatArray:
        """Predicted ``points`` (K, 2) after some of them were ``corrected`` (K, 2), NaN = not: where all of them are
        expected then. Points that were not found (NaN) stay so.

        >>> points = np.array([[0.0, 0.0], [10.0, 0.0], [90.0, 0.0]])
        >>> corrected = np.array([[np.nan, np.nan], [14.0, 0.0], [np.nan, np.nan]])
        >>> Together(0.4, 0.1).moved(points, corrected).round(1).tolist()
        [[1.9, 0.0], [14.0, 0.0], [90.0, 0.0]]
        """
        found = np.flatnonzero(np.isfinite(points).all(-1))
        known = np.flatnonzero(np.isfinite(corrected[found]).all(-1))
        out = points.copy()
        if len(known):
            together = self.correlation(points[found])
            shift = corrected[found[known]] - points[found[known]]
            out[found] += together[:, known] @ np.linalg.solve(together[np.ix_(known, known)], shift)
            out[found[known]] = corrected[found[known]]
        return out

    @classmethod
    def fit(cls, points: FloatArray, truth: FloatArray) -> Together | None:
        """How errors of ``points`` (N, K, 2) go together: what would have saved the most corrections of images that
        the network has not learned, in which a person corrects the worst point first; None where that is less
        than a tenth of them, or where too few errors are known."""
        known = np.asarray(np.isfinite(points - truth).all(-1))
        if known.sum() < LEAST_POINTS or points.shape[1] > MOST_LANDMARKS:
            return None
        chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), _IMAGES)).round().astype(int))
        far = _FAR * float(np.median(np.linalg.norm(points - truth, axis=-1)[known]))
        images = [(points[i, known[i]], truth[i, known[i]]) for i in chosen if known[i].any()]
        plain = sum(int(corrections(None, found, true, far).sum()) for found, true in images)
        counts = {
            one: sum(int(corrections(one, found, true, far).sum()) for found, true in images)
            for one in (cls(length, alone) for length in LENGTHS for alone in ALONE)
        }
        best = min(counts, key=lambda one: counts[one])
        return best if counts[best] <= (1 - LEAST_GAIN) * plain and plain else None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Together:
        """As ``_asdict`` gave it. Raises KeyError, TypeError or ValueError for others."""
        found = cls(float(values["length"]), float(values["alone"]))
        if not (found.length > 0 and 0 < found.alone <= 1):
            raise ValueError(f"expected a length above 0 and a share from 0 to 1, got {found}")
        return found


def corrections(together: Together | None, points: FloatArray, truth: FloatArray, far: float) -> npt.NDArray[np.bool_]:
    """Which points (K, 2) a person corrects who puts the one that is farthest off where it belongs, until none is
    ``far`` off."""
    left, done = truth - points, np.zeros(len(points), bool)
    shared = np.eye(len(points)) if together is None else together.correlation(points)
    while (off := np.where(done, 0.0, np.linalg.norm(left, axis=-1))).max(initial=0.0) > far:
        first = int(np.argmax(off))
        done[first] = True
        share = shared[first] / shared[first, first]  # as ``moved``, one correction after another
        left = left - share[:, None] * left[first]
        shared = shared - np.outer(share, shared[first])
        left[done], shared[done], shared[:, done] = 0.0, 0.0, 0.0
    return done
