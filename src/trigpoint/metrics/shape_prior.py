"""What the labelled shapes say of found points: the most likely points, given both.

The labels' shapes, each turned, scaled and moved onto their mean, are a Gaussian: a point distribution model (Cootes et
al. 1995) whose covariance is drawn towards that of points which move together the nearer they are, as far as there are
few shapes (Lüthi et al., TPAMI 2018). The errors of found points are Gaussian, too, as large as those in the validation
images. The mean of the posterior is linear in the points (Wiener filter): no more than a product with a matrix. How a
figure lies in an image, how large it is and how it is turned, is not drawn to anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.landmarks import FloatArray

LEAST_LANDMARKS, MOST_LANDMARKS = 5, 200
LEAST_SHAPES, LEAST_IMAGES = 10, 5  # that were labelled, and that validate, below which nothing is said
LEAST_GAIN = 0.01  # share of the validation error that has to be saved
SURE = 2.0  # times its standard error over the images that this has to be
STRENGTHS = (0.25, 0.5, 1.0)  # times the measured variance of the errors
SHAPES = 20  # as many count as much as nearness does
NEAR = 0.4  # distance at which two points move half as much together, in units of the figure's size
POOLED = 5  # images by which the variance of a landmark is drawn to that of all
FREE = 100.0  # variance of the ways in which a figure may lie, in units of its size: nothing is known of them
_ROUNDS = 3


@dataclass(frozen=True)
class ShapePrior:
    """``mean`` (K, 2): the mean shape, its centre at 0 and its size (root mean square distance from there) 1; NaN for
    landmarks that too few shapes have. ``gain`` (2k, 2k) of the k others: the share of a difference from the mean that
    is kept, x and y of each point in turn."""

    mean: FloatArray
    gain: FloatArray

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which landmarks (K,) the shapes tell of."""
        found: npt.NDArray[np.bool_] = np.isfinite(self.mean[:, 0])
        return found

    def applied(self, points: FloatArray) -> FloatArray:
        """The most likely points (..., K, 2), given found ones in pixels of any size; an image of which one of the
        known landmarks was not found (NaN) keeps its points."""
        known, goal = self.known, self.mean[self.known]
        given = points[..., known, :]
        with np.errstate(invalid="ignore"):
            aligned, turn, centre = _aligned(given, goal)
            apart = (aligned - goal).reshape(*given.shape[:-2], -1)
            moved = goal + (apart @ self.gain.T).reshape(given.shape)
            back = _complex(moved) * turn[..., None] + centre[..., None]
        likely = np.stack([back.real, back.imag], -1)
        out = points.copy()
        out[..., known, :] = np.where(np.isfinite(likely).all((-2, -1), keepdims=True), likely, given)
        return out

    @classmethod
    def fit(cls, shapes: FloatArray, found: FloatArray, truth: FloatArray) -> ShapePrior | None:
        """By labelled ``shapes`` (N, K, 2) and the points ``found`` in validation images (V, K, 2) beside the ``truth``
        in pixels, NaN = none; the strength that errs least there. None where none surely saves a hundredth of the
        error, and where too little is known."""
        known = np.isfinite(shapes[..., 0]).sum(0) >= max(LEAST_SHAPES, len(shapes) / 2)
        count, off = int(known.sum()), np.linalg.norm(found - truth, axis=-1)
        seen = np.isfinite(off[:, known]).any(1)
        if not LEAST_LANDMARKS <= count <= MOST_LANDMARKS or seen.sum() < LEAST_IMAGES:
            return None
        goal, residuals = _mean_and_rest(shapes[:, known])
        if len(residuals) < LEAST_SHAPES or not np.isfinite(found[:, known]).all():
            return None
        moving = _covariance(goal, residuals)
        noise = _noise(found[seen][:, known], truth[seen][:, known], goal)
        mean = np.full((len(known), 2), np.nan, np.float64)
        mean[known] = goal
        gains = [np.linalg.solve(moving + strength * np.diag(noise), moving).T for strength in STRENGTHS]  # symmetric
        tried = [cls(mean, np.asarray(gain, np.float64)) for gain in gains]
        saved = [off[seen] - np.linalg.norm(one.applied(found[seen]) - truth[seen], axis=-1) for one in tried]
        best = int(np.argmax([np.nanmean(each) for each in saved]))
        each = np.nanmean(saved[best][:, known], axis=1)
        sure = SURE * float(each.std(ddof=1)) / np.sqrt(len(each))
        return tried[best] if each.mean() >= max(sure, LEAST_GAIN * float(np.nanmean(off[seen]))) else None

    def among(self, before: Sequence[str], names: Sequence[str]) -> ShapePrior | None:
        """Of landmarks ``before`` (K) the same among ``names``, of which it tells nothing of new ones; None where one
        that it tells of is left out."""
        told = [name for name, known in zip(before, self.known, strict=True) if known]
        if not set(told) <= set(names):
            return None
        mean = np.full((len(names), 2), np.nan)
        order = [told.index(name) for name in names if name in told]
        mean[[i for i, name in enumerate(names) if name in told]] = self.mean[self.known][order]
        rows = np.stack([2 * np.array(order), 2 * np.array(order) + 1], -1).ravel()
        return ShapePrior(mean, self.gain[np.ix_(rows, rows)])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, as they are written."""
        mean = [None if not np.isfinite(pair).all() else pair for pair in self.mean.tolist()]
        return {"mean": mean, "gain": self.gain.round(7).tolist()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ShapePrior:
        """As ``to_dict`` gave it. Raises KeyError, TypeError or ValueError for others."""
        mean = np.array([[np.nan] * 2 if pair is None else pair for pair in values["mean"]], np.float64).reshape(-1, 2)
        found = cls(mean, np.array(values["gain"], np.float64))
        size = 2 * int(found.known.sum())
        if found.gain.shape != (size, size) or not np.isfinite(found.gain).all():
            raise ValueError(f"expected a gain of {size} x {size} numbers, got {found.gain.shape}")
        return found


def _complex(points: FloatArray) -> Any:
    return points[..., 0] + 1j * points[..., 1]


def _aligned(points: FloatArray, goal: FloatArray) -> tuple[FloatArray, Any, Any]:
    """Points (..., K, 2) turned, scaled and moved onto ``goal`` (K, 2), and the turn (...,) and centre (...,), complex,
    that put them back. Points that are NaN stay so and count for nothing."""
    z, target = _complex(points), _complex(goal)
    there = np.isfinite(z)
    count = np.maximum(there.sum(-1), 1)
    own, theirs = np.where(there, z, 0).sum(-1) / count, np.where(there, target, 0).sum(-1) / count
    away, wanted = np.where(there, z - own[..., None], 0), np.where(there, target - theirs[..., None], 0)
    turn = (wanted.conj() * away).sum(-1) / np.square(np.abs(wanted)).sum(-1)
    turn = np.where(turn == 0, np.nan, turn)  # all in one place
    centre = own - turn * theirs
    back = (z - centre[..., None]) / turn[..., None]
    return np.stack([back.real, back.imag], -1), turn, centre


def _mean_and_rest(shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The mean shape (K, 2), and what is left of the shapes that have 3 points and more (N, 2K); 0 where unlabelled."""
    shapes = shapes[np.isfinite(shapes[..., 0]).sum(1) >= 3]
    goal = _unit(shapes[np.argmax(np.isfinite(shapes[..., 0]).sum(1))])
    goal = np.where(np.isfinite(goal), goal, 0.0)
    for _ in range(_ROUNDS):
        goal = _unit(np.nanmean(_aligned(shapes, goal)[0], axis=0))
    rest = _aligned(shapes, goal)[0] - goal
    return goal, np.nan_to_num(rest).reshape(len(rest), -1)


def _unit(shape: FloatArray) -> FloatArray:
    moved: FloatArray = shape - np.nanmean(shape, axis=0)
    out: FloatArray = moved / np.sqrt(np.nanmean(np.square(moved).sum(-1)))
    return out


def _covariance(goal: FloatArray, residuals: FloatArray) -> FloatArray:
    """Of the shapes (2K, 2K): that of the ``residuals`` (N, 2K), drawn to one in which near points move together."""
    count = len(residuals)
    own = residuals.T @ residuals / count
    variance = _drawn(own.diagonal().reshape(-1, 2).mean(1), count)
    apart = np.linalg.norm(goal[:, None] - goal, axis=-1)
    near = np.kron(np.exp(-apart / NEAR) * np.sqrt(np.outer(variance, variance)), np.eye(2))
    share = count / (count + SHAPES)
    across = goal[:, ::-1] * [-1, 1]
    ways = np.stack([np.tile([1.0, 0], (len(goal), 1)), np.tile([0, 1.0], (len(goal), 1)), goal, across], -1)
    lying = ways.reshape(-1, 4)
    found: FloatArray = share * own + (1 - share) * near + FREE * lying @ lying.T
    return found


def _noise(found: FloatArray, truth: FloatArray, goal: FloatArray) -> FloatArray:
    """The variance (2K,) of the errors of found points, in units of the figure's size."""
    size = np.abs(_aligned(found, goal)[1])[:, None, None]
    squares = np.square((found - truth) / size).mean(-1)
    counts = np.isfinite(squares).sum(0)
    mean = np.where(counts > 0, np.nan_to_num(squares).sum(0) / np.maximum(counts, 1), 0.0)
    return np.repeat(_drawn(mean, counts), 2)


def _drawn(variance: FloatArray, counts: Any) -> FloatArray:
    """Variances (K,) of so many values, drawn to their mean the fewer these are."""
    found: FloatArray = (counts * variance + POOLED * variance.mean()) / (counts + POOLED)
    return found
