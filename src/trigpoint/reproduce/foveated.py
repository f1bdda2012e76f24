"""What the two experiments with the foveated pyramid share: points after each number of looks, metrics over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trigpoint.data import LandmarkDataset
from trigpoint.data.input.loading import EpochBatches, InputDataset, loader
from trigpoint.errors import RunError
from trigpoint.geometry import map_points
from trigpoint.landmarks import FloatArray
from trigpoint.methods import FoveatedMethod
from trigpoint.metrics import (
    bootstrap_interval,
    mean_error,
    radial_error,
    standard_deviation,
    success_rate,
    to_millimetres,
)
from trigpoint.metrics.summary import SDR_MM
from trigpoint.prediction import Predictor
from trigpoint.report.tables import UNKNOWN
from trigpoint.reproduce.study import batch_of, kept
from trigpoint.runs import RunFolder

LOOKS = (1, 2, 3, 5, 10)
"""Numbers of looks (iterations in prediction) that are compared."""


def points_after(run: RunFolder, test: LandmarkDataset, looks: Sequence[int] = LOOKS) -> dict[int, FloatArray]:
    """Points (N, K, 2) in original pixels after each number of looks, one path being long enough for all of them.

    The same as predictions with ``method.iterations`` set to each number. Raises RunError for a run of another method.
    """
    key = [*(str(sample.image) for sample in test.samples), "looks", *map(str, looks)]
    values = kept(run, key, lambda: _walk(run, test, looks))
    return dict(zip(looks, values, strict=True))


@torch.no_grad()
def _walk(run: RunFolder, test: LandmarkDataset, looks: Sequence[int]) -> FloatArray:
    predictor = Predictor.load(run)
    method = predictor.method
    if not isinstance(method, FoveatedMethod):
        raise RunError(f"{run.folder}: expected a run of the foveated pyramid, got {predictor.recipe.method_name}")
    data = InputDataset(test, predictor.pipeline)
    parts = []
    for batch in loader(data, EpochBatches(len(data), batch_of(predictor.recipe.data.input.size))):
        batch.images, batch.to_original = batch.images.to(predictor.device), batch.to_original.to(predictor.device)
        path = method.walk(method.source(batch.images), method.beginnings(batch), max(looks))
        ends = [map_points(batch.to_original, method.conclude(path[: count + 1]).points) for count in looks]
        parts.append(torch.stack(ends).double().cpu().numpy())
    found: FloatArray = np.concatenate(parts, axis=1)
    return found


# -- numbers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Errors in mm summed up: mean and its 95 % interval over subjects, SD, SDR (0 to 1) by threshold.

    A point without prediction is a failure in the SDR and left out of the others, which are NaN without any.
    """

    mre: float
    sd: float
    interval: tuple[float, float]
    sdr: Mapping[float, float]

    def cells(self) -> dict[str, str]:
        """Columns of a table."""
        return {
            "MRE ± SD mm": mean_and_sd(self.mre, self.sd),
            "95 % of MRE": between(self.interval),
            **sdr_cells([100 * share for share in self.sdr.values()], 1),
        }


def measure(errors: Sequence[FloatArray], subjects: Sequence[str]) -> Measured:
    """Errors (N, K) in mm of all seeds together; subjects (N,) are what the interval is drawn over.

    >>> found = measure([np.array([[1.0, 3.0], [2.0, np.nan]])], ["anna", "ben"])
    >>> found.mre, found.sdr[2.0], found.interval
    (2.0, 0.6666666666666666, (2.0, 2.0))
    """
    together = np.concatenate(errors)
    known = np.where(np.isinf(together), np.nan, together)
    return Measured(
        mean_error(known),
        standard_deviation(known),
        bootstrap_interval(known, list(subjects) * len(errors)),
        success_rate(together, SDR_MM),
    )


def errors_mm(points: FloatArray, test: LandmarkDataset) -> FloatArray:
    """Errors (N, K) in mm; NaN = not annotated, infinite = not predicted."""
    return to_millimetres(radial_error(points, test.points), test.spacings)


def difference(
    ours: Sequence[FloatArray], others: Sequence[FloatArray], subjects: Sequence[str]
) -> tuple[float, tuple[float, float]]:
    """Mean of ``ours`` minus that of ``others``, errors (N, K) of each seed, and its 95 % interval over subjects.

    Images and landmarks are the same and paired, so their difficulty cancels; seeds are averaged first, as far as a
    setting has them. NaN when a point has no prediction.

    >>> difference([np.array([[1.0], [2.0]])], [np.array([[2.0], [2.0]])], ["anna", "ben"])
    (-0.5, (-1.0, 0.0))
    """
    means = [np.stack(list(seeds)).mean(axis=0) for seeds in (ours, others)]
    if any(np.isinf(mean).any() for mean in means):
        return math.nan, (math.nan, math.nan)
    gaps = means[0] - means[1]
    return mean_error(gaps), bootstrap_interval(gaps, list(subjects))


def mean_and_sd(mean: float | None, sd: float | None) -> str:
    """MRE +- SD, as far as they are known.

    >>> mean_and_sd(1.012, 0.85), mean_and_sd(1.84, None), mean_and_sd(None, None)
    ('1.01 ± 0.85', '1.84', '–')
    """
    if mean is None or math.isnan(mean):
        return UNKNOWN
    return f"{mean:.2f}" + ("" if sd is None else f" ± {sd:.2f}")


def sdr_cells(per_cent: Sequence[float], digits: int = 2) -> dict[str, str]:
    """SDR at the thresholds of ``SDR_MM`` as cells of a row.

    >>> sdr_cells((88.32, 93.12, 96.14, 98.63))["SDR 2.5 mm %"]
    '93.12'
    """
    return {f"SDR {limit:g} mm %": f"{share:.{digits}f}" for limit, share in zip(SDR_MM, per_cent, strict=True)}


def between(bounds: tuple[float, float]) -> str:
    """Bounds as text, a dash where there are none.

    >>> between((0.951, 1.08)), between((math.nan, math.nan))
    ('0.95 to 1.08', '–')
    """
    return f"{bounds[0]:.2f} to {bounds[1]:.2f}" if np.isfinite(bounds).all() else UNKNOWN
