"""What was found: in a batch, in one image, in many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trigpoint.landmarks.names import LandmarkSet
from trigpoint.landmarks.values import FloatArray

if TYPE_CHECKING:
    import torch

COVERAGE = 0.9  # share of the validation annotations whose error stays below the radius of their landmark
CANDIDATES = 0.05
"""Score above which a maximum is a candidate when a threshold is chosen: below it is noise, and costs time."""


class Detections(NamedTuple):
    """What a method finds in a batch of B images: M instances of each of K landmarks, the best first.

    ``points`` (B, M, K, 2) in pixels of the original images and ``scores`` (B, M, K); M = 1 where a method finds
    exactly one of each landmark. Where an image has fewer instances, points are NaN and scores 0. ``numbers``: others
    (B, M, K) beside each point, by name, such as the ``spread`` of several attempts at it, original pixels.
    """

    points: torch.Tensor
    scores: torch.Tensor
    numbers: Mapping[str, torch.Tensor] = {}


@dataclass
class ImageDetections:
    """What was found in one image: ``points`` (M, K, 2) in original pixels and ``scores`` (M, K), the best first.

    Both are NaN where there is no m-th instance of a landmark; M may be 0. Each landmark is found for itself: row m
    holds the m-th most certain of each, and what stands in one row need not belong to one object, unless the predictor
    groups them (``Predictor.group``). ``numbers`` (M, K) as in ``Detections``. ``scale``: original pixels to a pixel of
    the network's input. ``file``: the image file where ``image`` is just its path, so that a table may name it its way.
    ``time_s``: seconds of a video's frame from the first, None of what has no time. ``doubt`` (K,): how many times its
    usual error each point's is likely to be, None where a run does not tell. ``look``: mean and SD of the image's
    pixels as shares of their range, where it was read whole.
    """

    image: str
    points: FloatArray
    scores: FloatArray
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)
    scale: float = 1.0
    file: Path | None = None
    time_s: float | None = None
    doubt: FloatArray | None = None
    look: tuple[float, float] | None = None

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def by_landmark(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Points [k] (M, 2) and scores [k] (M,) of each landmark, as ``trigpoint.metrics`` takes them for an image."""
        return list(self.points.swapaxes(0, 1)), list(self.scores.T)

    def best(self) -> ImageDetections:
        """The first instance alone, NaN where nothing was found.

        >>> ImageDetections("a.png", np.zeros((0, 2, 2)), np.zeros((0, 2))).best().scores
        array([[nan, nan]])
        """
        if len(self):
            numbers = {name: values[:1] for name, values in self.numbers.items()}
            return replace(self, points=self.points[:1], scores=self.scores[:1], numbers=numbers)
        count = self.points.shape[1]
        nothing = np.full((1, count), np.nan)
        beside = dict.fromkeys(self.numbers, nothing)
        return replace(self, points=np.full((1, count, 2), np.nan), scores=nothing, numbers=beside)


@dataclass
class Prediction:
    """What was found in N images, one ``ImageDetections`` each; arrays of the best of each landmark beside it.

    ``radii`` (K,): original pixels that the error of a landmark stays below in ``coverage`` of the images of new
    subjects (split conformal prediction), in images with ``scale`` pixels to a pixel of the network's input; they grow
    with it (None: they do not, in runs made before that was noted), and with the doubt of an image. NaN when the run
    had too few validation subjects.
    ``threshold``: the score that every instance exceeds; None: exactly one of each landmark was looked for.
    """

    detections: list[ImageDetections]
    landmarks: LandmarkSet
    radii: FloatArray
    coverage: float = COVERAGE
    threshold: float | None = None
    scale: float | None = None

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, index: int) -> ImageDetections:
        return self.detections[index]

    @property
    def multi_instance(self) -> bool:
        """Whether any number of instances may have been found in an image."""
        return self.threshold is not None

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images."""
        return tuple(found.image for found in self.detections)

    @property
    def points(self) -> FloatArray:
        """The best of each landmark (N, K, 2), NaN = none was found."""
        return self._best("points", (len(self.landmarks), 2))

    @property
    def scores(self) -> FloatArray:
        """Scores (N, K) of ``points``."""
        return self._best("scores", (len(self.landmarks),))

    @property
    def radius(self) -> FloatArray:
        """Radii (N, K) of each image, original pixels."""
        larger = self.scales / self.scale if self.scale else np.ones(len(self))
        return larger[:, None] * self.doubts * self.radii

    @property
    def doubts(self) -> FloatArray:
        """How many times its usual error each point's is likely to be (N, K)."""
        usual = np.ones(len(self.landmarks))
        each = [usual if found.doubt is None else found.doubt for found in self.detections]
        return np.stack(each) if each else np.zeros((0, len(usual)))

    @property
    def scales(self) -> FloatArray:
        """Original pixels to an input pixel (N,), of each image."""
        return np.array([found.scale for found in self.detections])

    @property
    def spread(self) -> FloatArray | None:
        """Spread (N, K) of ``points``, None for methods that make one attempt."""
        apart = [found.numbers["spread"][0] for found in self.detections if "spread" in found.numbers]
        return np.stack(apart) if apart else None

    def _best(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        rows = [getattr(found.best(), name)[0] for found in self.detections]
        return np.stack(rows) if rows else np.zeros((0, *shape))
