"""The result of an evaluation: numbers, of which run and data, and how they become figures and files."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.data.instances import ImageInstances
from trigpoint.evaluation.figures import curve, write_figures
from trigpoint.evaluation.galleries import galleries
from trigpoint.evaluation.measuring import Measured
from trigpoint.evaluation.tables import tables
from trigpoint.evaluation.traces import Drawing
from trigpoint.landmarks import FloatArray, Prediction
from trigpoint.metrics import DetectionReport, PrecisionRecall, normalized_error, radial_error_mm
from trigpoint.metrics.measurements import apart
from trigpoint.report import (
    Panel,
    Picture,
    bland_altman,
    label_curve_plot,
    per_landmark_bars,
    prediction_overlay,
    render_html,
)
from trigpoint.report.style import figure_png
from trigpoint.report.table_files import write_tables
from trigpoint.report.views import Gallery
from trigpoint.runs import RunFolder
from trigpoint.runs.label_curve import outlook, read_curve

_MOST_PIXELS = 512  # a figure of many images draws larger ones smaller; the HTML report has them enlarged


class Detected(NamedTuple):
    """Of multi-instance runs: counts at the run's ``threshold``, the curve over all thresholds, and the truth."""

    scores: DetectionReport
    curve: PrecisionRecall
    threshold: float
    images: list[ImageInstances]


@dataclass(kw_only=True)
class Report:
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

    def to_html(self, path: str | Path | None = None, overwrite: bool = False) -> str:
        """One self-contained HTML page with numbers, curves and overlays; also written to ``path`` when given."""
        training = [Picture(title, file) for title, file in self.run.curves().items()]
        text = render_html(
            self.metrics,
            [*self.figures(), *training],
            settings=self.run.recipe().model_dump(mode="json"),
            warnings=self.warnings,
            title=f"Evaluation of {self.run.folder.name}",
            subtitle=f"{self.dataset.name}, split {self.split}",
            spacing_source=self.spacing_source,
        )
        if path is not None:
            write_text(path, text, overwrite=overwrite)
        return text

    def to_tables(self, path: str | Path, overwrite: bool = False) -> list[Path]:
        """Write the numbers of each landmark, image and subject; gives the files.

        ``errors.csv``: the landmarks, and ``errors-images.csv`` and ``errors-subjects.csv`` beside it; .xlsx: a sheet
        for each; .tex: the landmarks, for a paper. Lengths as in ``lengths``; of multi-instance runs px.
        """
        return write_tables(path, tables(self), overwrite=overwrite)

    def to_figures(self, path: str | Path, overwrite: bool = False) -> list[Path]:
        """Write figures for a paper, .pdf, .svg or .png; gives the files.

        ``errors.pdf``: the cumulative errors, and ``errors-landmarks.pdf``: the mean error of each landmark with its
        interval; of multi-instance runs precision against recall, and both and F1 of each landmark.
        """
        return write_figures(path, {self.run.folder.name: self}, overwrite=overwrite)

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

    def figures(self) -> list[Picture | Gallery]:
        """Curves, points over typical and over the worst images, and the worst landmarks close by."""
        names, pictures = self.dataset.landmarks.names, list[Picture | Gallery]()
        if self.detected is None:
            pictures.append(Picture("Cumulative error", curve({self.run.folder.name: self})))
            if len(names) > 1:
                unit, errors = self.lengths
                bars = {name: errors[:, k] for k, name in enumerate(names)}
                pictures.append(Picture("Error per landmark", per_landmark_bars(bars, unit)))
            if self.metrics.get("measurements"):
                text = "differences against means (Bland and Altman); line: bias, dashed: 95 % limits of agreement"
                pictures.append(Picture("Agreement of measurements", self._agreement(), text))
        else:
            drawn = curve({self.run.folder.name: self})
            pictures.append(Picture("Precision and recall", drawn, "at every score; the threshold is that of the run"))
        pictures += galleries(self)
        if law := read_curve(self.run):
            more = np.geomspace(law.counts.min(), 10 * law.counts.max(), 40)
            drawn = label_curve_plot(list(law.counts), list(law.errors), list(more), [law.expected(n) for n in more])
            pictures.append(Picture("How many labels?", drawn, "; ".join(outlook(law))))
        # patches need no more than to be as wide on the page as text
        return pictures + [Picture(one.title, figure_png(one.draw(), dpi=100), one.caption) for one in self.traces]

    def overlay(self, positions: list[int]) -> Figure:
        """Figure of the images at these positions with true and predicted points."""
        detected, found = self.detected, self.prediction.detections
        rows = [self.row(i) for i in positions]
        images, steps = [], []
        for row in rows:
            pixels = self.dataset.read(row).pixels
            step = max(1, -(-max(pixels.shape[1:]) // _MOST_PIXELS))
            images.append(pixels[:, ::step, ::step].transpose(1, 2, 0))
            steps.append(float(step))
        look: dict[str, Any] = {"captions": [self.dataset.samples[row].image.name for row in rows], "reduced": steps}
        if detected is None:
            scale = np.array(steps)[:, None, None]
            truth, points = self.dataset.points[positions] / scale, self.prediction.points[positions] / scale
            return prediction_overlay(images, truth, points, **look)
        shown = [(detected.images[i], found[i], step) for i, step in zip(positions, steps, strict=True)]
        truths = [image.points / step for image, _, step in shown]
        kept = [
            np.where(one.scores[..., None] > detected.threshold, one.points / step, np.nan) for _, one, step in shown
        ]
        look |= {"radius": detected.scores.radius[positions], "annotated": [image.annotated for image, _, _ in shown]}
        return prediction_overlay(images, truths, kept, self.dataset.landmarks.names, columns=3, **look)

    def extremes(self) -> tuple[list[int], list[int]]:
        """Images in the middle and at the end of those that are measured, by their errors."""
        if self.detected is None:
            wrong = np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in self.leading[1]])
            order, count = [int(i) for i in np.argsort(wrong) if not np.isnan(wrong[i])], 8
            worst = order[::-1][:count]
        else:  # of the images that show something, or were said to
            counts = self.detected.scores.counts
            wrong = (counts.misses() + counts.false_positives).sum(1)
            busy = np.flatnonzero((counts.actual + counts.predicted).sum(1))
            order, count = [int(i) for i in busy[np.argsort(wrong[busy], kind="stable")]], 6
            worst = [i for i in order[::-1][:count] if wrong[i]]
        middle = max(0, len(order) // 2 - count // 2)
        return order[middle : middle + count], worst

    def _agreement(self) -> Figure:
        assert self.measured is not None  # where there are numbers of measurements
        panels = {}
        for name, numbers in self.metrics["measurements"].items():
            truth, unit = self.measured.truth[name], self.measured.units[name]
            off = apart(self.measured.found[name], truth, unit)
            panels[name] = Panel(truth + off / 2, off, unit, numbers["bias"], numbers["limits"])
        return bland_altman(panels)

    @property
    def spacing_source(self) -> str | None:
        """Where millimetres come from, None without any."""
        if self.metrics["mre_mm"] is None:
            return None
        sources = sorted({self.dataset.read(i).spacing_source for i in range(min(3, len(self.dataset)))} - {""})
        stated = "the spacing stated in the dataset (column spacing_mm or dataset.yaml)"
        return ", ".join(sources) if sources and self.dataset.spacing_mm is None else stated
