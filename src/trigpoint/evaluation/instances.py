"""Measuring a run that finds several instances: how many are found, how many of those are right, how near they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.instances import ImageInstances
from trigpoint.data.pixels.images import image_size
from trigpoint.evaluation.report import Report
from trigpoint.landmarks import InstancePrediction
from trigpoint.methods import InstanceMethod
from trigpoint.methods.instances import CANDIDATES
from trigpoint.metrics import DetectionReport, PrecisionRecall, detection_scores, precision_recall
from trigpoint.prediction import Predictor, Progress
from trigpoint.report import Picture
from trigpoint.report.detection_figures import instance_overlay, precision_recall_plot
from trigpoint.runs import RunFolder

_MOST_PIXELS = 512  # overlays of larger images are drawn smaller: a report is no place for full frames
_SHOWN = 6
_UNKNOWN = ("mre_px", "sd_px", "median_px", "sdr_px", "mre_mm", "sd_mm", "median_mm", "sdr_mm")  # of single landmarks


@dataclass(kw_only=True)
class InstanceReport(Report):
    """Result of ``evaluate`` for several instances per image.

    ``predictions`` are all candidates, also those below ``threshold``, which alone count in ``detection``; ``curve``
    has the counts at every threshold. ``images`` are the truth, in the same order.
    """

    predictions: list[InstancePrediction]
    images: list[ImageInstances]
    detection: DetectionReport
    curve: PrecisionRecall
    threshold: float

    def figures(self) -> list[Picture]:
        """Precision against recall, and instances over typical and over the worst images."""
        names, (typical, worst) = self.dataset.landmarks.names, self._extremes()
        curve = precision_recall_plot(self.curve, names, self.threshold)
        pictures = [Picture("Precision and recall", curve, "at every score; the threshold is that of the run")]
        if typical:
            pictures.append(Picture("Typical images", self.overlay(typical), "as many errors as in the middle image"))
        if worst:
            pictures.append(Picture("Worst images", self.overlay(worst), "most instances missed or wrong"))
        return pictures

    def overlay(self, positions: list[int]) -> Figure:
        """Figure of these images with true and predicted instances."""
        shown, truth, found, reduced = [], [], [], []
        for i in positions:
            pixels = self.dataset.read(self.images[i].rows[0]).pixels
            step = max(1, -(-max(pixels.shape[1:]) // _MOST_PIXELS))
            shown.append(pixels[:, ::step, ::step].transpose(1, 2, 0))
            truth.append([points / step for points in self.images[i].points.swapaxes(0, 1)])
            points, scores = self.predictions[i].by_landmark()
            found.append([p[s > self.threshold] / step for p, s in zip(points, scores, strict=True)])
            reduced.append(float(step))
        return instance_overlay(
            shown,
            truth,
            found,
            self.detection.radius[positions],
            self.dataset.landmarks.names,
            [self.images[i].image.name for i in positions],
            annotated=_annotated(self.images)[positions],
            reduced=reduced,
        )

    def _extremes(self) -> tuple[list[int], list[int]]:
        """Images in the middle and at the end of those that show or were said to show something, by their errors."""
        counts = self.detection.counts
        wrong = (counts.misses() + counts.false_positives).sum(1)
        busy = np.flatnonzero((counts.actual + counts.predicted).sum(1))
        order = [int(i) for i in busy[np.argsort(wrong[busy], kind="stable")]]
        middle = max(0, len(order) // 2 - _SHOWN // 2)
        return order[middle : middle + _SHOWN], [i for i in order[::-1][:_SHOWN] if wrong[i]]


def evaluate_instances(
    predictor: Predictor,
    run: RunFolder,
    dataset: LandmarkDataset,
    split: str,
    warnings: list[str],
    progress: Progress | None = None,
) -> InstanceReport:
    """Measure a run of the method ``instances`` on ``dataset``, which may have one instance per image as well.

    Intervals are drawn over subjects, or images where none are named.
    """
    method = cast(InstanceMethod, predictor.method)
    threshold = method.codec.threshold if predictor.threshold is None else predictor.threshold
    images = dataset.instances_by_image()
    predictions = predictor.predict_instances(dataset, progress=progress, threshold=min(CANDIDATES, threshold))
    pairs = [found.by_landmark() for found in predictions]
    found, scores = [points for points, _ in pairs], [heights for _, heights in pairs]
    truth, known = [list(image.points.swapaxes(0, 1)) for image in images], _annotated(images)
    radius = np.array([method.matching_radius(image_size(image.image)[0]) for image in images])
    names, groups = dataset.landmarks.names, [dataset.groups[image.rows[0]] for image in images]
    given: dict[str, Any] = {"scores": scores, "annotated": known}
    detection = detection_scores(found, truth, radius, names, threshold=threshold, groups=groups, **given)
    return InstanceReport(
        metrics={
            "n_images": len(images),
            "n_landmarks": len(names),
            "n_points": int(detection.counts.actual.sum()),
            **dict.fromkeys(_UNKNOWN),
            **detection.to_dict(),
            "ci95": detection.intervals(),
        },
        dataset=dataset,
        run=run,
        split=split,
        warnings=warnings,
        predictions=predictions,
        images=images,
        detection=detection,
        curve=precision_recall(found, truth, scores, radius, annotated=known),
        threshold=threshold,
    )


def _annotated(images: list[ImageInstances]) -> npt.NDArray[np.bool_]:
    return np.array([image.annotated for image in images])
