"""The check that ends every export: the file finds in images what the run finds, also where images are unlike those it
was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trigpoint.data.pixels.images import ImageData, read_image, values_met
from trigpoint.landmarks import FloatArray, ImageDetections
from trigpoint.prediction.base import ImagePredictor

CLEAR = 0.999  # of the threshold, which is the score of an instance in these images: rounding would decide on that one
VARIED = 3  # images that are tried in other forms as well


@dataclass(frozen=True)
class Difference:
    """How far the points of one image are from those of the run, original pixels; infinite where their number differs.

    ``landmark``: of the largest; ``moved`` (P,): all of them.
    """

    image: str
    largest: float
    landmark: str
    moved: FloatArray


def variants(image: ImageData) -> Iterator[tuple[str, ImageData]]:
    """An image in forms that users have: other depth, colour for grey or grey for colour, other sizes, turned.

    >>> [name for name, _ in variants(ImageData(np.zeros((1, 9, 7), np.uint8)))]
    ['16 bits', 'colour', 'half the size', 'larger', 'turned']
    """
    pixels = image.pixels
    if pixels.dtype == np.uint8:
        yield "16 bits", _of(image, pixels.astype(np.uint16) * 257)
    else:
        yield "numbers", _of(image, pixels.astype(np.float32))
    if len(pixels) == 1:
        tint = np.array([1.0, 0.9, 0.7])[:, None, None]
        yield "colour", _of(image, np.round(pixels * tint).astype(pixels.dtype))
    else:
        yield "grey", _of(image, pixels[1:2])
    if min(pixels.shape[1:]) > 1:
        yield "half the size", _of(image, pixels[:, ::2, ::2])
    yield "larger", _of(image, pixels.repeat(3, 1).repeat(3, 2)[:, :-1])
    yield "turned", _of(image, pixels.swapaxes(1, 2))


def _of(image: ImageData, pixels: npt.NDArray[np.generic]) -> ImageData:
    """The image with other pixels, black and white as far apart as before where their type is the same."""
    kept = pixels.dtype == image.pixels.dtype
    pixels = np.ascontiguousarray(pixels)
    return replace(image, pixels=pixels, value_range=image.value_range if kept else values_met(pixels))


def differences(
    run: ImagePredictor,
    exported: ImagePredictor,
    images: Sequence[Path],
    varied: int = VARIED,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Difference]:
    """What the exported model finds elsewhere than the run, image after image; of the first ``varied`` other forms."""
    limit = None if run.threshold is None else CLEAR * run.threshold
    for index, file in enumerate(images):
        stored = read_image(file)
        forms = [("", stored), *(variants(stored) if index < varied else ())]
        for form, image in forms:
            name = f"{file}, {form}" if form else str(file)
            there, here = (one.predict(image, names=[name], threshold=limit).detections[0] for one in (run, exported))
            yield difference(name, there, here, run.landmarks.names)
        if progress is not None:
            progress(index + 1, len(images))


def difference(name: str, of_run: ImageDetections, of_file: ImageDetections, names: Sequence[str]) -> Difference:
    """How far the points of a file are from those of the run; ``names`` of the landmarks."""
    if of_run.points.shape != of_file.points.shape:
        return Difference(name, float("inf"), "", np.zeros(0))
    apart = np.linalg.norm(of_run.points - of_file.points, axis=-1)  # (M, K)
    there, here = (np.isfinite(one.points).all(-1) for one in (of_run, of_file))
    apart = np.where(there & here, apart, np.where(there | here, np.inf, 0.0))
    if not apart.size:
        return Difference(name, 0.0, "", np.zeros(0))
    worst = int(apart.max(0).argmax())
    return Difference(name, float(apart.max()), names[worst], apart[there & here])
