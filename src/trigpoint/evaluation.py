"""``evaluate``: a run on a split of a dataset, from images to a report."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.errors import DataError
from trigpoint.inference import Predictor, Progress
from trigpoint.landmarks import FloatArray, Prediction
from trigpoint.metrics import radial_error
from trigpoint.metrics.evaluate import summarize
from trigpoint.report import Picture, ced_plot, per_landmark_bars, prediction_overlay, render_html
from trigpoint.report.style import figure_png
from trigpoint.runs import RunFolder
from trigpoint.trace import feature_figure, is_traceable, spread_out, trace

_FEATURE_IMAGES = 3
_MOST_PIXELS = 512  # overlays of larger images are drawn smaller: a report is no place for full radiographs


@dataclass
class Report:
    """Result of ``evaluate``. ``errors`` (N, K) in original pixels, NaN = not annotated."""

    metrics: dict[str, Any]
    errors: FloatArray
    prediction: Prediction
    dataset: LandmarkDataset
    run: RunFolder
    split: str
    warnings: list[str] = field(default_factory=list)
    device: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        """Metrics by the names that ``trigpoint.metrics.evaluate.summarize`` gives, plus what was evaluated."""
        about = {"run": self.run.folder.name, "dataset": self.dataset.name, "split": self.split}
        return {**about, **self.metrics, "warnings": list(self.warnings)}

    def to_json(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write ``to_dict``; raises DataError when the file exists."""
        return write_text(path, json.dumps(self.to_dict(), indent=1) + "\n", overwrite=overwrite)

    def to_html(self, path: str | Path | None = None, overwrite: bool = False) -> str:
        """One self-contained HTML page with numbers, curves and overlays; also written to ``path`` when given."""
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
        figures += [
            Picture(title, path_)
            for title, path_ in (("Training", self.run.history), ("Target width", self.run.folder / "sigma.png"))
            if path_.is_file()
        ]
        text = render_html(
            self.metrics,
            figures,
            settings=self.run.recipe().model_dump(mode="json"),
            warnings=self.warnings,
            title=f"Evaluation of {self.run.folder.name}",
            subtitle=f"{self.dataset.name}, split {self.split}",
            spacing_source=self._spacing_source(),
        )
        if path is not None:
            write_text(path, text, overwrite=overwrite)
        return text

    def overlay(self, positions: list[int]) -> Any:
        """Figure of images with true and predicted points."""
        images, truth, found, captions, reduced = [], [], [], [], []
        for i in positions:
            pixels = self.dataset.read(i).pixels.numpy()
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

    def _spacing_source(self) -> str | None:
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

    Landmarks are matched by name; the dataset may have more than the run. Raises DataError for an unknown split or a
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
    prediction = predictor.predict(dataset, progress=progress)
    metrics = summarize(prediction.points, dataset.points, dataset.landmarks, dataset.spacings, dataset.groups)
    errors = radial_error(prediction.points, dataset.points)
    warnings = _seen_before(folder, dataset)
    return Report(metrics, errors, prediction, dataset, folder, split or "all", warnings, device)


def _seen_before(run: RunFolder, dataset: LandmarkDataset) -> list[str]:
    """Warn when images of the same name were learned from or chose the weights."""
    if not run.split.is_file():
        return []
    names = {dataset.image_name(sample) for sample in dataset.samples}
    found = []
    for part, what in (("train", "the run was trained on"), ("val", "chose the weights of the run")):
        shared = names & set(run.parts().get(part, []))
        if shared:
            found.append(f"{len(shared)} of {len(names)} images have names that {what}, such as {min(shared)}")
    return found
