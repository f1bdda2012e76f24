"""What a file of tiles offers, whatever its format, and how damage is reported."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import decoding
from trigpoint.errors import DataError
from trigpoint.landmarks import Spacing

Size = tuple[int, int]

MAX_TILE_PIXELS = 64_000_000  # a tile is decoded whole
MAX_TILE_BYTES = 8 * MAX_TILE_PIXELS  # with all that is stored beside the plane, such as samples and planes of a volume
REMEDY = "make a tiled copy with: trigpoint data tile IN OUT"


class TileStore(ABC):
    """The stored levels of one image, finest first, each a grid of tiles.

    ``sizes`` (H, W) and ``tiles`` (height, width of a tile) per level; ``channels`` 1 or 3; ``dtype`` uint8 or uint16.
    """

    file: Path
    channels: int
    dtype: np.dtype[Any]
    sizes: tuple[Size, ...]
    tiles: tuple[Size, ...]
    spacing_mm: Spacing | None = None

    @abstractmethod
    def load(self, level: int, row: int, column: int) -> npt.NDArray[Any]:
        """One tile (C, h, w), without what a tile at the border has beyond the image. Raises DataError."""

    def close(self) -> None:  # noqa: B027
        """Give the file back, where one stays open."""

    def crop(self, level: int, row: int, column: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The part of a whole tile (C, h, w) that belongs to the image, in native byte order."""
        (height, width), (h, w) = self.sizes[level], self.tiles[level]
        inside = values[:, : min(h, height - row * h), : min(w, width - column * w)]
        return np.ascontiguousarray(inside, dtype=self.dtype)


def reading(file: Path, what: str) -> AbstractContextManager[None]:
    """Guards what reads ``what`` (level and tile, say) of a file, which may be damaged."""
    problem = "expected a whole tiled image, got a damaged one"
    return decoding(file, problem, f"{what}: ", "; copy or export it again")


def check_tile(file: Path, size: Size, tile: Size, stored: int = 0) -> None:
    """Raise DataError for sides below 1 and for tiles that nobody should decode; ``stored``: bytes of a whole one."""
    if min(*size, *tile) < 1:
        raise DataError(f"{file}: expected an image and tiles of at least 1 x 1 pixel, got {size} in tiles of {tile}")
    too_many = min(size[0], tile[0]) * min(size[1], tile[1]) > MAX_TILE_PIXELS or max(tile) > MAX_TILE_PIXELS
    if too_many or stored > MAX_TILE_BYTES:
        expected = f"expected tiles of at most {MAX_TILE_PIXELS} pixels"
        raise DataError(f"{file}: {expected}, got {tile[1]} x {tile[0]}; {REMEDY}")
