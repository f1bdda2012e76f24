"""The mean error (ME) of the cross-task paper (Fu et al., MLMI 2020, section 3.2), in both of its readings.

The paper prints ME = 1/N sum_i 1/K ||p_i - q_i||_2 with p_i, q_i in R^2K, no normaliser, FR = share of images above 1.2
and AUC = area under the CED to 1.2:

- ``mean``: 1/K sum_k ||p_ik - q_ik||_2, the mean distance of an image, as "point-to-point error" is usually meant
- ``stacked``: the formula to the letter, the norm of all 2K differences divided by K. That is the root mean square
  distance over sqrt(K): for K = 14 a little more than a quarter of the other

The paper does not name its unit. Its errors of 0.83 are too small for distances in its 256-px images, whose maps of
64 x 64 cells leave about 1.5 px of rounding by themselves: so they are ``mean`` in cells of the map or ``stacked`` in
px of the image, which come to about the same. State the reading and the unit beside every number.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.functional import (
    area_under_ced,
    failure_rate,
    mean_by_image,
    mean_error,
    radial_error,
    standard_deviation,
)
from trigpoint.metrics.units import ArrayLike, as_array

Reading = Literal["mean", "stacked"]

THRESHOLD = 1.2  # what the paper calls a failure, in its unit


def mean_point_error(pred: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Mean distance (N,) over the annotated landmarks of each image, in the unit of the points.

    ``pred`` and ``truth`` (N, K, 2). NaN for an image without annotation, inf where a prediction is missing: it counts
    as a failure in ``failure_rate`` and ``area_under_ced``.

    >>> mean_point_error([[[3.0, 4.0], [0.0, 12.0]]], [[[0.0, 0.0], [0.0, 0.0]]]).tolist()  # (5 + 12) / 2
    [8.5]
    """
    return mean_by_image(radial_error(pred, truth))


def stacked_point_error(pred: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Norm of the 2K differences of each image divided by K, (N,); K counts its annotated landmarks.

    Arguments, NaN and inf as in ``mean_point_error``.

    >>> stacked_point_error([[[3.0, 4.0], [0.0, 12.0]]], [[[0.0, 0.0], [0.0, 0.0]]]).tolist()  # sqrt(25 + 144) / 2
    [6.5]
    """
    errors = radial_error(pred, truth)
    counts = (~np.isnan(errors)).sum(axis=1)
    return np.where(counts > 0, np.sqrt(np.nansum(errors**2, axis=1)) / np.maximum(counts, 1), np.nan)


@dataclass(frozen=True)
class PointErrorScores:
    """Result of ``point_error_scores``, NaN where not defined.

    ``mean`` and ``sd`` (N - 1) over the images with every prediction; ``failure_rate`` and ``auc`` (0 to 1) over all
    ``images``, the ``unpredicted`` among them, which lack a prediction, as failures.
    """

    mean: float
    sd: float
    failure_rate: float
    auc: float
    threshold: float
    images: int
    unpredicted: int


def point_error_scores(
    pred: ArrayLike,
    truth: ArrayLike,
    reading: Reading = "mean",
    scale: ArrayLike = 1.0,
    threshold: float = THRESHOLD,
) -> PointErrorScores:
    """ME +- SD over the images, FR and AUC: a row of the paper's Table 1.

    ``pred`` and ``truth`` (N, K, 2). ``scale``, one or one per image (N,): how many of the wanted units a pixel of the
    points is, such as 64 over the longer side of the image for cells of the paper's maps, 256 over it for px of its
    images. FR counts images above ``threshold``, the AUC goes up to it. Raises DataError for a scale that is not
    positive, ConfigError for an unknown reading or a threshold that is not positive.

    >>> found = point_error_scores([[[3.0, 4.0]], [[0.0, 1.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]], scale=0.25)  # 1.25, 0.25
    >>> found.mean, found.failure_rate, round(found.auc, 3)
    (0.75, 0.5, 0.396)
    """
    if reading not in ("mean", "stacked"):
        raise ConfigError(f"reading: expected 'mean' or 'stacked', got {reading!r}")
    per_image = mean_point_error(pred, truth) if reading == "mean" else stacked_point_error(pred, truth)
    factors = as_array(scale)
    if factors.shape not in ((), per_image.shape):
        raise DataError(f"scale: expected one number, or one for each of {len(per_image)} images, got {factors.shape}")
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise DataError("scale: expected finite numbers above 0, such as 64 over the longer side of the image")
    per_image = per_image * factors
    return PointErrorScores(
        mean=mean_error(per_image, missing="ignore"),
        sd=standard_deviation(per_image, missing="ignore"),
        failure_rate=failure_rate(per_image, threshold),
        auc=area_under_ced(per_image, threshold),
        threshold=threshold,
        images=int((~np.isnan(per_image)).sum()),
        unpredicted=int(np.isinf(per_image).sum()),
    )
