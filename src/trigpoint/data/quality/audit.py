"""Which labels are likely wrong: shifted points and swapped ones, by what the other points of the same object say.

A Gaussian model of the aligned shapes is fitted on other subjects (cross-fitting). For each landmark it says where the
other landmarks of the object expect it. By how much the labels of other images of the same subject lie beside that is
taken off: a person's nose is crooked in all photographs. What is left, in units of the landmark's own spread, is the
residual. A spread counts as at least a quarter of what is usual: that a landmark which others fix exactly is rounded
otherwise is no fault. A swap is judged by how much more likely the shape becomes when the two are swapped back. No
image is read.

Points that a detector has found in the images join the model as more points of each object, which are not judged. So
a label is expected where the other labels and the found points say, each as much as it is to be trusted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.subsets import nested_order
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray

Indices = npt.NDArray[np.int64]

FOLDS = 5
FEWEST = 20  # objects with enough points to learn a shape from
NEIGHBOURS = 3  # of each landmark that it may have been swapped with
_ROUNDS = 3  # of alignment
_SHRINK = 0.002  # of the variance that is added to each coordinate, so that the model stays one of many shapes
_FLOOR = 0.25  # of the usual spread of a landmark: no spread counts as less
_RAYLEIGH = 1.1774  # median of the distance from the middle of a Gaussian in two dimensions, its SD is 1
_CLIP = 4.0  # robust standard deviations beyond which a coordinate teaches the model nothing more


class Suspect(NamedTuple):
    """A label that is likely wrong. ``kind``: "shifted", "swapped", or "mirrored" where all pairs are swapped; "copy"
    where the same picture has other labels, see ``apart``.

    ``score``: the residual in units of the landmark's own spread, or the same for a swap. ``expected``: where a shifted
    landmark would be, original pixels.
    """

    row: int
    kind: str
    landmarks: tuple[str, ...]
    score: float
    expected: tuple[float, float] | None = None


@dataclass(frozen=True)
class Audit:
    """``residuals`` (N, K) of all labels, NaN where there is none, and the likeliest fault of each row, worst first;
    ``spread`` (K,) of each landmark, the unit of its residuals, original pixels."""

    residuals: FloatArray
    suspects: tuple[Suspect, ...]
    spread: FloatArray


def audit(data: LandmarkDataset, found: FloatArray | None = None) -> Audit:
    """Look for wrong labels in a dataset. Raises DataError where there are too few to say what is usual.

    ``found`` (N, K, 2): what a detector that has not learned from these labels found, original pixels. Rows and
    landmarks that are NaN in it are judged by the shapes alone.
    """
    points = np.where(data.visibility[..., None] > 0, data.points, np.nan)
    usable = np.isfinite(points[..., 0]).sum(1) >= 3
    if usable.sum() < FEWEST or points.shape[1] < 3:
        got = f"got {int(usable.sum())} with {points.shape[1]} landmarks"
        raise DataError(f"{data.table or data.name}: expected {FEWEST} objects with 3 landmarks or more, {got}")
    shapes = points[usable]
    aligned, turns = _aligned(shapes)
    fold = _folds(data)[usable]
    pairs = [(data.landmarks.index(a), data.landmarks.index(b)) for a, b in data.landmarks.pairs]
    swaps = _swaps(aligned, pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # medians of landmarks that nobody labelled or found
        known = aligned
        if found is not None:
            apart = np.einsum("nij,nkj->nki", np.linalg.inv(turns), found[usable] - shapes)
            known = np.concatenate([aligned, aligned + apart], 1)
        judged = _cross_fitted(known, fold, swaps, len(data.landmarks))
        offset = np.einsum("nij,nkj->nki", turns, judged.offset)
        groups = np.array(data.groups)[usable]
        alone = _without_subjects(offset, groups)
        judged, spread = judged._replace(distance=_distances(alone)), _spread(alone)
    residuals = np.full(points.shape[:2], np.nan)
    residuals[usable] = judged.distance
    expected = shapes - offset
    flipped = _mirrored(shapes, aligned, pairs)
    suspects = _worst(np.flatnonzero(usable), data.landmarks.names, judged, swaps, expected, flipped)
    return Audit(residuals, tuple(sorted(suspects, key=lambda one: -one.score)), spread)


# -- shapes ---------------------------------------------------------------------------------------------------------


def _aligned(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shapes (N, K, 2) turned, scaled and moved onto their median, and what turns a difference (N, 2, 2) back."""
    mean = _centred(points[np.argmax(np.isfinite(points[..., 0]).sum(1))])
    out, turns = points, np.tile(np.eye(2), (len(points), 1, 1))
    for _ in range(_ROUNDS):
        out, turns = _onto(points, mean)
        mean = _centred(np.nanmedian(out, axis=0))
    return out, turns


def _centred(shape: FloatArray) -> FloatArray:
    moved: FloatArray = shape - np.nanmean(shape, axis=0)
    out: FloatArray = moved / np.sqrt(np.nanmean(np.square(moved).sum(-1)))
    return out


def _onto(points: FloatArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each shape by the similarity that fits best, outliers counting less, in a second round."""
    z, target = points[..., 0] + 1j * points[..., 1], mean[:, 0] + 1j * mean[:, 1]
    weight = (np.isfinite(z) & np.isfinite(target)).astype(float)
    z, target = np.nan_to_num(z), np.nan_to_num(target)
    factor = middle = other = np.zeros(len(z), complex)
    for _ in range(3):
        total = np.maximum(weight.sum(1), 1e-9)
        middle, other = (weight * z).sum(1) / total, (weight * target).sum(1) / total
        from_, to = z - middle[:, None], target - other[:, None]
        factor = (weight * from_.conj() * to).sum(1) / np.maximum((weight * np.abs(from_) ** 2).sum(1), 1e-12)
        apart = np.abs(factor[:, None] * from_ - to)
        usual: FloatArray = np.nanmedian(np.where(weight > 0, apart, np.nan), axis=1)
        weight = np.where(weight > 0, 1 / np.maximum(apart / np.maximum(usual[:, None], 1e-9), 1.0), 0.0)
    moved = factor[:, None] * (z - middle[:, None]) + other[:, None]
    out = np.where(np.isfinite(points), np.stack([moved.real, moved.imag], -1), np.nan)
    back = 1 / np.where(np.abs(factor) > 1e-12, factor, 1)
    return out, np.stack([np.stack([back.real, -back.imag], -1), np.stack([back.imag, back.real], -1)], -2)


def _folds(data: LandmarkDataset) -> Indices:
    """A part for each row; subjects are not divided."""
    groups = list(dict.fromkeys(data.groups))
    order = nested_order([(group, group) for group in groups], 0, False)
    part = {groups[i]: at % FOLDS for at, i in enumerate(order)}
    return np.array([part[group] for group in data.groups])


class _Model(NamedTuple):
    mean: FloatArray  # (2K,)
    covariance: FloatArray  # (2K, 2K)


def _model(shapes: FloatArray) -> _Model:
    """Mean and covariance of shapes (N, K, 2); what is missing is filled by what the model expects, twice."""
    flat = shapes.reshape(len(shapes), -1)
    mean = np.nanmedian(flat, axis=0)
    mean = np.where(np.isfinite(mean), mean, 0.0)
    usual = 1.4826 * np.nanmedian(np.abs(flat - mean), axis=0)
    usual = np.where(np.isfinite(usual) & (usual > 0), usual, np.nanmax(usual, initial=1e-3))
    known = np.isfinite(flat)
    clipped = mean + np.clip(flat - mean, -_CLIP * usual, _CLIP * usual)
    filled = np.where(known, clipped, mean)
    covariance = np.diag(usual**2)
    for _ in range(3):
        centred = filled - filled.mean(0)
        covariance = centred.T @ centred / len(filled) + _SHRINK * np.diag(usual**2)
        mean = filled.mean(0)
        if known.all():
            break
        for pattern in np.unique(known, axis=0):
            rows = np.flatnonzero((known == pattern).all(1))
            if not pattern.all():
                weights = np.linalg.solve(covariance[np.ix_(pattern, pattern)], covariance[np.ix_(pattern, ~pattern)])
                filled[np.ix_(rows, ~pattern)] = mean[~pattern] + (clipped[rows][:, pattern] - mean[pattern]) @ weights
    return _Model(mean, covariance)


# -- judging --------------------------------------------------------------------------------------------------------


class _Judged(NamedTuple):
    distance: FloatArray  # (n, k) of the landmarks that are there, by the model's own spread
    offset: FloatArray  # (n, k, 2) from where it is expected, aligned
    gain: FloatArray  # (n, swaps)


def _cross_fitted(shapes: FloatArray, fold: Indices, swaps: Sequence[tuple[int, int]], judged: int) -> _Judged:
    """Distances, offsets and gains (square roots, in units of the usual distance), each by a model of the other folds.

    ``shapes`` (n, K, 2), of which the first ``judged`` points are labels, and the others only tell of them.
    """
    distance, offset = np.full((len(shapes), judged), np.nan), np.full((len(shapes), judged, 2), np.nan)
    gain = np.full((len(shapes), len(swaps)), -np.inf)
    for part in range(FOLDS):
        model = _model(shapes[fold != part])
        for rows, seen in _alike(shapes, np.flatnonzero(fold == part)):
            found, labels = _judged(model, shapes[rows], seen, swaps), seen[seen < judged]
            distance[np.ix_(rows, labels)] = found.distance[:, : len(labels)]
            offset[np.ix_(rows, labels)] = found.offset[:, : len(labels)]
            gain[rows] = found.gain
    scale = np.sqrt(float(np.nanmedian(distance**2)) or 1.0)
    return _Judged(distance, offset, np.sqrt(np.maximum(gain, 0.0)) / scale)


def _without_subjects(offset: FloatArray, groups: npt.NDArray[np.str_]) -> FloatArray:
    """Offsets (n, k, 2) without what is common to the other objects of the same subject, as far as that is reliable:
    how far subjects differ, against how far objects of a subject do, says by how much it counts."""
    _, at = np.unique(groups, return_inverse=True)
    known = np.isfinite(offset[..., :1])
    middle = np.nanmedian(offset, axis=0)
    usual = 1.4826 * np.nanmedian(np.abs(offset - middle), axis=0)
    clipped = np.where(known, np.clip(offset - middle, -_CLIP * usual, _CLIP * usual), 0.0)
    count, total = np.zeros((at.max() + 1, *known.shape[1:])), np.zeros((at.max() + 1, *offset.shape[1:]))
    np.add.at(count, at, known)
    np.add.at(total, at, clipped)
    apart = np.where(known, clipped - (total / np.maximum(count, 1))[at], 0.0)
    within = np.square(apart).sum(0) / np.maximum(np.maximum(count - 1, 0).sum(0), 1)
    between = np.maximum(np.square(clipped).sum(0) / np.maximum(known.sum(0), 1) - within, 0.0)
    others = np.maximum(count[at] - 1, 0)
    trust = between / np.maximum(between + within / np.maximum(others, 1), 1e-12)
    common = np.where(others > 0, trust * (total[at] - clipped) / np.maximum(others, 1), 0.0)
    out: FloatArray = offset - common
    return out


def _distances(offset: FloatArray) -> FloatArray:
    """How far offsets (n, k, 2) are out, in units of what is usual for their landmark: the median is about 1."""
    floor = _FLOOR * float(np.nanmedian(np.linalg.norm(offset, axis=-1)))
    out = np.full(offset.shape[:2], np.nan)
    for k in range(offset.shape[1]):
        rows = np.flatnonzero(np.isfinite(offset[:, k, 0]))
        if not len(rows):
            continue
        apart = offset[rows, k] - np.median(offset[rows, k], axis=0)
        covariance = _robust(apart) + max(floor, 1e-9) ** 2 * np.eye(2)
        square = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart)
        out[rows, k] = np.sqrt(square) / _RAYLEIGH
    return out


def _spread(offset: FloatArray) -> FloatArray:
    """The usual length (K,) of offsets (n, k, 2), at least the floor; NaN for landmarks that nobody labelled."""
    usual = np.nanmedian(np.linalg.norm(offset, axis=-1), axis=0)
    out: FloatArray = np.hypot(usual, _FLOOR * np.nanmedian(np.linalg.norm(offset, axis=-1)))
    return out


def _robust(apart: FloatArray) -> FloatArray:
    """The covariance (2, 2) of offsets (n, 2) in which those far out count less, as with Student's t of 2 degrees of
    freedom, scaled so that half of a Gaussian lies where half of them does."""
    weight, covariance, tiny = np.ones(len(apart)), np.eye(2), 1e-12 * np.eye(2)
    square = np.ones(len(apart))
    for _ in range(5):
        covariance = (apart * weight[:, None]).T @ apart / max(weight.sum(), 1e-9) + tiny
        square = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart)
        weight = 1 / np.maximum(square / 2, 1.0)
    out: FloatArray = covariance * float(np.median(square)) / _RAYLEIGH**2
    return out


def _judged(model: _Model, shapes: FloatArray, seen: Indices, swaps: Sequence[tuple[int, int]]) -> _Judged:
    """Shapes (n, K, 2) that have the landmarks ``seen``."""
    columns = np.stack([2 * seen, 2 * seen + 1], -1).ravel()
    precision = np.linalg.inv(model.covariance[np.ix_(columns, columns)]).astype(np.float64)
    apart = shapes[:, seen].reshape(len(shapes), -1) - model.mean[columns]
    pulled = (apart @ precision).reshape(len(shapes), len(seen), 2)
    own = precision.reshape(len(seen), 2, len(seen), 2)[np.arange(len(seen)), :, np.arange(len(seen))]
    offset = np.einsum("kij,nkj->nki", np.linalg.inv(own), pulled)
    distance = np.sqrt(np.maximum(np.einsum("nki,nki->nk", offset, pulled), 0.0))
    at = {int(k): i for i, k in enumerate(seen)}
    gain = np.full((len(shapes), len(swaps)), -np.inf)
    for s, (a, b) in enumerate(swaps):
        if a in at and b in at:
            gain[:, s] = _swap_gain(precision, pulled, shapes, (at[a], at[b]), seen)
    return _Judged(distance, offset, gain)


def _swap_gain(
    precision: FloatArray, pulled: FloatArray, shapes: FloatArray, swapped: tuple[int, int], seen: Indices
) -> FloatArray:
    """By how much the squared distance from the model falls when two landmarks are swapped back: places in ``seen``."""
    places = np.array(swapped)
    step = shapes[:, seen[places[::-1]]] - shapes[:, seen[places]]
    columns = np.stack([2 * places, 2 * places + 1], -1).ravel()
    flat, inner = step.reshape(len(shapes), -1), precision[np.ix_(columns, columns)]
    first_order = np.einsum("nki,nki->n", step, pulled[:, places])
    gain: FloatArray = -2 * first_order - np.einsum("ni,ij,nj->n", flat, inner, flat)
    return gain


def _mirrored(shapes: FloatArray, aligned: FloatArray, pairs: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    """Which shapes fit much better when all pairs are swapped: somebody has labelled left and right the other way."""
    if not pairs:
        return np.zeros(len(shapes), bool)
    order = np.arange(shapes.shape[1])
    for a, b in pairs:
        order[a], order[b] = b, a
    mean = np.nanmedian(aligned, axis=0)
    turned, _ = _onto(shapes[:, order], mean)
    before, after = (np.nanmean(np.square(one - mean).sum(-1), axis=1) for one in (aligned, turned))
    out: npt.NDArray[np.bool_] = after < before / 4
    return out


def _swaps(shapes: FloatArray, pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The landmarks that somebody may have swapped: left and right, and each with its nearest others."""
    mean = np.nanmedian(shapes, axis=0)
    apart = np.linalg.norm(mean[:, None] - mean[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(np.nan_to_num(apart, nan=np.inf), axis=1)[:, :NEIGHBOURS]
    found = {(min(a, int(b)), max(a, int(b))) for a, others in enumerate(near) for b in others}
    return sorted(found | {(min(pair), max(pair)) for pair in pairs})


def _alike(shapes: FloatArray, rows: Indices) -> list[tuple[Indices, Indices]]:
    """Rows with the same landmarks, together."""
    known = np.isfinite(shapes[rows, :, 0])
    return [(rows[(known == pattern).all(1)], np.flatnonzero(pattern)) for pattern in np.unique(known, axis=0)]


def _worst(
    rows: Indices,
    names: Sequence[str],
    judged: _Judged,
    swaps: Sequence[tuple[int, int]],
    expected: FloatArray,
    flipped: npt.NDArray[np.bool_],
) -> list[Suspect]:
    """The likeliest fault of each row."""
    suspects = []
    for i, row in enumerate(rows.tolist()):
        k, best = int(np.nanargmax(judged.distance[i])), int(np.argmax(judged.gain[i]))
        shift, swap = float(judged.distance[i, k]), float(judged.gain[i, best])
        if flipped[i]:
            suspects.append(Suspect(row, "mirrored", (), max(shift, swap)))
        elif swap > shift:
            suspects.append(Suspect(row, "swapped", tuple(names[landmark] for landmark in swaps[best]), swap))
        else:
            x, y = expected[i, k].tolist()
            suspects.append(Suspect(row, "shifted", (names[k],), shift, (x, y)))
    return suspects
