"""What an evaluation found: numbers, errors, of which run and data, and in which unit a reader wants them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.instances import ImageInstances
from trigpoint.evaluation.measuring import Measured
from trigpoint.evaluation.traces import Drawing
from trigpoint.landmarks import FloatArray, Prediction
from trigpoint.metrics import DetectionReport, PrecisionRecall, normalized_error, radial_error_mm
from trigpoint.runs import RunFolder
from trigpoint.runs.label_curve import outlook, read_curve


class Detected(NamedTuple):
    """Of multi-instance runs: counts at the run's ``threshold``, the curve over all thresholds, and the truth."""

    scores: DetectionReport
    curve: PrecisionRecall
    threshold: float
    images: list[ImageInstances]


@dataclass(kw_only=True)
class Result:
    """``metrics`` by their names in ``metrics.json``; ``warnings`` are what a reader of the numbers has to know.

    ``errors`` (N, K) in original pixels, NaN = not annotated; all NaN in multi-instance runs, which have ``detected``
    instead. ``prediction`` of such runs holds all candidates, also those below the threshold.
    """

    metrics: dict[str, Any]
    errors: FloatArray
    prediction: Prediction
    dataset: LandmarkDataset
    run: RunFolder
    split: str
    warnings: list[str] = field(default_factory=list)
    detected: Detected | None = None
    measured: Measured | None = None
    traces: list[Drawing] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The metrics, plus what was evaluated."""
        about = {"run": self.run.folder.name, "dataset": self.dataset.name, "split": self.split}
        more = {"more_labels": self.outlook} if self.outlook else {}
        return {**about, **self.metrics, "warnings": list(self.warnings), **more}

    @cached_property
    def lengths(self) -> tuple[str, FloatArray]:
        """Unit and errors (N, K): mm where the pixel size of every image is known, else px."""
        spacings = self.dataset.spacings
        if self.detected is not None or not np.isfinite(spacings).all():
            return "px", self.errors
        return "mm", radial_error_mm(self.prediction.points, self.dataset.points, spacings)

    @cached_property
    def leading(self) -> tuple[str, FloatArray]:
        """Unit and errors (N, K) as a reader of this set asks for them: mm; else % of its normaliser; else px.

        Millimetres and shares only where they are known of every annotated point.
        """
        unit, errors = self.lengths
        marks = self.dataset.landmarks
        if unit == "px" and self.detected is None and marks.normalizer is not None:
            points = self.prediction.points, self.dataset.points
            shares = 100 * normalized_error(*points, marks.normalizer, marks)
            if (np.isnan(shares) == np.isnan(errors)).all():
                return f"% of {marks.normalizer.name}", shares
        return unit, errors

    def length(self, position: int, landmark: int) -> str:
        """The error of one landmark in one image, in the unit of ``leading``."""
        unit, errors = self.leading
        return f"{errors[position, landmark]:.2f} {unit}"

    def row(self, position: int) -> int:
        """The first row of the dataset that is of the image at this position."""
        return position if self.detected is None else self.detected.images[position].rows[0]

    @property
    def outlook(self) -> list[str]:
        """What to expect of more labels, where ``trigpoint data curve`` has measured that."""
        curve = read_curve(self.run)
        return [] if curve is None else outlook(curve)

    def extremes(self) -> tuple[list[int], list[int]]:
        """Images in the middle and at the end of those that are measured, by their errors; of few images few, so that
        none is both."""
        if self.detected is None:
            wrong = np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in self.leading[1]])
            order = [int(i) for i in np.argsort(wrong) if not np.isnan(wrong[i])]
            most = 8
            worst = order[::-1][: _share(most, order)]
        else:  # of the images that show something, or were said to
            counts = self.detected.scores.counts
            wrong = (counts.misses() + counts.false_positives).sum(1)
            busy = np.flatnonzero((counts.actual + counts.predicted).sum(1))
            order = [int(i) for i in busy[np.argsort(wrong[busy], kind="stable")]]
            most = 6
            worst = [i for i in order[::-1][: _share(most, order)] if wrong[i]]
        middle = max(0, len(order) // 2 - most // 2)
        return [i for i in order[middle : middle + most] if i not in worst], worst

    @property
    def spacing_source(self) -> str | None:
        """Where millimetres come from, None without any."""
        if self.metrics["mre_mm"] is None:
            return None
        sources = sorted({self.dataset.read(i).spacing_source for i in range(min(3, len(self.dataset)))} - {""})
        stated = "the spacing stated in the dataset (column spacing_mm or dataset.yaml)"
        return ", ".join(sources) if sources and self.dataset.spacing_mm is None else stated


def _share(most: int, images: list[int]) -> int:
    """How many of the images are shown as worst: of few no more than half."""
    return min(most, -(-len(images) // 2))
