"""``Predictor``: a trained run applied to images, original pixels out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import collate
from trigpoint.data.tiled import TiledImage, open_tiled
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.geometry import Affine, fit
from trigpoint.landmarks import Batch, Detections, LandmarkSet, Widths
from trigpoint.methods import LandmarkMethod, build_method
from trigpoint.metrics.domain import look_of
from trigpoint.prediction.base import Found, Image, ImagePredictor, Stored, is_lazy, stored_pixels
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.record import read_record


class Predictor(ImagePredictor):
    """Finds the landmarks of a run in images of any size; see ``load`` and ``predict``."""

    def __init__(
        self,
        method: LandmarkMethod,
        recipe: Recipe,
        landmarks: LandmarkSet,
        radii: npt.NDArray[Any],
        device: str,
        threshold: float | None = None,
        scale: float | None = None,
        untaught: Sequence[str] = (),
        widths: Widths | None = None,
    ) -> None:
        super().__init__(landmarks, radii, scale, untaught)
        self.method = method.eval().to(device)
        self.recipe = recipe
        self.method_name = recipe.method_name
        self.widths = widths or {}
        if threshold is not None:
            method.threshold = threshold
        self.device = torch.device(device)
        self.pipeline = InputPipeline(recipe.data.input, landmarks)

    @classmethod
    def load(cls, run: str | Path | RunFolder, device: str = "auto") -> Predictor:
        """Read a run folder; no code in it is executed. ``device``: cpu, cuda, mps or auto.

        Raises RunError when the folder is no run, has no weights, or weights of another network.
        """
        folder = run if isinstance(run, RunFolder) else RunFolder(run)
        recipe, marks = folder.recipe(), folder.read_landmarks()
        method = build_method(recipe, marks.landmarks, fetch=False)  # the run has its own weights
        state, _ = folder.load_weights()
        try:
            method.inference_network().load_state_dict(state)
        except RuntimeError as error:
            first = str(error).splitlines()[-1].strip()
            raise RunError(f"{folder.weights}: does not fit the network of config.yaml ({first})") from None
        radius = marks.radius if len(marks.radius) else np.full(len(marks.landmarks), np.nan)
        own = (marks.threshold, marks.scale, marks.untaught, marks.widths)
        loaded = cls(method, recipe, marks.landmarks, radius, _device(device), *own)
        loaded.trust = folder.read_trust(len(marks.landmarks))
        if loaded.trust is None and (record := read_record(folder)) is not None:
            loaded.validated = record.subjects.get("val")
        loaded.shape = folder.read_shape(len(marks.landmarks))
        return loaded

    @property
    def threshold(self) -> float | None:
        """Score that every instance exceeds; None: exactly one of each landmark is found in an image."""
        return self.method.threshold

    def found(self, part: Sequence[Image], threshold: float | None) -> Found:
        with self.method.above(threshold):
            detected, scales, looks = self._detected(part)
        points, scores = (values.double().cpu().numpy() for values in (detected.points, detected.scores))
        if self.shape is not None:
            points = self.shape.applied(points)
        numbers = {key: values.double().cpu().numpy() for key, values in detected.numbers.items()}
        return Found(points, scores, numbers, scales, looks)

    def _detected(self, part: Sequence[Image]) -> tuple[Detections, list[float], list[tuple[float, float] | None]]:
        """What is found in some images, how many of their pixels make one of the input, and how they look."""
        if is_lazy(part[0]):  # too large for memory: only what is needed is read
            with self.opened(part[0]) as tiled:
                image, input = cast(TiledImage, tiled), self.recipe.data.input
                to_input = fit(image.size, input.size, input.fit, input.region)
                return self.method.predict_tiled(image, input), [1 / to_input.scale], [None]
        stored = [stored_pixels(image) for image in part]
        batch = self._batch_of(stored)
        scales = [Affine(each.cpu().numpy()).scale for each in batch.to_original]
        return self.method.predict(batch), scales, [look_of(*each) for each in stored]

    def heatmaps(self, image: Image) -> tuple[torch.Tensor, Affine]:
        """The maps (K, h, w) of one image as they are decoded, and the affine map from input to original pixels.

        Raises RunError for a run of a method without heatmaps.
        """
        batch = self._batch([image])
        return self.method.heatmaps(batch.images)[0].cpu(), Affine(batch.to_original[0].cpu().numpy())

    def _batch(self, images: Sequence[Image]) -> Batch:
        return self._batch_of([stored_pixels(image) for image in images])

    def _batch_of(self, stored: Sequence[Stored]) -> Batch:
        batch = collate([self._item(each, i) for i, each in enumerate(stored)])
        batch.images, batch.to_original = batch.images.to(self.device), batch.to_original.to(self.device)
        return batch

    @contextmanager
    def opened(self, image: Image) -> Iterator[Batch | TiledImage]:
        """One image as the method takes it: prepared, or opened for reading by tiles where it is too large.

        Raises DataError for one that is read by tiles when the method needs it whole.
        """
        if not is_lazy(image):
            yield self._batch([image])
            return
        if not self.method.reads_tiles:
            raise DataError(
                f"{image}: is read by tiles, which a run of the method {self.method_name} cannot; train one "
                "that can, trigpoint train foveated data.path=FOLDER --out RUN (a recipe with method.name=foveated), "
                "or make the image smaller"
            )
        with open_tiled(cast(str, image)) as tiled:
            yield tiled

    def _item(self, stored: Stored, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        unknown = np.full((len(self.landmarks), 2), np.nan)
        pixels, value_range = stored
        return *self.pipeline(pixels, unknown, value_range=value_range), index


def _device(name: str) -> str:
    if name != "auto":
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ConfigError(f"device '{name}': not usable here ({str(error).splitlines()[0]}); use cpu") from None
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if cast(Any, torch.backends).mps.is_available() else "cpu"
