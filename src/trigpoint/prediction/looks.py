"""What an image looks like, as a vector: features of an encoder that knows photographs, to see which are alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.pixels.images import ImageData
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.nn.backbones import build_encoder
from trigpoint.nn.pretrained import PRETRAINED, at_hand
from trigpoint.recipe import InputConfig

WEIGHTS = "lite0"
SIDE = 128  # of the input
NUMBERS = 64  # of a vector: a fixed random projection, which keeps distances
_CELLS = 2  # the features are averaged in so many parts of the image, each way


class Looks:
    """``of`` images; ``known`` says whether the weights are there without which nothing can be said."""

    def __init__(self) -> None:
        self.input = InputConfig(size=(SIDE, SIDE), channels=3)
        self.pipeline = InputPipeline(self.input, LandmarkSet(("none",)), None)
        self.encoder = build_encoder(PRETRAINED[WEIGHTS].encoder, 3, False, WEIGHTS).eval()
        self.projection: FloatArray | None = None

    @staticmethod
    def known() -> bool:
        """Whether the weights are there."""
        return at_hand(WEIGHTS)

    @torch.no_grad()
    def of(self, images: Sequence[ImageData]) -> FloatArray:
        """Vectors (N, 64) of length 1. Exposure and contrast count for little, what is seen and where for much."""
        none = np.full((1, 2), np.nan)
        inputs = [self.pipeline(image.pixels, none, value_range=image.value_range)[0] for image in images]
        deep = self.encoder(torch.stack(inputs))[-1]
        flat = torch.nn.functional.adaptive_avg_pool2d(deep, _CELLS).flatten(1).double().numpy()
        flat = flat - flat.mean(1, keepdims=True)
        if self.projection is None:
            self.projection = np.random.default_rng(0).normal(size=(flat.shape[1], NUMBERS))
        found = flat @ self.projection
        out: FloatArray = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return out
