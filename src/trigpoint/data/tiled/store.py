"""What a file of tiles offers, whatever its format, and how damage is reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError, TrigpointError

Size = tuple[int, int]

MAX_TILE_PIXELS = 64_000_000  # a tile is decoded whole
REMEDY = "make a tiled copy with: trigpoint data tile IN OUT"
MILLIMETRES = {
    "nm": 1e-6,
    "nanometer": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,  # micro sign
    "μm": 1e-3,  # Greek mu
    "micrometer": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "centimeter": 10.0,
    "m": 1000.0,
    "meter": 1000.0,
}


class TileStore(ABC):
    """The stored levels of one image, finest first, each a grid of tiles.

    ``sizes`` (H, W) and ``tiles`` (height, width of a tile) per level; ``channels`` 1 or 3; ``dtype`` uint8 or uint16.
    """

    file: Path
    channels: int
    dtype: np.dtype[Any]
    sizes: tuple[Size, ...]
    tiles: tuple[Size, ...]
    spacing_mm: float | None = None

    @abstractmethod
    def load(self, level: int, row: int, column: int) -> npt.NDArray[Any]:
        """One tile (C, h, w), without what a tile at the border has beyond the image. Raises DataError."""

    @abstractmethod
    def close(self) -> None:
        """Give the file back."""

    def crop(self, level: int, row: int, column: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a whole tile (C, h, w) that belongs to the image, in native byte order."""
        (height, width), (h, w) = self.sizes[level], self.tiles[level]
        inside = values[:, : min(h, height - row * h), : min(w, width - column * w)]
        return np.ascontiguousarray(inside, dtype=self.dtype)


@contextmanager
def reading(file: Path, what: str = "") -> Iterator[None]:
    """Whatever a decoder raises on a damaged file becomes a DataError that names it.

    Decoders of foreign bytes fail in every way there is (struct.error, zlib.error, MemoryError, ...), so this guards
    the calls into them and nothing else.
    """
    try:
        yield
    except TrigpointError:
        raise
    except Exception as error:
        text = str(error).strip()
        reason = text.splitlines()[0] if text else type(error).__name__
        where = f"{what}: " if what else ""
        raise DataError(
            f"{file}: expected a whole tiled image, got a damaged one ({where}{reason}); copy or export it again"
        ) from None


def check_tile(file: Path, size: Size, tile: Size) -> None:
    """Raise DataError for sides below 1 and for tiles that nobody should decode."""
    if min(*size, *tile) < 1:
        raise DataError(f"{file}: expected an image and tiles of at least 1 x 1 pixel, got {size} in tiles of {tile}")
    if min(size[0], tile[0]) * min(size[1], tile[1]) > MAX_TILE_PIXELS or max(tile) > MAX_TILE_PIXELS:
        raise DataError(
            f"{file}: expected tiles of at most {MAX_TILE_PIXELS} pixels, got {tile[1]} x {tile[0]}; {REMEDY}"
        )


def isotropic(x: float | None, y: float | None) -> float | None:
    """The spacing of both axes when they agree, else None.

    >>> isotropic(0.1, 0.1), isotropic(0.1, 0.2)
    (0.1, None)
    """
    if x is None or y is None or not (np.isfinite(x) and x > 0 and abs(x - y) <= 1e-6 * x):
        return None
    return float(x)
