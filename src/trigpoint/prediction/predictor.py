"""``Predictor``: a trained run applied to images, original pixels out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from trigpoint.codecs.grouping import group_by_proximity
from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline, as_tensor
from trigpoint.data.input.loading import collate
from trigpoint.data.pixels.images import MAX_PIXELS, ImageData, image_size, read_image
from trigpoint.data.tiled import is_tiled, open_tiled
from trigpoint.data.tiled.pyramid import LazyPyramid
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.geometry import Affine
from trigpoint.landmarks import Batch, InstancePrediction, LandmarkSet, Prediction
from trigpoint.methods import Found, FoveatedMethod, HeatmapMethod, InstanceMethod, LandmarkMethod
from trigpoint.prediction.table import instance_frame, prediction_frame, write_frame
from trigpoint.recipe import Recipe, build_method
from trigpoint.runs import COVERAGE, RunFolder

Image = str | Path | npt.NDArray[Any] | torch.Tensor | ImageData
Progress = Callable[[int, int], None]  # (done, total)


class Predictor:
    """Finds the landmarks of a run in images of any size; see ``load``, ``predict`` and ``predict_instances``."""

    def __init__(
        self,
        method: LandmarkMethod,
        recipe: Recipe,
        landmarks: LandmarkSet,
        radius: npt.NDArray[Any],
        device: str,
        threshold: float | None = None,
    ) -> None:
        self.method = method.eval().to(device)
        self.recipe = recipe
        self.landmarks = landmarks
        self.radius = radius  # (K,) original pixels
        self.threshold = threshold  # of the scores of instances; None: that of the recipe
        self.device = torch.device(device)
        self.pipeline = InputPipeline(recipe.data.input, landmarks)
        self.group: float | None = None
        """Original pixels that two landmarks of one object are apart at most; None: instances are landmark by landmark.
        Beyond the papers, see ``codecs.grouping``."""

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
        return cls(method, recipe, marks.landmarks, radius, _device(device), marks.threshold)

    def predict(
        self,
        images: Image | Sequence[Image] | LandmarkDataset,
        batch_size: int = 16,
        progress: Progress | None = None,
    ) -> Prediction:
        """Points in pixels of each original image.

        ``images``: a path, an ``ImageData`` (of a file or a frame), an array (H, W), (H, W, 3) or (C, H, W), a tensor
        (C, H, W), a list of them, or a dataset (its images, not its points). Grey becomes colour and colour grey as the
        run needs. Raises DataError for an unreadable image and for pixels that are NaN or infinite. A run that finds
        several instances gives the best place of each landmark.
        """
        items = _listed(images)
        points, scores, spread = [], [], []
        done = 0
        for part in _parts(items, batch_size):
            found = self._predict_tiled(part[0]) if is_lazy(part[0]) else self._predict_batch(part, done)
            points.append(found.points.double().cpu().numpy())
            scores.append(found.scores.double().cpu().numpy())
            if found.spread is not None:
                spread.append(found.spread.double().cpu().numpy())
            done += len(part)
            if progress is not None:
                progress(done, len(items))
        count = len(self.landmarks)
        return Prediction(
            points=np.concatenate(points) if points else np.zeros((0, count, 2)),
            scores=np.concatenate(scores) if scores else np.zeros((0, count)),
            radius=np.tile(self.radius, (len(items), 1)),
            landmarks=self.landmarks,
            images=_names(items),
            coverage=COVERAGE,
            spread=np.concatenate(spread) if spread else None,
        )

    @property
    def several(self) -> bool:
        """Whether the run finds any number of instances: then ``predict_instances`` gives all of them."""
        return self.method.several

    def predict_instances(
        self,
        images: Image | Sequence[Image] | LandmarkDataset,
        batch_size: int = 16,
        progress: Progress | None = None,
        threshold: float | None = None,
    ) -> list[InstancePrediction]:
        """All instances in each image, in pixels of the original, the best first; ``images`` as of ``predict``.

        Of a dataset each image counts once. With ``group`` a row holds the landmarks of one object.
        ``threshold`` takes the place of the run's own: scores have to exceed it.
        Raises RunError when the run is of a method that finds one of each landmark.
        """
        method = self.method
        if not isinstance(method, InstanceMethod):
            raise RunError(
                f"expected a run of the method instances, got {self.recipe.method_name}, which finds one of each "
                "landmark; use predict"
            )
        items = list(dict.fromkeys(_listed(images))) if isinstance(images, LandmarkDataset) else _listed(images)
        limit = self.threshold if threshold is None else threshold
        found: list[InstancePrediction] = []
        for start in range(0, len(items), batch_size):
            part = items[start : start + batch_size]
            some = method.find(self._batch(part, start), limit)
            arrays = (values.double().cpu().numpy() for values in some)
            for points, scores in zip(*arrays, strict=True):
                rows = int((scores > 0).sum(-1).max(initial=0))
                places, heights = points.swapaxes(0, 1)[:rows], scores.T[:rows]
                heights = np.where(np.isfinite(places).all(-1), heights, np.nan)
                if self.group is not None:
                    places, heights = group_by_proximity(places, heights, self.group)
                found.append(InstancePrediction("", places, heights))
            if progress is not None:
                progress(len(found), len(items))
        for one, name in zip(found, _names(items), strict=True):
            one.image = name
        return found

    def heatmaps(self, image: Image) -> tuple[torch.Tensor, Affine]:
        """The maps (K, h, w) of one image as they are decoded, and the affine map from input to original pixels."""
        if not isinstance(self.method, HeatmapMethod):
            raise RunError(
                f"expected a run of the method heatmap, got {self.recipe.method_name}, which has no heatmaps"
            )
        batch = collate([self._item(image, 0)])
        with torch.no_grad():
            maps = self.method.loss.maps(self.method.heatmaps(batch.images.to(self.device)))
        return maps[0].cpu(), Affine(batch.to_original[0].numpy())

    def _predict_batch(self, images: list[Any], first: int) -> Found:
        return self.method.predict_batch(self._batch(images, first))

    def _batch(self, images: list[Any], first: int) -> Batch:
        batch = collate([self._item(image, first + i) for i, image in enumerate(images)])
        batch.images, batch.to_original = batch.images.to(self.device), batch.to_original.to(self.device)
        return batch

    def _predict_tiled(self, path: str | Path) -> Found:
        """An image too large for memory, of which only what the glimpses show is read."""
        if type(self.method) is not FoveatedMethod:
            raise DataError(
                f"{path}: is read by tiles, which the method foveated can, got a run of {self.recipe.method_name}; "
                "train with method.name=foveated, or make the image smaller"
            )
        with open_tiled(path) as image:
            source = LazyPyramid(image, self.recipe.data.input.size, self.recipe.data.input, self.method.levels)
            guess = self.method.mean_beginnings(1, self.device)
            return self.method.find(source, guess, source.to_original[None].to(self.device))

    def _item(self, image: Image, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        unknown = np.full((len(self.landmarks), 2), np.nan)
        pixels, value_range = stored_pixels(image)
        return *self.pipeline(pixels, unknown, value_range=value_range), index


def is_lazy(image: Any) -> bool:
    """Whether an image is read by tiles: a zarr folder, or a tiled TIFF with more pixels than are read into memory."""
    if not isinstance(image, str | Path) or not is_tiled(image):
        return False
    return Path(image).is_dir() or math.prod(image_size(image)) > MAX_PIXELS


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    """At most ``size`` images at a time, and those that are read by tiles alone."""
    part: list[Any] = []
    for item in items:
        lazy = is_lazy(item)
        if part and (lazy or len(part) == size):
            yield part
            part = []
        part.append(item)
        if lazy:
            yield part
            part = []
    if part:
        yield part


def write_predictions(path: str | Path, prediction: Prediction, overwrite: bool = False) -> Path:
    """Write the native table: image, then x, y, score and radius of each landmark. Raises DataError if it exists."""
    return write_frame(path, prediction_frame(prediction), overwrite)


def write_instances(
    path: str | Path,
    predictions: Sequence[InstancePrediction],
    landmarks: LandmarkSet,
    radius: npt.NDArray[Any],
    overwrite: bool = False,
) -> Path:
    """Write the native table of a set with instances, see ``instance_frame``. Raises DataError if it exists."""
    return write_frame(path, instance_frame(predictions, landmarks, radius), overwrite)


def _listed(images: Image | Sequence[Image] | LandmarkDataset) -> list[Any]:
    if isinstance(images, LandmarkDataset):
        return [sample.image for sample in images.samples]
    if isinstance(images, str | Path | np.ndarray | torch.Tensor | ImageData):
        return [images]
    return list(images)


def _names(items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(item) if isinstance(item, str | Path) else f"array {i}" for i, item in enumerate(items))


def stored_pixels(image: Image) -> tuple[npt.NDArray[Any] | torch.Tensor, tuple[float, float] | None]:
    """Pixels (C, H, W), and what black and white are in them; None where only their type says so."""
    stored = read_image(image) if isinstance(image, str | Path) else image
    return (stored.pixels, stored.value_range) if isinstance(stored, ImageData) else (_pixels(stored), None)


def _pixels(image: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """An array (H, W), (H, W, C) or (C, H, W), or a tensor (C, H, W), as a tensor (C, H, W)."""
    tensor = as_tensor(image)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise DataError("image: expected finite pixel values, got NaN or infinity; repair the image")
    if tensor.ndim == 2:
        return tensor[None]
    if tensor.ndim == 3 and tensor.shape[2] in (1, 3) and not isinstance(image, torch.Tensor):
        tensor = tensor.permute(2, 0, 1)
    if tensor.ndim != 3 or tensor.shape[0] not in (1, 3):
        raise DataError(f"image: expected an array (H, W), (H, W, 3) or (1 or 3, H, W), got {tuple(image.shape)}")
    return tensor


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
