"""Reports of predictions that are stated, without a network or images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from trigpoint.data import LandmarkDataset
from trigpoint.evaluation import Report
from trigpoint.evaluation.measuring import Measured
from trigpoint.evaluation.result import Detected
from trigpoint.landmarks import FloatArray, ImageDetections, LandmarkSet, Normalizer, Prediction
from trigpoint.metrics import detection_scores, precision_recall, radial_error
from trigpoint.metrics.measured import summarize_measurements
from trigpoint.metrics.summary import summarize
from trigpoint.runs import RunFolder

NAMES = ("left_eye", "nose & tip", "chin")


def truth(count: int, spacing: object = None) -> LandmarkDataset:
    """``count`` images of two a subject, three landmarks; the chin of the first is not annotated."""
    rng = np.random.default_rng(0)
    places = rng.uniform(20, 80, (count, 3, 2))
    places[0, 2] = np.nan
    table = pd.DataFrame({"image": [f"{i:02d}.png" for i in range(count)], "split": "test"})
    table["subject"] = [f"s{i // 2}" for i in range(count)]
    for k, name in enumerate(NAMES):
        table[f"{name}_x"], table[f"{name}_y"] = places[:, k, 0], places[:, k, 1]
    marks = LandmarkSet(NAMES, normalizer=Normalizer("eye_nose", between=NAMES[:2]))
    return LandmarkDataset.from_table(table, "pictures", marks, spacing_mm=spacing, name="heads")  # type: ignore[arg-type]


def report(data: LandmarkDataset, errors: FloatArray, run: str = "runs/a") -> Report:
    """The report of predictions that are ``errors`` (N, K) px right of the truth; inf: none."""
    points = data.points + np.stack([errors, np.zeros_like(errors)], axis=-1)
    points[np.isinf(errors)] = np.nan
    found = [
        ImageDetections(data.image_name(sample), points[i : i + 1], np.ones((1, len(data.landmarks))))
        for i, sample in enumerate(data.samples)
    ]
    prediction = Prediction(found, data.landmarks, np.full(len(data.landmarks), np.nan))
    metrics = summarize(points, data.points, data.landmarks, data.spacings, data.groups)
    wrong = radial_error(points, data.points)
    return Report(
        metrics=metrics, prediction=prediction, errors=wrong, dataset=data, run=RunFolder(Path(run)), split="test"
    )


def measuring() -> Report:
    """The report of 12 images with two measurements, an angle and a ratio."""
    made = report(truth(12), np.ones((12, 3)))
    true = np.linspace(70.0, 92.0, 12)
    off = np.tile([1.0, -0.5, 0.25], 4)
    values = {"SNA": (true + off, true), "share_1": ((true + off) / 100, true / 100)}
    found, right = ({name: pair[i] for name, pair in values.items()} for i in range(2))
    units = {"SNA": "deg", "share_1": "ratio"}
    numbers, between = summarize_measurements(found, right, units, made.dataset.groups, {"SNA": 1.0})
    made.metrics["measurements"], made.metrics["ci95"]["measurements"] = numbers, between
    made.measured = Measured(found, right, units)
    return made


def detecting(found: list[list[list[float]]], run: str = "runs/several") -> Report:
    """The report of one landmark that may be there twice: true at (10, 10) and (60, 60), found[i] in image i."""
    places = [[10.0, 10.0], [60.0, 60.0]]
    rows = [(f"{i:02d}.png", "test", f"s{i}", str(m), *xy) for i in range(len(found)) for m, xy in enumerate(places)]
    table = pd.DataFrame(rows, columns=["image", "split", "subject", "instance", "tip_x", "tip_y"])
    data = LandmarkDataset.from_table(table, "pictures", name="tools")
    images = data.instances_by_image()
    names, groups = data.landmarks.names, [data.groups[image.rows[0]] for image in images]
    points = [[np.array(of_image).reshape(-1, 2)] for of_image in found]
    scores = [[np.ones(len(one[0]))] for one in points]
    true = [list(image.points.swapaxes(0, 1)) for image in images]
    counted = detection_scores(points, true, 20.0, names, scores=scores, threshold=0.5, groups=groups)
    curve = precision_recall(points, true, scores, 20.0)
    several = [
        ImageDetections(data.image_name(data.samples[image.rows[0]]), one[0][:, None], np.ones((len(one[0]), 1)))
        for image, one in zip(images, points, strict=True)
    ]
    return Report(
        metrics={
            "n_images": len(images),
            "n_subjects": len(set(groups)),
            "n_landmarks": 1,
            "mre_mm": None,
            **counted.to_dict(),
            "ci95": counted.intervals(),
        },
        prediction=Prediction(several, data.landmarks, np.array([4.0]), threshold=0.5),
        errors=np.full((len(images), 1), np.nan),
        dataset=data,
        run=RunFolder(Path(run)),
        split="test",
        detected=Detected(counted, curve, 0.5, images),
    )
