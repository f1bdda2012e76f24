"""A tiled image made small enough for memory, for predictors that take whole images. NumPy only."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trigpoint.data.pixels.images import MAX_PIXELS, ImageData
from trigpoint.data.tiled.image import StoredLevel, TiledImage
from trigpoint.errors import DataError

_FINER = 2.0  # times finer than what a predictor sees, so that its own resampling decides on the values
_STRIP = 2**24  # pixels that are read at a time


def reduced(image: TiledImage, shrink: float) -> tuple[ImageData, float]:
    """The whole image with pixels of at most ``shrink`` pixels of the original, and their stride.

    The coarsest stored level that is at least twice as fine, or fine enough where that takes too much memory, is
    averaged further over whole blocks, strip by strip. A pixel i of the result is centred at the original pixel
    ``geometry.from_grid(i, stride)``. Raises DataError where the result would have more than ``MAX_PIXELS`` pixels.

    >>> import tempfile, tifffile
    >>> from pathlib import Path
    >>> from trigpoint.data.tiled import open_tiled
    >>> file = Path(tempfile.mkdtemp()) / "large.tif"
    >>> tifffile.imwrite(file, np.arange(64 * 96, dtype=np.uint16).reshape(64, 96), tile=(16, 16))
    >>> with open_tiled(file) as image:
    ...     small, stride = reduced(image, 9.0)
    ...     small.pixels.shape, stride, float(small.pixels[0, 0, 0])
    ((1, 16, 24), 4.0, 145.5)
    """
    size = (0, 0)
    for finer in (_FINER, 1.0):
        index, level, block = _source(image, max(1.0, shrink / finer))
        size = (-(-level.size[0] // block), -(-level.size[1] // block))
        if math.prod(size) <= MAX_PIXELS:
            pixels = _averaged(image, index, block) if block > 1 else image.read(index, 0, 0, *level.size)
            read = ImageData(pixels, image.spacing_mm, value_range=image.value_range)
            return read, level.stride * block
    raise DataError(
        f"{image.path}: expected an image that has at most {MAX_PIXELS} pixels at the size that the model sees, got "
        f"{size[1]} x {size[0]}; predict with the run folder, which reads it by tiles if its method can, or raise the "
        "limit: TRIGPOINT_MAX_PIXELS"
    )


def _source(image: TiledImage, most: float) -> tuple[int, StoredLevel, int]:
    """The coarsest stored level with a stride of at most ``most``, and the block of its pixels that comes next."""
    index, level = [(i, one) for i, one in enumerate(image.levels) if one.stride <= most][-1]
    return index, level, 2 ** math.floor(math.log2(max(1.0, most / level.stride)))  # sides are often multiples of it


def _averaged(image: TiledImage, index: int, block: int) -> npt.NDArray[np.float32]:
    """Means (C, h, w) over blocks of pixels of a level, the last ones over those that there are."""
    height, width = image.levels[index].size
    rows = block * max(1, _STRIP // (block * width))
    strips = []
    for top in range(0, height, rows):
        strip = image.read(index, top, 0, min(rows, height - top), width)
        sums: npt.NDArray[np.float64] = strip.astype(np.float64)
        for axis, length in ((1, strip.shape[1]), (2, width)):
            starts = np.arange(0, length, block)
            counts = np.diff(np.append(starts, length))
            sums = np.add.reduceat(sums, starts, axis=axis) / counts.reshape(-1, *[1] * (2 - axis))
        strips.append(sums.astype(np.float32))
    return np.concatenate(strips, axis=1)
