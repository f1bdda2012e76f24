"""What decoding a few images tells: whether they have colours, and how long it takes to read them and to use them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.input.augment import InputPipeline, sample_rng
from trigpoint.data.pixels.images import ImageData, read_image
from trigpoint.landmarks import LandmarkSet
from trigpoint.recipe import AugmentConfig, InputConfig

LOOKED_AT = 12  # images that are decoded
PREPARED = 4  # of them are made an input of
TRIES = 3  # how often each of these


@dataclass(frozen=True)
class Decoded:
    """``colour``: whether any has; ``pixel``: bytes of a pixel, mean; seconds for the ``decoding`` of a byte, and for
    ``preparing`` an input."""

    colour: bool
    pixel: float
    decoding: float
    preparing: float


def look_at(files: Sequence[Path]) -> Decoded:
    """Decode some of the files, one after the other, for many large ones have no room in memory. Raises DataError."""
    colour, pixels, seconds, prepared = False, list[int](), list[float](), list[float]()
    for place in np.unique(np.linspace(0, len(files) - 1, LOOKED_AT).round().astype(int)).tolist():
        begin = time.perf_counter()
        image = read_image(files[place])
        seconds.append((time.perf_counter() - begin) / image.pixels.nbytes)
        colour = colour or has_colour(image)
        pixels.append(len(image.pixels) * image.pixels.itemsize)
        if len(prepared) < PREPARED:
            prepared.append(preparing(image))
    # medians and the fastest of some tries, because other work on the machine makes single ones slow
    return Decoded(colour, float(np.mean(pixels)), float(np.median(seconds)), float(np.mean(prepared)))


def preparing(image: ImageData) -> float:
    """Seconds in which an input of an image is made, resampled and varied: the least of some tries."""
    augment = AugmentConfig(rotation=10, scale=(0.9, 1.1), gamma=0.3, noise=0.02)
    pipeline, rng = InputPipeline(InputConfig(size=(256, 256)), LandmarkSet(("any",)), augment), sample_rng(0, 0, 0)
    taken = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        pipeline(image.pixels, rng=rng, value_range=image.value_range)
        taken.append(time.perf_counter() - begin)
    return min(taken)


def has_colour(image: ImageData) -> bool:
    """Whether the channels (C, H, W) differ anywhere by more than rounding."""
    values: npt.NDArray[Any] = image.pixels[:, ::4, ::4].astype(np.float64)
    return len(values) > 1 and bool(np.ptp(values, axis=0).max() > 0.02 * max(1.0, float(np.ptp(values))))
