"""``evaluate``: a run on a split of a dataset, from images to numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data import LandmarkDataset, image_size
from trigpoint.data.instances import ImageInstances
from trigpoint.errors import DataError
from trigpoint.evaluation.beside_annotators import beside_annotators
from trigpoint.evaluation.measuring import compared, with_measurements
from trigpoint.evaluation.report import Report
from trigpoint.evaluation.result import Detected
from trigpoint.evaluation.traces import traced
from trigpoint.evaluation.trusted import trust_numbers
from trigpoint.landmarks import Prediction
from trigpoint.metrics import detection_scores, precision_recall, radial_error
from trigpoint.metrics.summary import summarize
from trigpoint.metrics.trust import UNLIKE_ADVICE
from trigpoint.prediction import Predictor, Progress
from trigpoint.runs import RunFolder
from trigpoint.runs.provenance import data_changed, known_subjects, seen_before

_NAMED = 8  # landmarks in a warning
_UNKNOWN = ("mre_px", "sd_px", "median_px", "sdr_px", "mre_mm", "sd_mm", "median_mm", "sdr_mm")  # of single landmarks


def evaluate(
    run: str | Path | RunFolder,
    data: str | Path | LandmarkDataset,
    split: str | None = "test",
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Report:
    """Measure a run on one split of a dataset (``split=None``: on all of it).

    Landmarks are matched by name, and those that run and dataset have in common are measured; ``warnings`` of the
    report name the others. Multi-instance runs are measured by precision, recall and distance, on sets with one
    instance per image as well. Raises DataError for an unknown split, and where there is no landmark to measure;
    RunError for an incomplete run.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    predictor = Predictor.load(folder, device)
    dataset, warnings = _chosen(data, split, predictor)
    if dataset.instances and predictor.threshold is None:
        raise DataError(
            f"{dataset.name}: is a multi-instance set (instances: true), got a run of the method "
            f"{predictor.recipe.method_name}, which finds one; train one that finds several: trigpoint train instances "
            "data.path=FOLDER --out RUN (the recipe with method.name=instances)"
        )
    unfinished = folder.unfinished()
    warnings += (
        ([] if unfinished is None else [unfinished])
        + seen_before(folder, dataset)
        + known_subjects(folder, data, dataset)
        + data_changed(folder, predictor.landmarks.names)
    )
    found = predictor.candidates(dataset, progress)
    report: dict[str, Any] = {"dataset": dataset, "run": folder, "split": split or "all", "warnings": warnings}
    if predictor.threshold is None:
        metrics = summarize(found.points, dataset.points, dataset.landmarks, dataset.spacings, dataset.groups)
        measured = None
        if dataset.landmarks.measurements:
            measured, more = compared(predictor, found, dataset)
            metrics["measurements"], metrics["ci95"]["measurements"] = more["numbers"], more["ci95"]
            warnings += more["notes"]
        warnings += _beside(metrics, dataset, found)
        errors = radial_error(found.points, dataset.points)
        trusted, intervals = trust_numbers(found, errors, predictor.trust, dataset.groups)
        metrics |= trusted
        metrics["ci95"] |= intervals
        if predictor.trust is not None and (unlike := predictor.trust.told(found.detections)):
            warnings.append(f"not as in the validation images: {'; '.join(unlike)}. {UNLIKE_ADVICE}")
        made = Report(metrics=metrics, prediction=found, errors=errors, measured=measured, **report)
        typical, worst = made.extremes()
        if predictor.method.traces and (typical or worst):
            made.traces = traced(predictor, dataset, made.errors, typical or worst)
        return made
    images = dataset.instances_by_image()
    radius = [predictor.method.matching_radius(image_size(image.image)[0]) for image in images]
    detected = _detected(found, images, radius, predictor.threshold, dataset)
    metrics = {
        "n_images": len(images),
        "n_subjects": len({dataset.groups[image.rows[0]] for image in images}),
        "n_landmarks": len(dataset.landmarks),
        "n_points": int(detected.scores.counts.actual.sum()),
        **dict.fromkeys(_UNKNOWN),
        **detected.scores.to_dict(),
        "ci95": detected.scores.intervals(),
    }
    errors = np.full((len(images), len(dataset.landmarks)), np.nan)
    return Report(metrics=metrics, prediction=found, errors=errors, detected=detected, **report)


def _beside(metrics: dict[str, Any], dataset: LandmarkDataset, found: Prediction) -> list[str]:
    """Add the distances to the annotators; a warning where their tables cannot be read."""
    try:
        beside = beside_annotators(dataset, found.points)
    except DataError as error:
        return [f"annotators: not compared with; {error}"]
    if beside is not None:
        metrics |= {"annotators": beside.pairs, "against_annotators": beside.landmarks, "standing": beside.told()}
        metrics["ci95"] |= beside.ci95
    return []


def _chosen(
    data: str | Path | LandmarkDataset, split: str | None, predictor: Predictor
) -> tuple[LandmarkDataset, list[str]]:
    """The images to measure on, with the landmarks of the run, and which landmarks are not measured."""
    if isinstance(data, LandmarkDataset):
        chosen = data if split is None else data.only(split)
    else:
        chosen = LandmarkDataset.load(data, split=split)
    if not len(chosen):
        raise DataError(f"{chosen.name}: expected images in split '{split}', got none")
    names, warnings = predictor.landmarks.names, []
    common = [name for name in names if name in chosen.landmarks.names and name not in predictor.untaught]
    where, given = chosen.table or chosen.name, chosen.landmarks.names
    if not common:
        raise DataError(
            f"{where}: expected landmarks of the run ({_some(names)}), got {_some(given)}; rename the columns"
        )
    if lacking := [name for name in names if name not in given]:
        warnings.append(f"{_some(lacking)}: not in {where}, so not measured; of {len(names)} landmarks of the run")
    if more := [name for name in given if name not in names]:
        warnings.append(f"{_some(more)}: not among the landmarks of the run, so not measured")
    if never := [name for name in predictor.untaught if name in given]:
        warnings.append(f"{_some(never)}: annotated in no training image, so not learned and not measured")
    aligned = with_measurements(chosen.aligned(names, blank=predictor.untaught), predictor.landmarks)
    if lost := [name for name in chosen.landmarks.measurements if name not in aligned.landmarks.measurements]:
        warnings.append(f"measurements {_some(lost)}: need landmarks that the run does not find, so not measured")
    if predictor.threshold is not None and aligned.landmarks.measurements:
        warnings.append("measurements: not measured, for they need one of each landmark, got a multi-instance run")
    if not (aligned.visibility != 0).any():
        raise DataError(f"{where}: expected annotations of {_some(common)} to measure, got none; annotate some images")
    shown = np.flatnonzero((aligned.visibility != 0).any(1))
    if predictor.threshold is None and len(shown) < len(aligned):
        warnings.append(f"{len(aligned) - len(shown)} of {len(aligned)} images: not annotated, so not measured")
        aligned = aligned.subset([int(i) for i in shown])
    if empty := [n for n in common if not (aligned.visibility[:, names.index(n)] != 0).any()]:
        warnings.append(f"{_some(empty)}: annotated in no image of the subset, so not measured")
    return aligned, warnings


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


def _detected(
    found: Prediction, images: list[ImageInstances], radius: list[float], threshold: float, dataset: LandmarkDataset
) -> Detected:
    """Counts and the precision-recall curve; intervals are drawn over subjects, or images where none are named."""
    sets = [one.by_landmark() for one in found.detections]
    points, scores = [places for places, _ in sets], [heights for _, heights in sets]
    truth, known = [list(image.points.swapaxes(0, 1)) for image in images], np.array([i.annotated for i in images])
    names, groups = dataset.landmarks.names, [dataset.groups[image.rows[0]] for image in images]
    given: dict[str, Any] = {"scores": scores, "annotated": known}
    counted = detection_scores(points, truth, np.array(radius), names, threshold=threshold, groups=groups, **given)
    curve = precision_recall(points, truth, scores, np.array(radius), annotated=known)
    return Detected(counted, curve, threshold, images)
