"""Tiles of a TIFF, BigTIFF or OME-TIFF; reduced levels are its SubIFDs or its following pages."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import inflated_size
from trigpoint.data.pixels.limits import several
from trigpoint.data.pixels.tiff import main_page, opened, pages, spacing_of
from trigpoint.data.tiled.store import REMEDY, Size, TileStore, check_tile, reading
from trigpoint.errors import DataError

_ORIENTATION = 274
_WHITE_IS_ZERO, _GREY, _RGB, _YCBCR = 0, 1, 2, 6
_PLAIN, _DEFLATE = 1, (8, 32946)
_DEFLATE_RATIO = 1032  # no stream of it expands more
_BOMB = 1 << 30  # bytes that one tile may at worst expand to before it is measured first
_ROWS = 256  # of an uncompressed image in a single strip, what is read at a time


class TiffTiles(TileStore):
    """``strips``: take strips of rows for tiles as well, which only makes sense when the whole image is read once.

    Raises DataError for a file that is damaged, not tiled, of several images, or of a kind that cannot be decoded.
    """

    def __init__(self, file: Path, strips: bool = False, fill_missing: bool = False) -> None:
        self.file = file
        self.fill_missing = fill_missing
        with reading(file, "header"):
            self._tiff = opened(file)
        try:
            with reading(file, "header"):
                self._open(strips)
        except DataError:
            self.close()
            raise

    def _open(self, strips: bool) -> None:
        found = pages(self.file, self._tiff.pages)
        first = main_page(self.file, found)
        if not (first.is_tiled or strips):
            raise DataError(f"{self.file}: expected a tiled TIFF, got one in strips of rows; {REMEDY}")
        _check_kind(self.file, first)
        self.dtype = np.dtype(np.uint8 if first.bitspersample == 8 else np.uint16)
        self.channels = 1 if int(first.samplesperpixel) < 3 else 3  # alpha is dropped
        self._pages = _levels(self.file, found, first)
        self.sizes = tuple(_size(page) for page in self._pages)
        self.tiles = tuple(_tile(page) for page in self._pages)
        for page, size, tile in zip(self._pages, self.sizes, self.tiles, strict=True):
            check_tile(self.file, size, tile, math.prod(tile) * page.dtype.itemsize * int(page.samplesperpixel))
            _check_decoder(self.file, page)
            if not _mapped(page):
                self._check_extent(page, size, tile)
        self.spacing_mm, _ = spacing_of(self._tiff)

    def _check_extent(self, page: Any, size: Size, tile: Size) -> None:
        """Every tile has its place, and the place lies within the file."""
        planes = int(page.samplesperpixel) if int(page.planarconfig) == 2 else 1
        count = planes * -(-size[0] // tile[0]) * -(-size[1] // tile[1])
        if not len(page.dataoffsets) == len(page.databytecounts) == count:
            expected = f"{count} tiles of {tile[1]} x {tile[0]} for {size[1]} x {size[0]} pixels"
            raise DataError(f"{self.file}: expected {expected}, got {len(page.dataoffsets)}; export it again")
        reach = int(np.max(np.asarray(page.dataoffsets, np.float64) + np.asarray(page.databytecounts, np.float64)))
        if reach > self._tiff.filehandle.size:
            got = f"{self._tiff.filehandle.size}: the file was cut short"
            raise DataError(f"{self.file}: expected {reach} bytes, got {got}; copy or export it again")

    def load(self, level: int, row: int, column: int) -> npt.NDArray[Any]:
        """As ``TileStore`` says."""
        page = self._pages[level]
        with reading(self.file, f"level {level}, tile {column}, {row}"):
            if _mapped(page):
                return self._oriented(page, self._rows(page, row))
            (height, width), (h, w) = self.sizes[level], self.tiles[level]
            across, down = -(-width // w), -(-height // h)
            separate = int(page.planarconfig) == 2
            planes = [
                self._segment(page, (plane * down + row) * across + column, (h, w))
                for plane in range(self.channels if separate else 1)
            ]
            values = np.concatenate(planes, axis=-1)[..., : self.channels]
            return self._oriented(page, self.crop(level, row, column, np.moveaxis(values, -1, 0)))

    def _segment(self, page: Any, index: int, tile: Size) -> npt.NDArray[Any]:
        """One stored tile (h, w, samples)."""
        offset, count = int(page.dataoffsets[index]), int(page.databytecounts[index])
        samples = 1 if int(page.planarconfig) == 2 else int(page.samplesperpixel)
        if count == 0 or offset == 0:
            if self.fill_missing:
                return np.zeros((*tile, samples), self.dtype)
            raise DataError(f"{self.file}: expected every tile, got none at place {index}; export it without gaps")
        handle = self._tiff.filehandle
        handle.seek(offset)
        data = handle.read(count)
        if len(data) != count:
            raise DataError(f"{self.file}: expected {count} bytes of a tile, got {len(data)}; copy the file again")
        expected = tile[0] * tile[1] * samples * self.dtype.itemsize
        measured = int(page.compression) in _DEFLATE and count * _DEFLATE_RATIO > _BOMB
        if measured and inflated_size(zlib.decompressobj, data, expected) > expected:
            raise DataError(f"{self.file}: expected tiles of {expected} bytes, got a larger one; export it again")
        values = page.decode(data, index, jpegtables=page.jpegtables)[0]
        return np.asarray(values).reshape(values.shape[-3:])

    def _rows(self, page: Any, row: int) -> npt.NDArray[Any]:
        """Rows (C, h, W) of an uncompressed image in one piece."""
        height, width = _size(page)
        pixels = page.asarray(out="memmap")
        if int(page.planarconfig) == 2:
            planes = pixels.reshape(-1, height, width)
        else:
            planes = np.moveaxis(pixels.reshape(height, width, -1), -1, 0)
        return np.array(planes[: self.channels, row * _ROWS : (row + 1) * _ROWS], self.dtype)

    def _oriented(self, page: Any, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.iinfo(self.dtype).max - values if int(page.photometric) == _WHITE_IS_ZERO else values

    def close(self) -> None:
        """Close the file."""
        self._tiff.close()


def starts_tiled(file: Path) -> bool:
    """Whether the largest page of a TIFF is tiled; False when that cannot be told."""
    try:
        with reading(file, "header"), opened(file) as tiff:
            return bool(main_page(file, pages(file, tiff.pages)).is_tiled)
    except DataError:
        return False


def _check_kind(file: Path, page: Any) -> None:
    if page.bitspersample not in (8, 16) or int(page.sampleformat) != 1:
        raise DataError(f"{file}: expected 8 or 16 bit, got {page.bitspersample} bit of {page.dtype}; convert it")
    if int(page.imagedepth) != 1:
        got = f"a volume of {page.imagedepth}"
        raise DataError(f"{file}: expected one plane, got {got}; export the plane that is meant")
    jpeg = int(page.compression) in (6, 7)
    if int(page.photometric) not in (_WHITE_IS_ZERO, _GREY, _RGB) and not (jpeg and int(page.photometric) == _YCBCR):
        name = getattr(page.photometric, "name", page.photometric)
        raise DataError(f"{file}: expected grey or RGB tiles, got {name}; {REMEDY}")
    if not 1 <= int(page.samplesperpixel) <= 4:
        raise DataError(f"{file}: expected 1 to 4 samples per pixel, got {page.samplesperpixel}; export it as RGB")
    tag = page.tags.get(_ORIENTATION)
    if tag is not None and tag.value != 1:
        raise DataError(f"{file}: expected an upright image, got TIFF orientation {tag.value}; {REMEDY}")


def _check_decoder(file: Path, page: Any) -> None:
    """Ask the decoder for nothing: it says what it lacks."""
    try:
        page.decode(None, 0)
    except (ValueError, NotImplementedError) as error:
        name = getattr(page.compression, "name", str(page.compression))
        if "imagecodecs" in str(error):
            raise DataError(f"{file}: TIFF compression {name} needs a decoder; pip install imagecodecs") from None
        raise DataError(f"{file}: expected a TIFF that can be decoded, got compression {name} ({error})") from None


def _levels(file: Path, found: list[Any], first: Any) -> list[Any]:
    """The page and its reduced copies, finest first; previews, labels and the like are left out."""
    following = [page for page in found if page is not first]
    same = [page for page in following if _size(page) == _size(first)]
    if same:
        raise several(file, len(same) + 1, "pages of one size")
    reduced = pages(file, first.pages) if first.subifds else [page for page in following if page.is_tiled]
    levels: dict[Size, Any] = {_size(first): first}
    for page in reduced:
        if _kind(page) == _kind(first) and reduces(_size(first), _size(page)):
            levels.setdefault(_size(page), page)
    return [levels[size] for size in sorted(levels, reverse=True)]


def reduces(full: Size, size: Size) -> bool:
    """Whether an image of ``size`` can be a reduced copy of one of size ``full``: same shape to a pixel.

    >>> reduces((1000, 700), (250, 175)), reduces((1000, 700), (250, 250))
    (True, False)
    """
    longer = int(full[1] > full[0])
    if not 0 < size[longer] < full[longer] or not 0 < size[1 - longer] <= full[1 - longer]:
        return False
    return abs(full[1 - longer] * size[longer] / full[longer] - size[1 - longer]) <= 1


def _kind(page: Any) -> tuple[int, ...]:
    return int(page.samplesperpixel), int(page.bitspersample), int(page.photometric), int(page.imagedepth)


def _size(page: Any) -> Size:
    return int(page.imagelength), int(page.imagewidth)


def _tile(page: Any) -> Size:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    height, width = _size(page)
    return (_ROWS if _mapped(page) else min(int(page.rowsperstrip), height)), width


def _mapped(page: Any) -> bool:
    """Whether rows can be read from the file as they are."""
    return not page.is_tiled and int(page.compression) == _PLAIN and bool(page.is_memmappable)
