"""``evaluate``: a run on a split of a dataset, from images to a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.evaluation.instances import InstanceReport, evaluate_instances
from trigpoint.evaluation.report import Report
from trigpoint.landmarks import FloatArray, Prediction
from trigpoint.metrics import radial_error
from trigpoint.metrics.evaluate import summarize
from trigpoint.prediction import Predictor, Progress
from trigpoint.prediction.trace import feature_figure, is_traceable, spread_out, trace
from trigpoint.report import Picture, ced_plot, per_landmark_bars, prediction_overlay
from trigpoint.report.style import figure_png
from trigpoint.runs import RunFolder
from trigpoint.runs.provenance import data_changed, seen_before

__all__ = ["InstanceReport", "LandmarkReport", "Report", "evaluate"]

_FEATURE_IMAGES = 3
_MOST_PIXELS = 512  # overlays of larger images are drawn smaller: a report is no place for full radiographs


@dataclass(kw_only=True)
class LandmarkReport(Report):
    """Result of ``evaluate``. ``errors`` (N, K) in original pixels, NaN = not annotated."""

    errors: FloatArray
    prediction: Prediction
    device: str = "auto"

    def figures(self) -> list[Picture]:
        """Curves, and points over typical and over the worst images."""
        figures = [Picture("Cumulative error", self._ced())]
        if len(self.prediction.landmarks) > 1:
            names = self.prediction.landmarks.names
            bars = {name: self.errors[:, k] for k, name in enumerate(names)}
            figures.append(Picture("Error per landmark", per_landmark_bars(bars)))
        best, worst = self._extremes()
        figures.append(Picture("Typical images", self.overlay(best), "nearest to the median error"))
        figures.append(Picture("Worst images", self.overlay(worst), "largest mean error"))
        if is_traceable(self.run.recipe()):
            figures += self._traces(best)
        return figures

    def overlay(self, positions: list[int]) -> Figure:
        """Figure of images with true and predicted points."""
        images, truth, found, captions, reduced = [], [], [], [], []
        for i in positions:
            pixels = self.dataset.read(i).pixels
            step = max(1, -(-max(pixels.shape[1:]) // _MOST_PIXELS))
            images.append(pixels[:, ::step, ::step].transpose(1, 2, 0))
            truth.append(self.dataset.points[i] / step)
            found.append(self.prediction.points[i] / step)
            captions.append(self.dataset.samples[i].image.name)
            reduced.append(float(step))
        return prediction_overlay(images, np.array(truth), np.array(found), captions=captions, reduced=reduced)

    def _traces(self, typical: list[int]) -> list[Picture]:
        """How the foveated pyramid came to its points in typical images."""
        predictor = Predictor.load(self.run, self.device)
        middle = typical[len(typical) // 2 : len(typical) // 2 + 1]
        pictures = []
        for i in middle:
            followed = trace(predictor, self.dataset.samples[i].image)
            known = [int(k) for k in np.argsort(self.errors[i]) if np.isfinite(self.errors[i, k])]
            columns, truth = [known[j] for j in spread_out(len(known))], self.dataset.points[i]
            about = f"{self.dataset.samples[i].image.name}; landmarks from the smallest to the largest error"
            pictures.append(Picture("Path of the guess", _small(followed.guess_path(truth, columns)), about))
            pictures.append(Picture("What the network sees", _small(followed.glimpse_stack(truth, columns)), about))
        return pictures + self._features(predictor, typical)

    def _features(self, predictor: Predictor, typical: list[int]) -> list[Picture]:
        """The features of the landmark that is found best, in typical images where it is annotated."""
        medians = [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.inf for row in self.errors.T]
        best = int(np.argmin(medians))
        shown = [i for i in typical if np.isfinite(self.errors[i, best])][:_FEATURE_IMAGES]
        if not shown or cast(Any, predictor.method).options.features != "spatialized":
            return []
        images = [self.dataset.samples[i].image for i in shown]
        names, truth = [image.name for image in images], self.dataset.points[shown, best]
        figure = feature_figure(predictor, images, best, truth, names)
        name = self.dataset.landmarks.names[best]
        return [
            Picture("Features", _small(figure), f"{name}, found best: the map of each level that keeps its place best")
        ]

    def _extremes(self, count: int = 8) -> tuple[list[int], list[int]]:
        means = np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in self.errors])
        order = [int(i) for i in np.argsort(means) if not np.isnan(means[i])]
        middle = max(0, len(order) // 2 - count // 2)
        return order[middle : middle + count], order[::-1][:count]

    def _ced(self) -> Any:
        finite = self.errors[np.isfinite(self.errors)]
        limit = float(np.quantile(finite, 0.98)) if len(finite) else 1.0
        return ced_plot({self.run.folder.name: self.errors.ravel()}, max(limit, 1e-3))

    @property
    def spacing_source(self) -> str | None:
        """Where millimetres come from, None without any."""
        if self.metrics["mre_mm"] is None:
            return None
        sources = sorted({self.dataset.read(i).spacing_source for i in range(min(3, len(self.dataset)))} - {""})
        stated = "the spacing stated in the dataset (column spacing_mm or dataset.yaml)"
        return ", ".join(sources) if sources and self.dataset.spacing_mm is None else stated


def _small(figure: Figure) -> bytes:
    """As wide on the page as text: patches need no more."""
    return figure_png(figure, dpi=100)


def evaluate(
    run: str | Path | RunFolder,
    data: str | Path | LandmarkDataset,
    split: str | None = "test",
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Report:
    """Measure a run on one split of a dataset (``split=None``: on all of it).

    Landmarks are matched by name; the dataset may have more than the run. A run that finds several instances is
    measured by precision, recall and distance (``instance_evaluation``). Raises DataError for an unknown split or a
    landmark the dataset lacks, RunError for an incomplete run.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    predictor = Predictor.load(folder, device)
    names = predictor.landmarks.names
    if isinstance(data, LandmarkDataset):
        dataset = data.pick(names) if split is None else data.only(split).pick(names)
    else:
        dataset = LandmarkDataset.load(data, split=split, names=names)
    if not len(dataset):
        raise DataError(f"{dataset.name}: expected images in split '{split}', got none")
    warnings = seen_before(folder, dataset) + data_changed(folder, names)
    if predictor.several:
        return evaluate_instances(predictor, folder, dataset, split or "all", warnings, progress)
    if dataset.instances:
        raise DataError(
            f"{dataset.name}: has several instances of a landmark per image (instances: true), got a run of the method "
            f"{predictor.recipe.method_name}, which finds one; train with method.name=instances"
        )
    prediction = predictor.predict(dataset, progress=progress)
    metrics = summarize(prediction.points, dataset.points, dataset.landmarks, dataset.spacings, dataset.groups)
    errors = radial_error(prediction.points, dataset.points)
    return LandmarkReport(
        metrics=metrics,
        errors=errors,
        prediction=prediction,
        dataset=dataset,
        run=folder,
        split=split or "all",
        warnings=warnings,
        device=device,
    )
