"""What every predictor does, with PyTorch or without: images listed, named and given back in original pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.pixels.images import MAX_PIXELS, ImageData, image_size, read_image
from trigpoint.data.tiled.image import is_tiled
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import CANDIDATES, FloatArray, ImageDetections, LandmarkSet, Prediction, Widths
from trigpoint.metrics.shape_prior import ShapePrior
from trigpoint.metrics.trust import Trust, untold
from trigpoint.prediction.grouping import group_by_proximity

if TYPE_CHECKING:
    import torch

    Image = str | Path | npt.NDArray[Any] | torch.Tensor | ImageData
else:
    Image = Any  # whose parts may not all be there
Stored = tuple[npt.NDArray[Any], tuple[float, float] | None]  # pixels (C, H, W), and what black and white are in them
Progress = Callable[[int, int], None]  # (done, total)


class Found(NamedTuple):
    """What is found in B images, as ``Detections`` but arrays, and how many of their pixels make one of the input; how
    each ``looks`` to ``metrics.domain.look_of``."""

    points: FloatArray
    scores: FloatArray
    numbers: Mapping[str, FloatArray]
    scales: Sequence[float]
    looks: Sequence[tuple[float, float] | None]


class ImagePredictor(ABC):
    """Finds landmarks in images of any size; see ``predict``. A subclass gives ``threshold`` and ``found``."""

    method_name: str
    traces: ClassVar[bool] = False
    concurrent: ClassVar[bool] = False
    """Whether several threads may predict at a time; if not, images are faster together than one after another."""

    def __init__(
        self, landmarks: LandmarkSet, radii: npt.NDArray[Any], scale: float | None = None, untaught: Sequence[str] = ()
    ) -> None:
        self.landmarks = landmarks
        self.radii, self.scale = radii, scale  # as in ``Prediction``
        self.untaught = tuple(untaught)
        """Landmarks that no training image annotated: nothing is predicted of them."""
        self.widths: Widths = {}
        """Half the width of the interval of each measurement, by unit; see ``prediction.measurements``."""
        self._blank = [landmarks.index(name) for name in self.untaught]
        self.trust: Trust | None = None
        """How radii grow from image to image, and which images are unlike those of validation; None: not known."""
        self.validated: int | None = None
        """Subjects that were validated on, where ``trust`` is not known; None: nobody noted it."""
        self.shape: ShapePrior | None = None
        """What the labelled shapes say of found points; None: nothing, or what finds them knows it already."""
        self.group: float | None = None
        """Original pixels that two landmarks of one object are apart at most; None: instances are landmark by landmark.
        Beyond the papers, see ``prediction.grouping``."""

    @property
    @abstractmethod
    def threshold(self) -> float | None:
        """Score that every instance exceeds; None: exactly one of each landmark is found in an image."""

    @property
    def measures(self) -> bool:
        """Whether the dataset names measurements, and they can be made: of a run that finds one of each landmark."""
        return bool(self.landmarks.measurements) and self.threshold is None

    @property
    def cannot_tell(self) -> str:
        """What the model cannot tell of its own errors, and why; nothing where it can tell all."""
        several = self.threshold is not None
        return untold(bool(np.isfinite(self.radii).any()), self.trust is not None, several, self.validated)

    @abstractmethod
    def found(self, part: Sequence[Image], threshold: float | None) -> Found:
        """What is found in some images, of instances those with a score above ``threshold``."""

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
        for part in _parts(items, batch_size):
            found += self._per_image(self.found(part, limit), called[len(found) : len(found) + len(part)])
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

    def _per_image(self, found: Found, names: Sequence[str]) -> Iterator[ImageDetections]:
        """The images of a batch; of multi-instance runs only the rows that hold an instance."""
        points, scores, numbers, scales, looks = found
        if self._blank:
            points, scores = points.copy(), scores.copy()  # another's memory
            points[:, :, self._blank], scores[..., self._blank] = np.nan, np.nan if self.threshold is None else 0.0
            numbers = {key: values.copy() for key, values in numbers.items()}
            for values in numbers.values():
                values[..., self._blank] = np.nan
        for i, (name, scale) in enumerate(zip(names, scales, strict=True)):
            if self.threshold is None:
                beside = {key: of[i] for key, of in numbers.items()}
                one = ImageDetections(name, points[i], scores[i], beside, scale, look=looks[i])
                if self.trust is not None:
                    one.doubt = self.trust.difficulty.doubts([one])[0]
                yield one
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
        if isinstance(images, str | Path | ImageData) or hasattr(images, "ndim"):
            return [images]
        return list(images)


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


def stored_pixels(image: Image) -> Stored:
    """Pixels (C, H, W), and what black and white are in them; None where only their type says so."""
    stored: Any = read_image(image) if isinstance(image, str | Path) else image
    if isinstance(stored, ImageData):
        return stored.pixels, stored.value_range
    is_array = isinstance(stored, np.ndarray)
    pixels = _planes(stored if is_array else _array(stored), any_order=is_array)
    return pixels, _value_range(pixels)


def _array(tensor: Any) -> npt.NDArray[Any]:
    """The numbers of a tensor; of types that NumPy lacks as float32."""
    known = tensor.detach().cpu()
    return np.asarray((known if str(known.dtype) not in ("torch.bfloat16",) else known.float()).numpy())


def _value_range(pixels: npt.NDArray[Any]) -> tuple[float, float] | None:
    """What black and white are in an array, as ``read_image`` says it of a file of such values.

    The range of 8 and 16 bits (None); 0 and 1 of numbers between them; else the values met, of signed integers too.
    """
    if pixels.dtype.type in (np.uint8, np.uint16) or not pixels.size:
        return None
    low, high = float(pixels.min()), float(pixels.max())
    return None if pixels.dtype.kind == "f" and low >= 0 and high <= 1 else (low, high)


def _planes(pixels: npt.NDArray[Any], any_order: bool) -> npt.NDArray[Any]:
    """An array (H, W), (C, H, W) or, in ``any_order``, (H, W, C) as (C, H, W)."""
    shape = pixels.shape
    if pixels.dtype.kind not in "uif" or pixels.dtype.itemsize > 8:
        raise DataError(f"image: expected integers or floating point numbers, got {pixels.dtype}; convert the array")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DataError("image: expected finite pixel values, got NaN or infinity; repair the image")
    if pixels.ndim == 2:
        return pixels[None]
    if any_order and pixels.ndim == 3 and shape[2] in (1, 3):
        pixels = np.moveaxis(pixels, 2, 0)
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise DataError(f"image: expected an array (H, W), (H, W, 3) or (1 or 3, H, W), got {shape}")
    return pixels
