"""How annotated shapes differ from each other by a similarity: what training has to vary."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

from trigpoint.landmarks import FloatArray, IntArray

ROUNDS = 5  # of the Procrustes fit
SURE = 0.9  # probability that a spread is not larger than what few shapes are taken to show
FREE = 0.6  # mean resultant length of the turns, below which shapes are turned to all sides
BETTER, AGREED = 1 / 3, 0.9  # how much better one of the two hands fits, in so many of the shapes, where there are both
RARE, FEWEST = 0.1, 2  # share and number of the shapes of the rarer hand, below which it may be a mistake
SIDED = 0.5  # difference of the shares of both hands that show a landmark, from which it belongs to one of them
Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True)
class Poses:
    """How shapes differ by a similarity from their mean: standard deviations of what augmentation should vary.

    ``rotation`` in degrees, ``scale`` of its natural logarithm, ``shift`` as a share of the image's longer side.
    ``free``: the shapes are turned to all sides. ``known``: there were enough points to tell. ``mirrored``: share of
    the shapes that are mirror images of the others, at most a half; 0 where it is not clear that any are; the spreads
    are then those without the mirroring. ``sided``: mirrored shapes lack landmarks that the others have, such as the
    eye of the other side.
    """

    rotation: float
    scale: float
    shift: float
    free: bool
    known: bool
    mirrored: float = 0.0
    sided: bool = False


def poses_of(shapes: FloatArray, longer: float, order: IntArray | None = None) -> Poses:
    """Similarities that bring shapes (N, K, 2), NaN = missing, to their mean: generalised Procrustes analysis.

    ``order`` (K,): of the landmarks in a mirrored image; without it each mirrors itself.

    >>> turned = np.radians([-20.0, 0.0, 20.0])
    >>> square = np.array([[0, 0], [9, 0], [9, 9], [0, 9.0]])
    >>> turns = [[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in turned]
    >>> found = poses_of(np.stack([square @ np.array(turn).T for turn in turns]), 10.0)
    >>> round(found.rotation), round(found.scale, 6), found.free, found.mirrored
    (16, 0.0, False, 0.0)
    """
    usable = [shape for shape in shapes if np.isfinite(shape).all(axis=1).sum() > 1]
    centers = np.array([np.nanmean(shape, axis=0) for shape in shapes]) if len(shapes) else np.zeros((0, 2))
    shift = float(centers.std(axis=0).max() / longer) if len(centers) > 1 else 0.0
    if len(usable) < 2:
        return Poses(0.0, 0.0, shift, free=False, known=False)
    plain = np.array([shape[:, 0] + 1j * shape[:, 1] for shape in usable])
    turned = -plain.conj() if order is None else -plain.conj()[:, order]
    mirrored, is_mirrored = _mirrored(plain, turned)
    turns = _aligned(np.where(is_mirrored[:, None], turned, plain))[0]
    if np.abs(turns).max() < 1e-12:  # all landmarks of an object lie at one place
        return Poses(0.0, 0.0, shift, free=False, known=False)
    units = turns / np.maximum(np.abs(turns), 1e-12)
    resultant = abs(units.mean())
    angles = np.angle(units / (units.mean() / max(resultant, 1e-12)))
    return Poses(
        rotation=float(np.degrees(angles.std())),
        scale=float(np.log(np.maximum(np.abs(turns), 1e-12)).std()),
        shift=shift,
        free=bool(resultant < FREE),
        known=True,
        mirrored=mirrored,
        sided=mirrored > 0 and _sided(plain, is_mirrored),
    )


def _aligned(shapes: Complex, others: Complex | None = None) -> tuple[Complex, Complex, npt.NDArray[np.bool_]]:
    """Factors (turn and scale) of the shapes (N, K), their mean (K,), and of which of them the mirror image ``others``
    fits the mean better and was taken."""
    mean = shapes[np.argmax(np.isfinite(shapes).sum(axis=1))]
    mean = mean - np.nanmean(mean)
    taken, chosen = np.zeros(len(shapes), bool), shapes
    for _ in range(ROUNDS):
        if others is not None:
            taken = np.array([_misfit(b, mean) < _misfit(a, mean) for a, b in zip(shapes, others, strict=True)])
            chosen = np.where(taken[:, None], others, shapes)
        factors, moved = zip(*(_fit(shape, mean) for shape in chosen), strict=True)
        kept = np.array(moved)
        columns = np.isfinite(kept).any(axis=0)
        mean = np.where(columns, np.nansum(kept, axis=0) / np.maximum(np.isfinite(kept).sum(axis=0), 1), np.nan)
        mean = mean - np.nanmean(mean)
    return np.array(factors), mean, taken


def _mirrored(plain: Complex, turned: Complex) -> tuple[float, npt.NDArray[np.bool_]]:
    """The share of the shapes (N, K) that are mirror images of the others, and which: none unless nearly all fit far
    better as one of the two. ``turned``: their mirror images."""
    _, mean, taken = _aligned(plain, turned)
    if taken.sum() > len(taken) / 2:  # the mean began as one of the fewer
        plain, turned, taken = turned, plain, ~taken
    none = np.zeros(len(taken), bool)
    fits = np.array([(_misfit(a, mean), _misfit(b, mean)) for a, b in zip(plain, turned, strict=True)])
    fits = fits[np.isfinite(fits).all(axis=1)]  # shapes of two points fit in any case
    clear = fits.min(axis=1) < BETTER * fits.max(axis=1) if len(fits) else none
    enough = taken.sum() >= max(FEWEST, RARE * len(taken))
    if not enough or clear.mean() < AGREED:
        return 0.0, none
    return float(taken.mean()), taken


def _sided(plain: Complex, is_mirrored: npt.NDArray[np.bool_]) -> bool:
    """Whether any landmark is in most of the shapes of one hand and in few of the other."""
    there = np.isfinite(plain)
    return bool(np.abs(there[is_mirrored].mean(axis=0) - there[~is_mirrored].mean(axis=0)).max() > SIDED)


def _misfit(shape: Complex, mean: Complex) -> float:
    """What of the shape (K,) a turned and scaled mean leaves, as a share of it: 0 to 1; infinite below three points."""
    both = np.isfinite(shape) & np.isfinite(mean)
    if both.sum() < 3:
        return math.inf
    a, b = shape[both] - shape[both].mean(), mean[both] - mean[both].mean()
    size = float(np.vdot(a, a).real * np.vdot(b, b).real)
    return math.sqrt(max(0.0, 1 - abs(np.vdot(a, b)) ** 2 / size)) if size > 0 else math.inf


def _fit(shape: Complex, mean: Complex) -> tuple[complex, Complex]:
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
