"""What a run saw on the way in typical images, for the report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray
from trigpoint.prediction import Predictor
from trigpoint.prediction.trace import Features, Trace, features, spread_out, trace
from trigpoint.report import Picture
from trigpoint.report.style import figure_png

_FEATURE_IMAGES = 3


@dataclass(frozen=True)
class Traces:
    """The path in one image, whose true points are ``truth`` (K, 2); and the features of a landmark in some."""

    path: Trace
    truth: FloatArray
    columns: Sequence[int]
    about: str
    features: Features | None
    landmark: str

    def pictures(self) -> list[Picture]:
        """Path, glimpses, and features where the network reads places off maps."""
        made = [
            Picture("Path of the guess", _small(self.path.guess_path(self.truth, self.columns)), self.about),
            Picture("What the network sees", _small(self.path.glimpse_stack(self.truth, self.columns)), self.about),
        ]
        if self.features is not None:
            about = f"{self.landmark}, found best: the map of each level that keeps its place best"
            made.append(Picture("Features", _small(self.features.figure()), about))
        return made


def traced(predictor: Predictor, dataset: LandmarkDataset, errors: FloatArray, typical: Sequence[int]) -> Traces:
    """Traces of ``typical`` images with ``errors`` (N, K) in original pixels, NaN = not annotated."""
    i = typical[len(typical) // 2]
    known = [int(k) for k in np.argsort(errors[i]) if np.isfinite(errors[i, k])]
    columns = [known[j] for j in spread_out(len(known))]
    medians = [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.inf for row in errors.T]
    best = int(np.argmin(medians))
    shown = [j for j in typical if np.isfinite(errors[j, best])][:_FEATURE_IMAGES]
    images = [dataset.samples[j].image for j in shown]
    names = [image.name for image in images]
    return Traces(
        path=trace(predictor, dataset.samples[i].image),
        truth=dataset.points[i],
        columns=columns,
        about=f"{dataset.samples[i].image.name}; landmarks from the smallest to the largest error",
        features=features(predictor, images, best, dataset.points[shown, best], names),
        landmark=dataset.landmarks.names[best],
    )


def _small(figure: Figure) -> bytes:
    """As wide on the page as text: patches need no more."""
    return figure_png(figure, dpi=100)
