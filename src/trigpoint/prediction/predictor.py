"""``Predictor``: a trained run applied to images, original pixels out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from trigpoint.data.tiled import TiledImage, is_tiled, open_tiled
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.geometry import Affine, fit
from trigpoint.landmarks import Batch, Detections, ImageDetections, LandmarkSet, Prediction
from trigpoint.methods import LandmarkMethod, build_method
from trigpoint.metrics import CANDIDATES
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.folder import Widths

Image = str | Path | npt.NDArray[Any] | torch.Tensor | ImageData
Progress = Callable[[int, int], None]  # (done, total)


class Predictor:
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
        self.method = method.eval().to(device)
        self.recipe = recipe
        self.landmarks = landmarks
        self.radii, self.scale = radii, scale  # as in ``Prediction``
        self.untaught = tuple(untaught)
        """Landmarks that no training image annotated: nothing is predicted of them."""
        self.widths: Widths = widths or {}
        """Half the width of the interval of each measurement, by unit; see ``prediction.measurements``."""
        self._blank = [landmarks.index(name) for name in self.untaught]
        if threshold is not None:
            method.threshold = threshold
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
        own = (marks.threshold, marks.scale, marks.untaught, marks.widths)
        return cls(method, recipe, marks.landmarks, radius, _device(device), *own)

    @property
    def threshold(self) -> float | None:
        """Score that every instance exceeds; None: exactly one of each landmark is found in an image."""
        return self.method.threshold

    @property
    def measures(self) -> bool:
        """Whether its dataset names measurements, and it finds one of each landmark, so that they can be made."""
        return bool(self.landmarks.measurements) and self.threshold is None

    def predict(
        self,
        images: Image | Sequence[Image] | LandmarkDataset,
        batch_size: int = 16,
        progress: Progress | None = None,
        threshold: float | None = None,
        names: Sequence[str] | None = None,
    ) -> Prediction:
        """What is found in each image, in pixels of the original; landmarks that no training image annotated are NaN.

        ``images``: a path, an ``ImageData`` (of a file or a frame), an array (H, W), (H, W, 3) or (C, H, W), a tensor
        (C, H, W), a list of them, or a dataset (its images, not its points; each once in multi-instance runs). Grey
        becomes colour and colour grey as the run needs. ``names`` of the images in the result, where they are not their
        paths. ``threshold`` takes the place of the run's own in multi-instance runs: scores have to exceed it.

        Raises DataError for an unreadable image and for pixels that are NaN or infinite, ConfigError for a threshold
        where exactly one of each landmark is found.
        """
        if threshold is not None and self.threshold is None:
            raise ConfigError(
                "threshold: is for multi-instance runs, got a run that finds one of each landmark; leave it"
            )
        items, found = self._listed(images), list[ImageDetections]()
        called = _names(items) if names is None else names
        limit = self.threshold if threshold is None else threshold
        with self.method.above(limit):
            for part in _parts(items, batch_size):
                found += self._per_image(*self._found(part), called[len(found) : len(found) + len(part)])
                if progress is not None:
                    progress(len(found), len(items))
        if names is None:
            for one, item in zip(found, items, strict=True):
                one.file = Path(item) if isinstance(item, str | Path) else None
        return self.joined(found, limit)

    def joined(self, found: list[ImageDetections], threshold: float | None = None) -> Prediction:
        """One result of the images of several calls of ``predict`` (with the same ``threshold``, if any)."""
        limit = self.threshold if threshold is None else threshold
        return Prediction(found, self.landmarks, self.radii, threshold=limit, scale=self.scale)

    def candidates(
        self, images: Image | Sequence[Image] | LandmarkDataset, progress: Progress | None = None
    ) -> Prediction:
        """As ``predict``, with all that a threshold may be chosen from in multi-instance runs."""
        lower = None if self.threshold is None else min(CANDIDATES, self.threshold)
        return self.predict(images, progress=progress, threshold=lower)

    def _found(self, part: Sequence[Image]) -> tuple[Detections, list[float]]:
        """What is found in some images, and how many of their pixels make one of the input."""
        if is_lazy(part[0]):  # too large for memory: only what is needed is read
            with self.opened(part[0]) as tiled:
                image, input = cast(TiledImage, tiled), self.recipe.data.input
                to_input = fit(image.size, input.size, input.fit, input.region)
                return self.method.predict_tiled(image, input), [1 / to_input.scale]
        batch = self._batch(part)
        return self.method.predict(batch), [Affine(each.cpu().numpy()).scale for each in batch.to_original]

    def _per_image(self, found: Detections, scales: Sequence[float], names: Sequence[str]) -> Iterator[ImageDetections]:
        """The images of a batch; of multi-instance runs only the rows that hold an instance."""
        points, scores = (values.double().cpu().numpy() for values in (found.points, found.scores))
        numbers = {key: values.double().cpu().numpy() for key, values in found.numbers.items()}
        if self._blank:
            points, scores = points.copy(), scores.copy()  # a tensor of this type shares its memory
            points[:, :, self._blank], scores[..., self._blank] = np.nan, np.nan if self.threshold is None else 0.0
            numbers = {key: values.copy() for key, values in numbers.items()}
            for values in numbers.values():
                values[..., self._blank] = np.nan
        for i, (name, scale) in enumerate(zip(names, scales, strict=True)):
            if self.threshold is None:
                beside = {key: of[i] for key, of in numbers.items()}
                yield ImageDetections(name, points[i], scores[i], beside, scale)
                continue
            rows = int((scores[i] > 0).sum(0).max(initial=0))
            places, heights = points[i, :rows], scores[i, :rows]
            heights = np.where(np.isfinite(places).all(-1), heights, np.nan)
            others = {key: of[i, :rows] for key, of in numbers.items()}
            if self.group is not None:
                places, heights = group_by_proximity(places, heights, self.group)
                others = {}  # what stood beside the points has lost its place
            yield ImageDetections(name, places, heights, others, scale)

    def _listed(self, images: Image | Sequence[Image] | LandmarkDataset) -> list[Any]:
        if isinstance(images, LandmarkDataset):
            paths = [sample.image for sample in images.samples]
            return paths if self.threshold is None else list(dict.fromkeys(paths))
        if isinstance(images, str | Path | np.ndarray | torch.Tensor | ImageData):
            return [images]
        return list(images)

    def heatmaps(self, image: Image) -> tuple[torch.Tensor, Affine]:
        """The maps (K, h, w) of one image as they are decoded, and the affine map from input to original pixels.

        Raises RunError for a run of a method without heatmaps.
        """
        batch = self._batch([image])
        return self.method.heatmaps(batch.images)[0].cpu(), Affine(batch.to_original[0].cpu().numpy())

    def _batch(self, images: Sequence[Image]) -> Batch:
        batch = collate([self._item(image, i) for i, image in enumerate(images)])
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
                f"{image}: is read by tiles, which a run of the method {self.recipe.method_name} cannot; train one "
                "that can, trigpoint train foveated data.path=FOLDER --out RUN (a recipe with method.name=foveated), "
                "or make the image smaller"
            )
        with open_tiled(cast(str, image)) as tiled:
            yield tiled

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


def _names(items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(item) if isinstance(item, str | Path) else f"array {i}" for i, item in enumerate(items))


def stored_pixels(image: Image) -> tuple[npt.NDArray[Any] | torch.Tensor, tuple[float, float] | None]:
    """Pixels (C, H, W), and what black and white are in them; None where only their type says so."""
    stored = read_image(image) if isinstance(image, str | Path) else image
    if isinstance(stored, ImageData):
        return stored.pixels, stored.value_range
    pixels = _pixels(stored)
    return pixels, _value_range(pixels)


def _value_range(pixels: torch.Tensor) -> tuple[float, float] | None:
    """What black and white are in an array, as ``read_image`` says it of a file of such values.

    The range of 8 and 16 bits (None); 0 and 1 of numbers between them; else the values met, of signed integers too.
    """
    if pixels.dtype in (torch.uint8, torch.uint16) or not pixels.numel():
        return None
    low, high = (float(end) for end in torch.aminmax(pixels.to(torch.float64)))
    return None if pixels.is_floating_point() and low >= 0 and high <= 1 else (low, high)


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
