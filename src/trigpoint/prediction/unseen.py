"""What runs find in the images of a set, each image by runs that have not been trained on it where there are some."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.prediction.base import Progress
from trigpoint.prediction.predictor import Predictor
from trigpoint.runs import RunFolder


def unseen_points(
    runs: Sequence[str | Path], data: LandmarkDataset, device: str = "auto", progress: Progress | None = None
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Points (N, K, 2) of the set's rows, original pixels, and which rows (N,) all runs have been trained on.

    Each is the mean over the runs that were not trained on its image, or over all where there is none. NaN where no run
    has the landmark. Raises DataError for sets and runs with several instances, and where no landmark is in common.
    """
    names = [data.image_name(sample) for sample in data.samples]
    each = np.full((len(runs), *data.points.shape), np.nan)
    learned = np.zeros((len(runs), len(names)), bool)
    for at, run in enumerate(runs):
        predictor = Predictor.load(run, device)
        predictor.shape = None  # only what the image shows: the shape is what it is compared with
        if data.instances or predictor.threshold is not None:
            raise DataError(f"{run}: expected one of each landmark in an image, got several; leave the run out")
        common = [(k, predictor.landmarks.index(name)) for k, name in enumerate(data.landmarks.names)
                  if name in predictor.landmarks.names]  # fmt: skip
        if not common:
            raise DataError(f"{run}: expected landmarks of {data.name}, got {', '.join(predictor.landmarks.names)}")
        before, total = at * len(names), len(runs) * len(names)
        tell = None if progress is None else lambda done, _, before=before, total=total: progress(before + done, total)
        found = predictor.predict(data, progress=tell).points
        own, theirs = (list(column) for column in zip(*common, strict=True))
        each[at][:, own] = found[:, theirs]
        trained = set(RunFolder(run).parts().get("train", []))
        learned[at] = [name in trained for name in names]
    known_to_all: npt.NDArray[np.bool_] = np.all(learned, axis=0)
    each[learned & ~known_to_all] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where no run has the landmark
        points: FloatArray = np.nanmean(each, axis=0)
    return points, known_to_all
