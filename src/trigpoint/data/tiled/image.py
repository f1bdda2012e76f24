"""``open_tiled`` gives a ``TiledImage`` of a tiled (OME-)TIFF or zarr, of which only the tiles needed are read."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import check_path
from trigpoint.data.pixels import tiff
from trigpoint.data.pixels.images import check_size
from trigpoint.data.tiled.store import REMEDY, Size, TileStore
from trigpoint.data.tiled.tiff import TiffTiles, reduces, starts_tiled
from trigpoint.data.tiled.zarr import ZarrTiles
from trigpoint.data.tiled.zarr_codecs import MARKERS
from trigpoint.errors import DataError

CACHE_BYTES = 256 * 2**20


class StoredLevel(NamedTuple):
    """``size`` (H, W); cell i is centred at the image pixel ``geometry.from_grid(i, stride)``."""

    size: Size
    stride: float


class TiledImage(AbstractContextManager["TiledImage", None]):
    """An image on disk that is read by regions; a context manager, safe to share between threads.

    ``size`` (H, W), ``channels`` 1 or 3, ``dtype`` uint8 or uint16, ``value_range`` what black and white are,
    ``spacing_mm`` millimetres per pixel (x, y) where the file states them, else None. ``levels``:
    what is stored, finest first; level 0 is the image. Decoded tiles are kept until they fill ``cache_bytes``, the ones
    used longest ago go first. ``tiles_read`` counts the tiles decoded so far.
    """

    def __init__(self, store: TileStore, cache_bytes: int = CACHE_BYTES) -> None:
        self.path = store.file
        self.size = store.sizes[0]
        self.channels = store.channels
        self.dtype = store.dtype
        self.value_range = (0.0, float(np.iinfo(store.dtype).max))
        self.spacing_mm = store.spacing_mm
        self.levels = _strides(store)
        self.tiles = store.tiles
        self.cache_bytes = cache_bytes
        self.tiles_read = 0
        self._store = store
        self._kept: OrderedDict[tuple[int, int, int], npt.NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def read(self, level: int, top: int, left: int, height: int, width: int) -> npt.NDArray[Any]:
        """The part (C, h, w) of a region of a stored level that lies inside the image; 0 pixels when none does.

        Only the tiles it touches are read. Raises DataError naming the file when one of them is damaged.
        """
        rows, columns = self.levels[level].size
        y0, x0 = min(max(top, 0), rows), min(max(left, 0), columns)
        y1, x1 = max(min(top + height, rows), y0), max(min(left + width, columns), x0)
        check_size(self.path, 1, 1, memory=self.channels * (y1 - y0) * (x1 - x0) * self.dtype.itemsize)
        out = np.empty((self.channels, y1 - y0, x1 - x0), self.dtype)
        if out.size:
            h, w = self.tiles[level]
            for row in range(y0 // h, -(-y1 // h)):
                for column in range(x0 // w, -(-x1 // w)):
                    tile = self._tile(level, row, column)
                    a, b = max(y0, row * h), max(x0, column * w)
                    c, d = min(y1, (row + 1) * h), min(x1, (column + 1) * w)
                    part = tile[:, a - row * h : c - row * h, b - column * w : d - column * w]
                    out[:, a - y0 : c - y0, b - x0 : d - x0] = part
        return out

    def preview(self, most: int = 2048) -> tuple[npt.NDArray[Any], float]:
        """A small picture (C, h, w) of the whole image, and its stride: the finest stored level of at most ``most``
        pixels a side. Raises DataError when there is none.
        """
        for index, level in enumerate(self.levels):
            if max(level.size) <= most:
                return self.read(index, 0, 0, *level.size), level.stride
        raise DataError(f"{self.path}: expected a level of at most {most} pixels a side to draw, got none; {REMEDY}")

    def _tile(self, level: int, row: int, column: int) -> npt.NDArray[Any]:
        key = (level, row, column)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            tile = self._store.load(level, row, column)
            self.tiles_read += 1
            self._kept[key] = tile
            self._kept_bytes += tile.nbytes
            while self._kept_bytes > self.cache_bytes:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
            return tile

    def close(self) -> None:
        """Close the file and forget its tiles."""
        self._kept.clear()
        self._kept_bytes = 0
        self._store.close()

    def __exit__(self, *error: object) -> None:
        self.close()


def open_tiled(path: str | Path, *, cache_bytes: int = CACHE_BYTES, fill_missing: bool = False) -> TiledImage:
    """Open a tiled TIFF or zarr for reading by regions.

    TIFF, BigTIFF and OME-TIFF of 8 or 16 bit, grey or RGB (alpha is dropped), with the reduced levels in SubIFDs or
    following pages, or without; compressions beyond none, deflate, LZMA and packbits need ``imagecodecs``. Zarr arrays
    of version 2 and 3 and OME-NGFF groups with the extra ``zarr``. Tiles the file leaves out are refused, or with
    ``fill_missing`` are zero (zarr: the fill value). Raises DataError naming the file for everything else.

    >>> import tempfile, tifffile
    >>> file = Path(tempfile.mkdtemp()) / "large.tif"
    >>> tifffile.imwrite(file, np.arange(64 * 96, dtype=np.uint16).reshape(64, 96), tile=(16, 16))
    >>> with open_tiled(file) as image:
    ...     image.size, image.read(0, 10, 94, 3, 8).tolist(), image.tiles_read
    ((64, 96), [[[1054, 1055], [1150, 1151], [1246, 1247]]], 1)
    """
    file = Path(path)
    check_path(file)
    if file.is_dir():
        if not _is_zarr(file):
            raise DataError(f"{file}: expected a tiled TIFF or zarr, got a folder without {' or '.join(MARKERS)}")
        return TiledImage(ZarrTiles(file, fill_missing), cache_bytes)
    if not tiff.is_tiff(file):
        raise DataError(f"{file}: expected a tiled TIFF or zarr, got another kind of file; {REMEDY}")
    return TiledImage(TiffTiles(file, fill_missing=fill_missing), cache_bytes)


def is_tiled(path: str | Path) -> bool:
    """Whether a path holds a tiled TIFF or zarr, from the first bytes or names; damaged ones may count as neither."""
    file = Path(path)
    check_path(file)
    if file.is_dir():
        return _is_zarr(file)
    return file.is_file() and tiff.is_tiff(file) and starts_tiled(file)


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MARKERS)


def _strides(store: TileStore) -> tuple[StoredLevel, ...]:
    """The levels and their strides; they share their left and top edge."""
    levels = [StoredLevel(store.sizes[0], 1.0)]
    for size in store.sizes[1:]:
        if not reduces(store.sizes[0], size):
            expected = f"expected levels to be reduced copies of {store.sizes[0]}"
            raise DataError(f"{store.file}: {expected}, got one of {size}; {REMEDY}")
        levels.append(StoredLevel(size, _stride(store.sizes[0], size, levels[-1].stride)))
    return tuple(levels)


def _stride(full: Size, size: Size, before: float) -> float:
    """Pixels of the image per cell: a power of 2, a multiple of the level before or an integer if the sizes allow it.

    Writers round up, down or to the nearest, so small levels fit several numbers; the usual ones are tried first.

    >>> [_stride((1000, 900), size, 1.0) for size in ((32, 29), (100, 90), (300, 270))]
    [32.0, 10.0, 3.3333333333333335]
    """
    ratio = max(full) / max(size)
    for stride in (2 ** round(math.log2(ratio)), before * round(ratio / before), round(ratio)):
        if stride > before and all(n // stride <= m <= -(-n // stride) for n, m in zip(full, size, strict=True)):
            return float(stride)
    return ratio
