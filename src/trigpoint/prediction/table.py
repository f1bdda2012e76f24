"""Predictions as native tables: what ``trigpoint predict`` writes can be corrected, trained on and evaluated."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trigpoint.data.columns import write_columns
from trigpoint.data.table import refuse_formulas
from trigpoint.data.table_names import TableNames
from trigpoint.errors import needed
from trigpoint.landmarks import Prediction

if TYPE_CHECKING:
    import pandas as pd

TIME = "time_s"
"""Column of the seconds from a video's first frame."""
FLAG = "flag"
"""Column that says why a person should look at the image."""


def prediction_frame(prediction: Prediction) -> pd.DataFrame:
    """``prediction_columns`` as a frame of pandas. Raises ConfigError where pandas is not installed."""
    with needed("a frame of predictions"):
        import pandas as pd
    return pd.DataFrame(prediction_columns(prediction))


def prediction_columns(
    prediction: Prediction, flags: Sequence[str] | None = None, numbers: Collection[str] = ()
) -> dict[str, Any]:
    """The native table, a row per image: image, then x, y, score and radius of each landmark, and other numbers such as
    its spread.

    Of a video's frames ``time_s`` follows the image: seconds from the first frame, by the times that the file states.

    ``numbers``: other numbers that have a column, also where none of these images has them.

    ``flags`` of each image, where they are given, are in the column ``flag``: why a person should look at it.

    Of multi-instance runs a row per instance, with their number (1, 2, ... from the most certain on) in ``instance``;
    blank = no such landmark. An image in which nothing was found has one row with a blank instance.

    >>> from trigpoint.data.files import column_text
    >>> from trigpoint.landmarks import ImageDetections, LandmarkSet
    >>> found = [ImageDetections("a.png", np.array([[[2.5, 3.0]]]), np.array([[0.9]]))]
    >>> found += [ImageDetections("b.png", np.zeros((0, 1, 2)), np.zeros((0, 1)))]
    >>> several = Prediction(found, LandmarkSet(("tip",)), np.array([4.0]), threshold=0.5)
    >>> print(column_text(prediction_columns(several)).strip())
    image,instance,tip_x,tip_y,tip_score,tip_radius
    a.png,1,2.5,3.0,0.9,4.0
    b.png,,,,,
    """
    rows = [found if len(found) else found.best() for found in prediction.detections]
    columns: dict[str, Any] = {"image": [found.image for found in rows for _ in range(len(found))]}
    if any(found.time_s is not None for found in rows):
        times = [np.nan if found.time_s is None else found.time_s for found in rows for _ in range(len(found))]
        columns[TIME] = np.round(times, 6)
    if flags is not None:
        columns[FLAG] = [flag for flag, found in zip(flags, rows, strict=True) for _ in range(len(found))]
    if prediction.multi_instance:
        counts = [len(found) for found in prediction.detections]
        columns["instance"] = [str(n + 1) if count else "" for count in counts for n in range(max(count, 1))]
    names = prediction.landmarks.names
    points = np.concatenate([found.points for found in rows]) if rows else np.zeros((0, len(names), 2))
    scores = np.concatenate([found.scores for found in rows]) if rows else np.zeros((0, len(names)))
    radius = np.repeat(prediction.radius, [len(found) for found in rows], axis=0)
    others = {*numbers, *(key for found in rows for key in found.numbers)}
    for k, name in enumerate(names):
        columns |= {
            f"{name}_x": np.round(points[:, k, 0], 3),
            f"{name}_y": np.round(points[:, k, 1], 3),
            f"{name}_score": np.round(scores[:, k], 5),
            f"{name}_radius": np.round(np.where(np.isfinite(scores[:, k]), radius[:, k], np.nan), 3),
        }
        for key in sorted(others):
            values = [found.numbers.get(key, np.full(found.scores.shape, np.nan))[:, k] for found in rows]
            columns[f"{name}_{key}"] = np.round(np.concatenate(values), 3)
    return columns


def named_as_written(path: str | Path, prediction: Prediction) -> Prediction:
    """The same with images that have no other name than their path named as the reader of the table ``path`` takes
    them."""
    names = TableNames.of(Path(path))
    called = [
        replace(one, image=names.write(one.file)) if one.file is not None and one.image == str(one.file) else one
        for one in prediction.detections
    ]
    return replace(prediction, detections=called)


def write_predictions(
    path: str | Path, prediction: Prediction, overwrite: bool = False, flags: Sequence[str] | None = None
) -> Path:
    """Write the native table, see ``prediction_columns``, csv or .parquet; whole or not at all.

    Images that have no other name than their path are named as the reader of this table takes them, wherever it lies.
    Raises DataError if the file exists, or if a name in it would be taken for a formula by a spreadsheet.
    """
    columns = prediction_columns(named_as_written(path, prediction), flags)
    refuse_formulas([*columns, *columns["image"]], str(path))
    return write_columns(path, columns, overwrite=overwrite)
