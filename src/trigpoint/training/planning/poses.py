"""How annotated shapes differ from each other by a similarity: what training has to vary."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from trigpoint.landmarks import FloatArray

ROUNDS = 5  # of the Procrustes fit
SURE = 0.9  # probability that a spread is not larger than what few shapes are taken to show


@dataclass(frozen=True)
class Poses:
    """How shapes differ by a similarity from their mean: standard deviations of what augmentation should vary.

    ``rotation`` in degrees, ``scale`` of its natural logarithm, ``shift`` as a share of the image's longer side.
    ``free``: the shapes are turned to all sides. ``known``: there were enough points to tell.
    """

    rotation: float
    scale: float
    shift: float
    free: bool
    known: bool


def poses_of(shapes: FloatArray, longer: float) -> Poses:
    """Similarities that bring shapes (N, K, 2), NaN = missing, to their mean: generalised Procrustes analysis.

    >>> turned = np.radians([-20.0, 0.0, 20.0])
    >>> square = np.array([[0, 0], [9, 0], [9, 9], [0, 9.0]])
    >>> turns = [[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in turned]
    >>> found = poses_of(np.stack([square @ np.array(turn).T for turn in turns]), 10.0)
    >>> round(found.rotation), round(found.scale, 6), found.free
    (16, 0.0, False)
    """
    usable = [shape for shape in shapes if np.isfinite(shape).all(axis=1).sum() > 1]
    centers = np.array([np.nanmean(shape, axis=0) for shape in shapes]) if len(shapes) else np.zeros((0, 2))
    shift = float(centers.std(axis=0).max() / longer) if len(centers) > 1 else 0.0
    if len(usable) < 2:
        return Poses(0.0, 0.0, shift, free=False, known=False)
    complex_shapes = np.array([shape[:, 0] + 1j * shape[:, 1] for shape in usable])
    mean = complex_shapes[np.argmax(np.isfinite(complex_shapes).sum(axis=1))]
    mean = mean - np.nanmean(mean)
    for _ in range(ROUNDS):
        factors, moved = zip(*(_fit(shape, mean) for shape in complex_shapes), strict=True)
        kept = np.array(moved)
        columns = np.isfinite(kept).any(axis=0)
        mean = np.where(columns, np.nansum(kept, axis=0) / np.maximum(np.isfinite(kept).sum(axis=0), 1), np.nan)
        mean = mean - np.nanmean(mean)
    turns = np.array(factors)
    if np.abs(turns).max() < 1e-12:  # all landmarks of an object lie at one place
        return Poses(0.0, 0.0, shift, free=False, known=False)
    units = turns / np.maximum(np.abs(turns), 1e-12)
    resultant = abs(units.mean())
    angles = np.angle(units / (units.mean() / max(resultant, 1e-12)))
    return Poses(
        rotation=float(np.degrees(angles.std())),
        scale=float(np.log(np.maximum(np.abs(turns), 1e-12)).std()),
        shift=shift,
        free=bool(resultant < 0.6),
        known=True,
    )


def _fit(shape: FloatArray, mean: FloatArray) -> tuple[complex, FloatArray]:
    """The complex factor (turn and scale) of ``mean`` in ``shape``, and the shape without it; both (K,) complex."""
    both = np.isfinite(shape) & np.isfinite(mean)
    centred, target = shape - shape[both].mean() if both.any() else shape, mean
    if both.sum() < 2:
        return 1 + 0j, np.full_like(shape, np.nan)
    reference = target[both] - target[both].mean()
    factor = complex(np.vdot(reference, centred[both]) / max(float(np.vdot(reference, reference).real), 1e-12))
    return factor, centred / (factor if abs(factor) > 1e-12 else 1) + target[both].mean()


def allowance(shapes: int) -> float:
    """How many times the SD that so many shapes show the true one may be, with the probability ``SURE``.

    >>> [round(allowance(count), 2) for count in (2, 5, 10, 50, 1000)]
    [3.0, 1.94, 1.47, 1.15, 1.03]
    """
    if shapes < 2:
        return 3.0
    return min(3.0, math.sqrt((shapes - 1) / float(chi2.ppf(1 - SURE, shapes - 1))))
