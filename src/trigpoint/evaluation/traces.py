"""What a run saw on the way in typical images, for the report."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray
from trigpoint.prediction import Predictor
from trigpoint.prediction.trace import features, spread_out, trace

_FEATURE_IMAGES = 3


class Drawing(NamedTuple):
    """A picture of the report that is drawn when the report is; no model is needed any more."""

    title: str
    draw: Callable[[], Figure]
    caption: str


def traced(predictor: Predictor, dataset: LandmarkDataset, errors: FloatArray, typical: Sequence[int]) -> list[Drawing]:
    """The path in one of the ``typical`` images and what was seen at its end; and the features of a landmark in some.

    ``errors`` (N, K) in original pixels, NaN = not annotated. Features only where the network reads places off maps.
    """
    i = typical[len(typical) // 2]
    known = [int(k) for k in np.argsort(errors[i]) if np.isfinite(errors[i, k])]
    columns = [known[j] for j in spread_out(len(known))]
    path, truth = trace(predictor, dataset.samples[i].image), dataset.points[i]
    about = f"{dataset.samples[i].image.name}; landmarks from the smallest to the largest error"
    made = [
        Drawing("Path of the guess", partial(path.guess_path, truth, columns), about),
        Drawing("What the network sees", partial(path.glimpse_stack, truth, columns), about),
    ]
    medians = [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.inf for row in errors.T]
    best = int(np.argmin(medians))
    shown = [j for j in typical if np.isfinite(errors[j, best])][:_FEATURE_IMAGES]
    images = [dataset.samples[j].image for j in shown]
    drawn = features(predictor, images, best, dataset.points[shown, best], [image.name for image in images])
    if drawn is not None:
        name = dataset.landmarks.names[best]
        made.append(Drawing("Features", drawn, f"{name}, found best: the map of each level that keeps its place best"))
    return made
