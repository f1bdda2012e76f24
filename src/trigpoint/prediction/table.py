"""Predictions as native tables: what ``trigpoint predict`` writes can be corrected, trained on and evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trigpoint.data.files import write_text
from trigpoint.data.table import refuse_formulas
from trigpoint.landmarks import FloatArray, InstancePrediction, LandmarkSet, Prediction


def prediction_frame(prediction: Prediction) -> pd.DataFrame:
    """One row per image: image, then x, y, score and radius of each landmark, and its spread where there is one.

    >>> one = np.ones((1, 1))
    >>> prediction_frame(Prediction(np.full((1, 1, 2), 2.5), one, one, LandmarkSet(("tip",)), ("a.png",))).iloc[0, :3]
    image    a.png
    tip_x      2.5
    tip_y      2.5
    Name: 0, dtype: object
    """
    columns: dict[str, Any] = {"image": list(prediction.images)}
    for k, name in enumerate(prediction.landmarks.names):
        columns |= _columns(name, prediction.points[:, k], prediction.scores[:, k], prediction.radius[:, k])
        if prediction.spread is not None:
            columns[f"{name}_spread"] = np.round(prediction.spread[:, k], 3)
    return pd.DataFrame(columns)


def instance_frame(
    predictions: Sequence[InstancePrediction], landmarks: LandmarkSet, radius: FloatArray
) -> pd.DataFrame:
    """One row per instance: image, instance (1, 2, ... from the most certain on), then each landmark as above.

    Blank = no such landmark. An image in which nothing was found has one row with a blank instance. ``radius`` (K,).

    >>> found = [InstancePrediction("a.png", np.array([[[2.5, 3.0]]]), np.array([[0.9]]))]
    >>> found += [InstancePrediction("b.png", np.zeros((0, 1, 2)), np.zeros((0, 1)))]
    >>> print(instance_frame(found, LandmarkSet(("tip",)), np.array([4.0])).to_csv(index=False).strip())
    image,instance,tip_x,tip_y,tip_score,tip_radius
    a.png,1,2.5,3.0,0.9,4.0
    b.png,,,,,
    """
    count = len(landmarks)
    rows = [max(len(found), 1) for found in predictions]
    names = [str(n + 1) if len(found) else "" for found in predictions for n in range(max(len(found), 1))]
    columns: dict[str, Any] = {
        "image": [found.image for found, many in zip(predictions, rows, strict=True) for _ in range(many)],
        "instance": names,
    }
    blank = np.full((1, count, 3), np.nan)
    values = [
        np.concatenate([found.points, found.scores[..., None]], axis=2) if len(found) else blank
        for found in predictions
    ]
    table = np.concatenate(values) if values else blank[:0]
    for k, name in enumerate(landmarks.names):
        within = np.where(np.isfinite(table[:, k, 2]), radius[k], np.nan)
        columns |= _columns(name, table[:, k, :2], table[:, k, 2], within)
    return pd.DataFrame(columns)


def write_frame(path: str | Path, frame: pd.DataFrame, overwrite: bool = False) -> Path:
    """Write a table whole or not at all.

    Raises DataError if the file exists, or if a name in it would be taken for a formula by a spreadsheet.
    """
    refuse_formulas([*map(str, frame.columns), *map(str, frame["image"])], str(path))
    return write_text(path, frame.to_csv(index=False, lineterminator="\n"), overwrite=overwrite)


def _columns(name: str, points: FloatArray, scores: FloatArray, radius: FloatArray) -> dict[str, FloatArray]:
    return {
        f"{name}_x": np.round(points[:, 0], 3),
        f"{name}_y": np.round(points[:, 1], 3),
        f"{name}_score": np.round(scores, 5),
        f"{name}_radius": np.round(radius, 3),
    }
