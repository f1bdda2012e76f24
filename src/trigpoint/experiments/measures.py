"""What a finished run is worth: its errors, its widths, and the numbers that tables and claims show of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trigpoint import metrics
from trigpoint.data import LandmarkDataset
from trigpoint.experiments.findings import Row, between
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.functional import image_errors
from trigpoint.metrics.summary import SDR_MM
from trigpoint.report import figures
from trigpoint.report.tables import number
from trigpoint.runs import RunFolder

Errors = Sequence[FloatArray]  # (N, K) of each seed
CLAMP = 1.001  # times a bound, and nearer, counts as standing at it


@dataclass(frozen=True)
class Job:
    """One training run: recipe values, overrides {dotted key: value}, and its seed.

    With ``data.landmarks`` among the overrides it is measured on these landmarks.
    """

    name: str
    recipe: Mapping[str, Any]
    overrides: Mapping[str, Any]
    seed: int

    @property
    def folder(self) -> str:
        """Name of the run folder."""
        return f"{self.name}-seed{self.seed}"

    def own(self, test: LandmarkDataset) -> LandmarkDataset:
        """The test images with the landmarks that this run finds."""
        names: Sequence[str] | None = self.overrides.get("data.landmarks")
        return test if names is None else test.pick(names)


@dataclass(frozen=True)
class Outcome:
    """A finished run and its errors on the test images.

    ``points`` (N, K, 2) predicted and ``errors`` (N, K) in original pixels, NaN = not annotated (all NaN when the run
    broke off before its first validation); K counts the landmarks of the run; ``history`` is its ``metrics.csv``;
    ``constant`` the mean error of always answering with the mean training position; ``note`` says what went wrong.
    """

    job: Job
    run: RunFolder
    points: FloatArray
    errors: FloatArray
    history: pd.DataFrame
    note: str = ""
    constant: float = math.inf
    test: LandmarkDataset | None = None

    @cached_property
    def mre(self) -> float:
        """Mean error on the test images, px; NaN without weights."""
        return metrics.mean_error(self.errors)

    @property
    def val_mre(self) -> float:
        """Mean error on the validation images in the epoch that was kept, px."""
        return float(self.history["val_mre_px"].min())

    @property
    def last_val_mre(self) -> float:
        """Mean error on the validation images after the last epoch, px."""
        known = self.history["val_mre_px"].dropna()
        return float(known.iloc[-1]) if len(known) else math.nan

    @property
    def first_val_mre(self) -> float:
        """Mean error on the validation images when they were first looked at, px."""
        known = self.history["val_mre_px"].dropna()
        return float(known.iloc[0]) if len(known) else math.nan

    def learned_after(self, share: float) -> float:
        """First epoch whose validation error is below that share of a constant answer's; NaN = none was."""
        good = self.history["epoch"][self.history["val_mre_px"] < share * self.constant]
        return float(good.iloc[0]) if len(good) else math.nan

    @property
    def epochs(self) -> list[int]:
        """Numbers of the epochs."""
        return [int(epoch) for epoch in self.history["epoch"]]

    def sigma(self, names: Sequence[str] | None = None) -> FloatArray:
        """Widths (E, K) that each epoch trained with, heatmap px; of all landmarks or of ``names``."""
        every = [column for column in self.history if str(column).startswith("sigma_")]
        columns = every if names is None else [f"sigma_{name}" for name in names]
        return np.asarray(self.history[columns], dtype=np.float64)

    @property
    def last_sigma(self) -> float:
        """Width of the last epoch, map px; NaN when no epoch was finished."""
        widths = self.sigma()
        return float(widths[-1].mean()) if widths.size else math.nan

    @property
    def least_sigma(self) -> float:
        """Least width of any epoch, map px; NaN when no epoch was finished."""
        widths = self.sigma()
        return float(widths.min()) if widths.size else math.nan

    @property
    def minutes(self) -> float:
        """Minutes of training, validation not counted."""
        return float(self.history["minutes"].max())

    @cached_property
    def nme(self) -> FloatArray:
        """Normalised mean error (N,) of each test image, a share; NaN where it has no normalising length."""
        return np.zeros(0) if self.test is None else nme_of_images(self.points, self.test)

    def summary(self) -> Row:
        """What ``results.json`` keeps of it."""
        return {
            "run": self.run.folder.name,
            "setting": self.job.name,
            "seed": self.job.seed,
            "test_mre_px": self.mre,
            "test_median_px": metrics.median_error(self.errors),
            "constant_mre_px": self.constant,
            "val_mre_px": self.val_mre,
            "last_val_mre_px": self.last_val_mre,
            "epochs": len(self.history),
            "minutes": self.minutes,
            "sigma_last": self.last_sigma,
            "sigma_least": self.least_sigma,
            "note": self.note,
        }


MEASURES: Mapping[str, Callable[[Outcome, float], float]] = {
    "mre": lambda run, at: run.mre,
    "median": lambda run, at: metrics.median_error(run.errors),
    "within": lambda run, at: 100 * metrics.success_rate(run.errors, [at])[at],
    "nme": lambda run, at: 100 * metrics.mean_error(run.nme),
    "nme_above": lambda run, at: 100 * metrics.failure_rate(run.nme, at),
    "val_mre": lambda run, at: run.val_mre,
    "first_val_mre": lambda run, at: run.first_val_mre,
    "learned_after": lambda run, at: run.learned_after(at),
    "last_to_best": lambda run, at: run.last_val_mre / run.val_mre,
    "last_sigma": lambda run, at: run.last_sigma,
    "least_sigma": lambda run, at: run.least_sigma,
    "minutes": lambda run, at: run.minutes,
}
"""Numbers of a run that a study's tables can name; ``at`` is a limit, for those that have one."""


def clamped(widths: FloatArray, least: float, most: float) -> str:
    """That widths (E, ...) end at ``least``, or never left ``most``, wherever they are from; else an empty text.

    >>> clamped(np.array([[8.0], [2.0], [1.0]]), 1.0, 8.0), clamped(np.array([[8.0], [2.0]]), 1.0, 8.0)
    ('sigma ends at its lower bound, 1 map px', '')
    """
    if (widths[-1] <= CLAMP * least).all():
        return f"sigma ends at its lower bound, {least:g} map px"
    return f"sigma never left its upper bound, {most:g} map px" if (CLAMP * widths >= most).all() else ""


def nme_of_images(points: FloatArray, test: LandmarkDataset) -> FloatArray:
    """``Outcome.nme`` of the points (N, K, 2) that were found, original pixels."""
    marks = test.landmarks
    if marks.normalizer is None or not np.isfinite(points).any():
        return np.full(len(test), np.nan)
    return image_errors(metrics.normalized_error(points, test.points, marks.normalizer, marks))


def errors_mm(points: FloatArray, test: LandmarkDataset) -> FloatArray:
    """Errors (N, K) in mm; NaN = not annotated, infinite = not predicted."""
    return metrics.radial_error_mm(points, test.points, test.spacings)


class Measured:
    """Errors (N, K) in mm of all seeds together: mean and its 95 % interval over subjects (N,), SD, SDR by threshold.

    A point without prediction is a failure in the SDR and left out of the others, which are NaN without any.

    >>> found = Measured([np.array([[1.0, 3.0], [2.0, np.nan]])], ["anna", "ben"])
    >>> found.mre, found.sdr[2.0], found.interval  # too few subjects for an interval
    (2.0, 0.6666666666666666, (nan, nan))
    """

    def __init__(self, errors: Sequence[FloatArray], subjects: Sequence[str]) -> None:
        together = np.concatenate(errors)
        known = np.where(np.isinf(together), np.nan, together)
        self.mre, self.sd = metrics.mean_error(known), metrics.standard_deviation(known)
        self.interval = metrics.bootstrap_interval(known, list(subjects) * len(errors))
        self.sdr = metrics.success_rate(together, SDR_MM)

    def cells(self) -> dict[str, str]:
        """Columns of a table."""
        mean = {"MRE ± SD mm": mean_and_sd(self.mre, self.sd), "95 % of MRE": between(self.interval)}
        return mean | sdr_cells([100 * share for share in self.sdr.values()], 1)


def mean_and_sd(mean: float | None, sd: float | None = None) -> str:
    """MRE ± SD as text, as far as they are known."""
    return number(mean) + ("" if sd is None or math.isnan(sd) else f" ± {sd:.2f}")


def sdr_cells(per_cent: Sequence[float], digits: int = 2) -> dict[str, str]:
    """SDR at the thresholds of ``SDR_MM`` as cells of a row."""
    return {f"SDR {limit:g} mm %": f"{share:.{digits}f}" for limit, share in zip(SDR_MM, per_cent, strict=True)}


def figure_of(kind: str, title: str, shown: Mapping[str, Sequence[Outcome]]) -> Figure:
    """Validation error, widths, distribution of errors, or error against minutes, a line for each setting."""
    if kind == "validation":
        lines = {name: curves(runs) for name, runs in shown.items() if any(len(run.history) for run in runs)}
        return figures.comparison(lines, title=title)
    if kind == "sigma":
        wide = {f"{name}, seed {run.job.seed}": run.sigma() for name, runs in shown.items() for run in runs}
        longest = max((len(values) for values in wide.values()), default=0)
        means = {name: padded(values.mean(axis=1), longest).tolist() for name, values in wide.items()}
        return figures.sigma_curves(list(range(longest)), means)
    if kind == "ced":
        errors = {name: np.concatenate([run.errors for run in runs]) for name, runs in shown.items()}
        top = float(np.nanquantile(np.concatenate([values.ravel() for values in errors.values()]), 0.97))
        return figures.ced_plot(errors, threshold=float(f"{top:.2g}"))
    return figures.time_to_accuracy({name: timed(runs[0]) for name, runs in shown.items()})


def curves(runs: Sequence[Outcome]) -> tuple[list[int], FloatArray]:
    """Epochs and validation errors (seeds, E), NaN after a run broke off."""
    longest = max((run.epochs for run in runs), key=len)
    rows = [padded(run.history["val_mre_px"].to_numpy(dtype=np.float64), len(longest)) for run in runs]
    return longest, np.stack(rows)


def timed(run: Outcome) -> tuple[list[float], list[float]]:
    """Minutes and validation errors of the epochs that were validated."""
    known = run.history.dropna(subset="val_mre_px")
    return known["minutes"].to_list(), known["val_mre_px"].to_list()


def padded(values: FloatArray, length: int) -> FloatArray:
    """``values`` with NaN up to ``length``."""
    return np.concatenate([values, np.full(length - len(values), np.nan)])
