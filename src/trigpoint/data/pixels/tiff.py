"""TIFF files of any bit depth through tifffile; Pillow decodes the compressions that tifffile alone does not."""

import io
import itertools
import lzma
import math
import zlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile

from trigpoint.data.files import decoding, inflated_size, open_file, reachable
from trigpoint.errors import DataError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DAMAGED = "expected a whole TIFF image, got a damaged one"
_ORIENTATION = 274
_WHITE_IS_ZERO, _GREY, _PALETTE, _PLANAR = 0, 1, 3, 2
_PAGES = 1000  # previews, levels and labels of one image
_SAMPLES = 8  # per pixel: colour and some alpha or infrared; more are measurements, no picture
_INFLATED = 64 << 20  # bytes of one strip or tile from which its inflated size is found out before it is decoded
_DEFLATE, _LZMA, _MOST = (8, 32946, 50013), 34925, 1032  # deflate grows at most that many times
_PLAIN = (0, 1, 2, 3)  # grey, RGB and palette; Pillow converts CMYK, YCbCr and the like


def read_size(file: Path) -> tuple[int, int]:
    """(height, width) after orientation, from the header. Raises DataError naming the file."""
    with decoding(file, _DAMAGED), tifffile.TiffFile(file) as tiff:
        page = _page(file, tiff)
        size = int(page.imagelength), int(page.imagewidth)
        return size[::-1] if _orientation(page) > 4 else size


def memory(file: Path) -> int:
    """Bytes that ``read_pixels`` and a copy of what it gives take at once. Raises DataError naming the file."""
    with decoding(file, _DAMAGED), tifffile.TiffFile(file) as tiff:
        page = _page(file, tiff)
        pixels, depth, samples = int(page.imagelength) * int(page.imagewidth), page.dtype.itemsize, page.samplesperpixel
        drawn = 3 if int(page.photometric) not in (_WHITE_IS_ZERO, _GREY) else min(int(samples), 3)
        chunk = 0 if page.compression == 1 and not page.is_tiled else 2 * math.prod(page.chunks) * depth
        return int(file.stat().st_size + pixels * (samples * depth + drawn * min(depth, 4)) + chunk)


def read_pixels(file: Path, data: bytes) -> npt.NDArray[Any]:
    """The page as (H, W) or (H, W, C), upright, black at zero, palette as RGB. Raises DataError naming the file."""
    with decoding(file, _DAMAGED), tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = _page(file, tiff)
        _refuse_gaps(file, page)
        if int(page.photometric) not in _PLAIN:
            return _orient(_by_pillow(file, data, page), _orientation(page))
        _refuse_bomb(file, page, data)
        try:
            values = _meaning(page, np.asarray(page.asarray()))
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            values = _by_pillow(file, data, page)
        return _orient(values, _orientation(page))


def _page(file: Path, tiff: tifffile.TiffFile) -> Any:
    first, *others = pages(file, tiff.pages)
    if any(page.shape == first.shape for page in others):  # pages of other sizes are previews
        raise DataError(f"{file}: expected one image, got {len(others) + 1} pages; export the page that is meant")
    depth, samples = int(first.imagedepth), int(first.samplesperpixel)
    if depth != 1 or not 1 <= samples <= _SAMPLES:
        raise DataError(f"{file}: expected a grey or colour image, got {samples} samples per pixel, {depth} deep")
    return first


def pages(file: Path, given: Iterable[Any]) -> list[Any]:
    """The pages of a file, each of which takes time to read. Raises DataError for more than any scanner stores."""
    found = list(itertools.islice(given, _PAGES + 1))
    if not 0 < len(found) <= _PAGES:
        got = f"more than {_PAGES}" if found else "none"
        raise DataError(f"{file}: expected a TIFF of one image and its previews, got {got}; export the page")
    return found


def _refuse_gaps(file: Path, page: Any) -> None:
    """Raise DataError when strips or tiles have no place in the file; tifffile fills them with zero."""
    count = math.prod(page.chunked)
    there = sum(1 for at, size in zip(page.dataoffsets, page.databytecounts, strict=False) if at and size)
    if there < count:
        raise DataError(f"{file}: expected {count} strips or tiles, got {there}; export it without gaps")


def _refuse_bomb(file: Path, page: Any, data: bytes) -> None:
    """Raise DataError when a strip or tile would inflate to more than it may hold; tifffile inflates it whole."""
    if page.compression not in (*_DEFLATE, _LZMA):
        return
    chunk = int(np.prod(page.chunks, dtype=np.int64)) * page.dtype.itemsize
    most = max(2 * chunk, _INFLATED)
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=False):
        if page.compression in _DEFLATE and size * _MOST <= most:
            continue
        make: Any = (
            partial(lzma.LZMADecompressor, memlimit=_INFLATED) if page.compression == _LZMA else zlib.decompressobj
        )
        if inflated_size(make, data[offset : offset + size], most) > most:
            raise DataError(f"{file}: expected strips or tiles of {chunk} bytes, got one that inflates to over {most}")


def _meaning(page: Any, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Planes last, palette applied, white-is-zero turned, bits as 0 and 255."""
    if values.ndim == 3 and int(page.planarconfig) == _PLANAR:
        values = np.moveaxis(values, 0, -1)
    if int(page.photometric) == _PALETTE and page.colormap is not None:
        table = (np.asarray(page.colormap, dtype=np.uint16) >> 8).astype(np.uint8)
        return np.moveaxis(table[:, values], 0, -1)
    if int(page.photometric) == _WHITE_IS_ZERO and values.dtype == np.bool_:
        values = ~values
    elif int(page.photometric) == _WHITE_IS_ZERO and values.dtype.kind == "u":
        np.subtract(np.iinfo(values.dtype).max, values, out=values)
    return values.astype(np.uint8) * np.uint8(255) if values.dtype == np.bool_ else values


def _by_pillow(file: Path, data: bytes, page: Any) -> npt.NDArray[Any]:
    """Stored orientation; 8 bit or 16-bit grey only, since Pillow would cut 16-bit colour."""
    grey = int(page.samplesperpixel) == 1
    if page.bitspersample in (1, 8) or (page.bitspersample == 16 and grey):
        with PIL.Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            image.load()
            if image.mode in ("L", "RGB") or image.mode.startswith("I;16"):
                return np.asarray(image)
            return np.asarray(image.convert("L" if image.mode in ("1", "LA") else "RGB"))
    name = getattr(page.compression, "name", str(page.compression))
    fix = "pip install imagecodecs, or save it uncompressed"
    raise DataError(f"{file}: TIFF compression {name} needs a decoder; {fix}")


def _orientation(page: Any) -> int:
    tag = page.tags.get(_ORIENTATION)
    return int(tag.value) if tag is not None and int(tag.value) in range(1, 9) else 1


def _orient(values: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn an array (H, W, ...) stored with TIFF/EXIF orientation 1-8 upright."""
    if orientation > 4:
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values


def is_tiff(file: Path) -> bool:
    """Whether a file begins as TIFF does. Raises DataError when it cannot be read."""
    with open_file(file) as stream, reachable(file):
        return stream.read(4) in MAGIC
