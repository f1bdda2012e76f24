"""How the result of an evaluation becomes a page, tables and figures."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data.files import write_text
from trigpoint.evaluation.figures import agreement, curve, write_figures
from trigpoint.evaluation.galleries import galleries
from trigpoint.evaluation.result import Result
from trigpoint.evaluation.tables import tables
from trigpoint.report import (
    Picture,
    label_curve_plot,
    per_landmark_bars,
    prediction_overlay,
    render_html,
)
from trigpoint.report.style import figure_png
from trigpoint.report.table_files import write_tables
from trigpoint.report.views import Gallery
from trigpoint.runs.label_curve import outlook, read_curve

_MOST_PIXELS = 512  # a figure of many images draws larger ones smaller; the HTML report has them enlarged


class Report(Result):
    """A result that becomes pages, tables and figures."""

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
        """Write the numbers of each landmark, image, subject and measurement; gives the files.

        ``errors.csv``: the landmarks, and beside it ``errors-images.csv``, ``errors-subjects.csv`` and, where any are
        measured, ``errors-measurements.csv``; .xlsx: a sheet for each; .tex: the landmarks, for a paper, and
        ``errors-measurements.tex``. Lengths as in ``lengths``; of multi-instance runs px.
        """
        return write_tables(path, tables(self), overwrite=overwrite)

    def to_figures(self, path: str | Path, overwrite: bool = False) -> list[Path]:
        """Write figures for a paper, .pdf, .svg or .png; gives the files.

        ``errors.pdf``: the cumulative errors, and ``errors-landmarks.pdf``: the mean error of each landmark with its
        interval; of multi-instance runs precision against recall, and both and F1 of each landmark. Where any are
        measured ``errors-measurements.pdf``: Bland-Altman plots of the measurements.
        """
        return write_figures(path, {self.run.folder.name: self}, overwrite=overwrite)

    def figures(self) -> list[Picture | Gallery]:
        """Curves, points over typical and over the worst images, and the worst landmarks close by."""
        names, pictures = self.dataset.landmarks.names, list[Picture | Gallery]()
        if self.detected is None:
            pictures.append(Picture("Cumulative error", curve({self.run.folder.name: self}, title="")))
            if len(names) > 1:
                unit, errors = self.lengths
                bars = {name: errors[:, k] for k, name in enumerate(names)}
                pictures.append(Picture("Error per landmark", per_landmark_bars(bars, unit, title="")))
            if self.metrics.get("measurements"):
                text = "differences against means (Bland and Altman); line: bias, dashed: 95 % limits of agreement"
                pictures.append(Picture("Agreement of measurements", agreement(self), text))
        else:
            drawn = curve({self.run.folder.name: self}, title="")
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
