"""TIFF files of any bit depth through tifffile; Pillow decodes the compressions that tifffile alone does not.

The image is the largest page; pages of its size are further frames, all others previews, levels or labels.
"""

import io
import itertools
import logging
import lzma
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile

from trigpoint.data.files import decoding, inflated_size, open_file, reachable
from trigpoint.data.pixels.kinds import TIFF as MAGIC
from trigpoint.data.pixels.limits import several
from trigpoint.data.pixels.spacing import NONE_STATED, aperio_spacing, imagej_spacing, ome_spacing
from trigpoint.errors import DataError
from trigpoint.landmarks import Spacing

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it warns of in damaged files, we raise

Piece = Callable[[int, int], bytes]  # (place in the file, number of bytes)
_DAMAGED = "expected a whole TIFF image, got a damaged one"
_ORIENTATION = 274
_WHITE_IS_ZERO, _GREY, _PALETTE, _PLANAR = 0, 1, 3, 2
_PAGES = 1000  # previews, levels and labels of one image
_FRAMES = 20_000  # pages of a file that is read frame by frame
_MASK = 4  # of TIFF's NewSubfileType
_NDPI = 65420  # the tag by which a Hamamatsu slide says so; its places in the file have 64 bits
_X_RESOLUTION, _Y_RESOLUTION = 282, 283
_SAMPLES = 8  # per pixel: colour and some alpha or infrared; more are measurements, no picture
_INFLATED = 64 << 20  # bytes of one strip or tile from which its inflated size is found out before it is decoded
_DEFLATE, _LZMA, _MOST = (8, 32946, 50013), 34925, 1032  # deflate grows at most that many times
_PLAIN = (0, 1, 2, 3)  # grey, RGB and palette; Pillow converts CMYK, YCbCr and the like


class Header(NamedTuple):
    """Upright size, bytes that reading takes, pages of that size, and the spacing where the file states one."""

    height: int
    width: int
    memory: int
    frames: int
    spacing_mm: Spacing | None
    spacing_source: str


def opened(file: Path, data: bytes | None = None) -> tifffile.TiffFile:
    """A TIFF, by its content: tifffile alone would take a slide of Hamamatsu for one by its suffix."""
    if data is None and not file.resolve().exists():  # of a file in memory only, tifffile would look for the name
        data = file.read_bytes()
    with open_file(file) if data is None else io.BytesIO(data) as stream:
        ndpi = _is_ndpi(stream)
    return tifffile.TiffFile(file if data is None else io.BytesIO(data), is_ndpi=ndpi)


def _is_ndpi(stream: IO[bytes]) -> bool:
    start, end = stream.read(12), stream.seek(0, io.SEEK_END)
    place = int.from_bytes(start[4:], "little")
    if start[:4] != b"II*\0" or not 8 <= place < end:
        return False
    stream.seek(place)
    entries = stream.read(2 + 12 * 200)
    return any(int.from_bytes(entries[at : at + 2], "little") == _NDPI for at in range(2, len(entries) - 12, 12))


def read_header(file: Path, *, several_allowed: bool = False) -> Header:
    """Size and spacing without the pixels. Raises DataError naming the file, also for several frames unless allowed."""
    with decoding(file, _DAMAGED), opened(file) as tiff:
        page, frames, _ = _image(file, tiff, _FRAMES if several_allowed else _PAGES)
        if frames > 1 and not several_allowed:
            raise several(file, frames, "pages")
        pixels, depth, samples = int(page.imagelength) * int(page.imagewidth), page.dtype.itemsize, page.samplesperpixel
        drawn = 3 if int(page.photometric) not in (_WHITE_IS_ZERO, _GREY) else min(int(samples), 3)
        chunk = 0 if page.compression == 1 and not page.is_tiled else 2 * math.prod(page.chunks) * depth
        stored = 0 if frames > 1 else int(file.stat().st_size)
        memory = int(stored + pixels * (samples * depth + drawn * min(depth, 4)) + chunk)
        size = int(page.imagelength), int(page.imagewidth)
        return Header(*(size[::-1] if _orientation(page) > 4 else size), memory, frames, *spacing_of(tiff))


def spacing_of(tiff: tifffile.TiffFile) -> tuple[Spacing | None, str]:
    """Millimetres per pixel and who states them: OME, ImageJ with its unit, or Aperio; never a print resolution."""
    first: Any = tiff.pages[0]
    x, y = (getattr(first.tags.get(tag), "value", None) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
    by: dict[str, Callable[[], Spacing | None]] = {
        "PhysicalSize of OME": lambda: ome_spacing(tiff.ome_metadata),
        "resolution and unit of ImageJ": lambda: imagej_spacing(tiff.imagej_metadata, x, y),
        "MPP of Aperio": lambda: aperio_spacing(first.description),
    }
    for source, read in by.items():
        try:
            spacing = read()
        except Exception:  # notes in any state: the pixels do not depend on them
            spacing = None
        if spacing is not None:
            return spacing, source
    return None, NONE_STATED


def count_frames(file: Path) -> int:
    """How many pages of the image's size there are. Raises DataError naming the file."""
    with decoding(file, _DAMAGED), opened(file) as tiff:
        return _image(file, tiff, _FRAMES).frames


def read_pixels(file: Path, data: bytes) -> npt.NDArray[Any]:
    """The image as (H, W) or (H, W, C), upright, black at zero, palette as RGB. Raises DataError naming the file."""
    with decoding(file, _DAMAGED), opened(file, data) as tiff:
        page, count, _ = _image(file, tiff, _PAGES)
        if count > 1:
            raise several(file, count, "pages")
        return _read(file, page, lambda at, size: data[at : at + size], lambda: io.BytesIO(data))


def read_frames(file: Path) -> Iterator[npt.NDArray[Any]]:
    """One page of the image's size after another, as ``read_pixels`` gives it. Raises DataError naming the frame."""
    with decoding(file, _DAMAGED), opened(file) as tiff:
        found = _image(file, tiff, _FRAMES)
        handle = tiff.filehandle

        def piece(at: int, size: int) -> bytes:
            handle.seek(at)
            return bytes(handle.read(size))

        for index in range(found.frames):
            with decoding(file, f"frame {index}: {_DAMAGED}"):
                if len(found.places) < found.frames:
                    values = _in_one_piece(file, found.page, index, piece)
                else:
                    page = tiff.pages[found.places[index]]
                    values = _read(file, page, piece, lambda: file.open("rb"))
            yield values


class _Found(NamedTuple):
    """The image's page, how many frames there are, and which pages they are (one where all lie behind it)."""

    page: Any
    frames: int
    places: list[int]


def _image(file: Path, tiff: tifffile.TiffFile, most: int) -> _Found:
    """The largest page and those of its size. Raises DataError where that is no picture."""
    found = pages(file, tiff.pages, most)
    main = main_page(file, found)
    places = [i for i, page in enumerate(found) if page.shape == main.shape and page.dtype == main.dtype]
    if len(places) > 1:
        places = [i for i in places if not int(found[i].subfiletype) & _MASK] or places[:1]
    depth, samples = int(main.imagedepth), int(main.samplesperpixel)
    if depth != 1 or not 1 <= samples <= _SAMPLES:
        raise DataError(f"{file}: expected a grey or colour image, got {samples} samples per pixel, {depth} deep")
    about = (tiff.imagej_metadata or {}) if tiff.is_imagej and len(found) == 1 else {}
    behind = int(about.get("images", 1))
    if behind > 1:  # ImageJ writes large stacks behind the only page that it describes
        room = (tiff.filehandle.size - int(main.dataoffsets[0])) // max(int(main.nbytes), 1)
        if main.compression != 1 or not main.is_contiguous or behind > room:
            raise DataError(f"{file}: expected {behind} frames of {main.nbytes} bytes, got {room}; copy it again")
        return _Found(main, behind, places)
    return _Found(main, len(places), places)


def main_page(file: Path, found: list[Any]) -> Any:
    """The largest page, as some scanners put a label first. Raises DataError where a larger image is out of reach."""
    main = max(found, key=lambda page: int(page.imagelength) * int(page.imagewidth))
    inner = pages(file, main.pages) if main.subifds else []
    if any(
        int(page.imagelength) * int(page.imagewidth) > int(main.imagelength) * int(main.imagewidth) for page in inner
    ):
        raise DataError(f"{file}: expected an image, got the preview of a raw photo; develop it and save it as TIFF")
    return main


def pages(file: Path, given: Iterable[Any], most: int = _PAGES) -> list[Any]:
    """The pages of a file, each of which takes time to read. Raises DataError for more than any scanner stores."""
    found = list(itertools.islice(given, most + 1))
    if not 0 < len(found) <= most:
        got = f"more than {most}" if found else "none"
        raise DataError(f"{file}: expected a TIFF of one image and its previews, got {got}; export the page")
    return found


def _read(file: Path, page: Any, piece: Piece, whole: Callable[[], IO[bytes]]) -> npt.NDArray[Any]:
    """One page, upright; ``whole`` opens the file for Pillow."""
    _refuse_gaps(file, page)
    if int(page.photometric) not in _PLAIN:
        return _orient(_by_pillow(file, whole, page), _orientation(page))
    _refuse_bomb(file, page, piece)
    try:
        values = _meaning(page, np.asarray(page.asarray()))
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        values = _by_pillow(file, whole, page)
    return _orient(values, _orientation(page))


def _in_one_piece(file: Path, page: Any, index: int, piece: Piece) -> npt.NDArray[Any]:
    """The ``index``-th of the frames that lie behind one another from where the page's pixels begin."""
    size = int(page.nbytes)
    data = piece(int(page.dataoffsets[0]) + index * size, size)
    kind = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
    return _orient(_meaning(page, np.frombuffer(data, kind).reshape(page.shape)), _orientation(page))


def _refuse_gaps(file: Path, page: Any) -> None:
    """Raise DataError when strips or tiles have no place in the file; tifffile fills them with zero."""
    count = math.prod(page.chunked)
    there = sum(1 for at, size in zip(page.dataoffsets, page.databytecounts, strict=False) if at and size)
    if there < count:
        raise DataError(f"{file}: expected {count} strips or tiles, got {there}; export it without gaps")


def _refuse_bomb(file: Path, page: Any, piece: Piece) -> None:
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
        if inflated_size(make, piece(offset, size), most) > most:
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


def _by_pillow(file: Path, whole: Callable[[], IO[bytes]], page: Any) -> npt.NDArray[Any]:
    """Stored orientation; 8 bit or 16-bit grey only, since Pillow would cut 16-bit colour."""
    grey = int(page.samplesperpixel) == 1
    if page.bitspersample in (1, 8) or (page.bitspersample == 16 and grey):
        with whole() as stream, PIL.Image.open(stream, formats=("TIFF",)) as image:
            if int(page.index):
                image.seek(int(page.index))
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
