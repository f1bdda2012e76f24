"""How much larger the error of a point is likely to be than usual, told by the prediction itself.

A radius that is one number per landmark covers too much where the image is easy and too little where it is hard. So the
radii of a run grow with a *doubt*, a factor of each landmark in each image:

    log doubt = sum over f of weight_f * (x_f - usual_f)

from what predicts error: x_f are the log-odds of the score, how far the point lies from where the other points imply
it, both averaged over the image as well, and the spread of several attempts where the method makes any. The weights
are fitted to the logarithms of the errors on the validation images, none with the wrong sign. Radii are then those of
split conformal prediction for the error divided by the doubt (normalised conformal prediction: Papadopoulos et al.
2008), where each subject's doubt is of weights that were fitted without it, so that they hold for new ones.

Where the others imply a point: shapes are Gaussian once moved, turned and scaled onto their mean, and the residual of
one landmark given all others follows from the inverse covariance (its row, divided by the root of its diagonal).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trigpoint.landmarks import FloatArray, ImageDetections, Prediction

SUBJECTS = 20  # of validation from which weights are fitted; below, the doubt is 1 everywhere
FOLDS = 5
FLAGGED = 0.1  # share of the validation images that are doubtful enough for a person to look at
LEAST, MOST = np.exp(-1.0), np.exp(2.0)  # of a doubt
LEAST_SCORE = 1e-3
NEAR = 0.1  # of the median error: smaller ones are as good
UNKNOWN = complex(np.nan, np.nan)  # NaN alone has the imaginary part 0, which would count
ALONE = 0.1  # share of its own variance that each coordinate has beside what it shares with the others, at least


@dataclass(frozen=True)
class Difficulty:
    """``mean`` (K, 2): the mean shape; ``residual`` (2K, 2K): from what a shape, moved onto it, deviates by (all x,
    then all y) to residuals given all others, in their SD; empty below 3 landmarks. ``usual`` (F, K): the mean of each
    number that predicts error; ``weights`` (F,) of ``names``. ``flag``: mean doubt of an image above which a person
    should look."""

    mean: FloatArray
    residual: FloatArray
    names: tuple[str, ...]
    usual: FloatArray
    weights: FloatArray
    flag: float

    def doubts(self, found: Sequence[ImageDetections]) -> FloatArray:
        """The doubt (N, K) of each landmark of some images with one instance each; 1 where nothing is known."""
        return _doubts(self._numbers(found) - self.usual[:, None], self.weights)

    def _numbers(self, found: Sequence[ImageDetections]) -> FloatArray:
        """The numbers (F, N, K) that predict error, by ``names``."""
        points = np.stack([one.points[0] for one in found])
        known: dict[str, FloatArray] = {
            "score": logit(np.clip(np.stack([one.scores[0] for one in found]), LEAST_SCORE, 1 - LEAST_SCORE)),
            "shape": np.log1p(self.away(points)),
        }
        if "spread" in self.names:
            known["spread"] = np.log1p(np.stack([one.numbers["spread"][0] / one.scale for one in found]))
        for name in ("score", "shape"):
            mean = _mean(known[name], axis=1)
            known[f"mean {name}"] = np.broadcast_to(mean[:, None], known[name].shape)
        return np.stack([known[name] for name in self.names])

    def away(self, points: FloatArray) -> FloatArray:
        """How far each point is from where the others imply it (N, K), in SD; 0 where that cannot be said."""
        if not self.residual.size:
            return np.zeros(points.shape[:2])
        shapes = points[..., 0] + 1j * points[..., 1]
        mean = self.mean[:, 0] + 1j * self.mean[:, 1]
        beyond = np.nan_to_num(onto(shapes, mean)[0] - mean)
        standard = np.concatenate([beyond.real, beyond.imag], 1) @ self.residual.T
        count = len(mean)
        return np.where(np.isnan(points[..., 0]), np.nan, np.hypot(standard[:, :count], standard[:, count:]))

    @classmethod
    def fit(
        cls, found: Prediction, truth: FloatArray, subjects: Sequence[str], shapes: FloatArray
    ) -> tuple[Difficulty, FloatArray] | None:
        """From what was ``found`` in N validation images with the labels ``truth`` (N, K, 2), and labelled ``shapes``
        (M, K, 2) of training; with it the doubts (N, K), each subject's by weights that were fitted without it.

        None for multi-instance runs, and where fewer than ``SUBJECTS`` are validated on.
        """
        if found.multi_instance:
            return None
        errors = np.linalg.norm(found.points - truth, axis=-1) / found.scales[:, None]
        rows = np.isfinite(errors).any(1)
        owner = np.unique(np.asarray(subjects), return_inverse=True)[1]
        if len(set(owner[rows])) < SUBJECTS:
            return None
        mean, residual = _shape_model(shapes)
        names = ["score", "mean score"] + (["shape", "mean shape"] if residual.size else [])
        names += ["spread"] if found.spread is not None else []
        none = np.zeros(len(names))
        bare = cls(mean, residual, tuple(names), np.zeros((len(names), len(mean))), none, np.inf)
        numbers = bare._numbers(found.detections)
        usual = _mean(numbers, axis=1)
        beyond = numbers - usual[:, None]
        signs = np.array([-1.0 if "score" in name else 1.0 for name in names])
        doubts = np.ones(errors.shape)
        for fold in range(FOLDS):
            own = owner % FOLDS == fold
            doubts[own] = _doubts(beyond[:, own], _weights(beyond[:, ~own], errors[~own], signs))
        whole = replace(bare, usual=usual, weights=_weights(beyond, errors, signs))
        return replace(whole, flag=float(np.quantile(doubts.mean(1), 1 - FLAGGED))), doubts

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers of six digits."""
        return {
            "names": list(self.names),
            "weights": _plain(self.weights),
            "usual": _plain(self.usual),
            "mean": _plain(self.mean),
            "residual": _plain(self.residual),
            "flag": _plain(np.array(self.flag)),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Difficulty:
        """As ``to_dict`` gave it. Raises KeyError, TypeError or ValueError for others."""
        mean, residual, usual, weights = (
            np.array(values[key], np.float64) for key in ("mean", "residual", "usual", "weights")
        )
        names, count = tuple(str(name) for name in values["names"]), len(mean)
        given = mean.shape, usual.shape, weights.shape, residual.shape
        residual_shape = (2 * count, 2 * count) if residual.size else residual.shape
        if given != ((count, 2), (len(names), count), (len(names),), residual_shape):
            raise ValueError(f"difficulty: expected numbers of {count} landmarks, got shapes {given}")
        return cls(mean, residual, names, usual, weights, float(values["flag"]))


def logit(shares: FloatArray) -> FloatArray:
    """Log-odds."""
    odds: FloatArray = np.log(shares) - np.log1p(-shares)
    return odds


def onto(shapes: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Complex shapes (N, K) moved, turned and scaled onto a mean (K,) in least squares, and the factor (N,) that did
    it; NaN where fewer than two points are known."""
    known = np.isfinite(shapes) & np.isfinite(mean)
    count = np.maximum(known.sum(1, keepdims=True), 1)
    own = np.where(known, shapes, 0)
    goal = np.where(known, mean, 0)
    centre, middle = own.sum(1, keepdims=True) / count, goal.sum(1, keepdims=True) / count
    own, goal = np.where(known, own - centre, 0), np.where(known, goal - middle, 0)
    power = (own.conj() * own).real.sum(1)
    factor = np.where(power > 0, (own.conj() * goal).sum(1) / np.where(power > 0, power, 1), np.nan)
    return np.where(np.isfinite(shapes), (shapes - centre) * factor[:, None] + middle, UNKNOWN), factor


def _shape_model(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean shape (K, 2) and the matrix of residuals (2K, 2K); the latter empty where shapes say nothing."""
    shapes = points[..., 0] + 1j * points[..., 1]
    whole = shapes[np.isfinite(shapes).all(1)]
    count = shapes.shape[1]
    if count < 3 or len(whole) < 3:
        return np.zeros((count, 2)), np.zeros((0, 0))
    mean = whole[0]
    for _ in range(5):
        mean = onto(whole, mean)[0].mean(0)
    beyond = onto(whole, mean)[0] - mean
    values = np.concatenate([beyond.real, beyond.imag], 1)
    covariance = values.T @ values / len(values)
    alone = max(ALONE, 2 * count / (len(values) + 2 * count))  # few shapes say little of how landmarks move together
    own = covariance.diagonal()
    floor = (0.05**2) * own.mean()
    precision = np.linalg.inv((1 - alone) * covariance + np.diag(alone * own + floor))
    return np.stack([mean.real, mean.imag], 1), precision / np.sqrt(precision.diagonal())[:, None]


def _weights(beyond: FloatArray, errors: FloatArray, signs: FloatArray) -> FloatArray:
    """Weights (F,) of least squares for the logarithm of the ``errors`` (N, K), input pixels, each of its sign or 0."""
    from scipy.optimize import nnls

    height = np.log(errors + max(NEAR * float(np.nanmedian(errors)), 1e-3))
    height = height - _mean(height, axis=0)
    known = np.isfinite(height) & np.isfinite(beyond).all(0)
    return signs * nnls((signs[:, None] * beyond[:, known]).T, height[known])[0]


def _doubts(beyond: FloatArray, weights: FloatArray) -> FloatArray:
    return np.clip(np.exp(np.tensordot(weights, np.nan_to_num(beyond), 1)), LEAST, MOST)


def _mean(values: FloatArray, axis: int) -> FloatArray:
    """The mean of what is known, 0 where nothing is."""
    known = np.isfinite(values)
    total: FloatArray = np.where(known, values, 0).sum(axis) / np.maximum(known.sum(axis), 1)
    return total


def _plain(values: FloatArray) -> Any:
    return np.vectorize(lambda value: float(f"{value:.6g}"), otypes=[float])(values).tolist() if values.size else []
