"""PNG, JPEG, BMP, GIF, WebP and JPEG 2000 through Pillow, with what Pillow does not ask: checksums, depths, sizes."""

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.features
import PIL.Image
import PIL.ImageOps

from trigpoint.data.files import decoding
from trigpoint.data.pixels.kinds import kind_of
from trigpoint.data.pixels.limits import MAX_PIXELS, check_size, several
from trigpoint.errors import DataError

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "JPEG2000")
_OPTIONAL = {"WEBP": "webp", "JPEG2000": "jpg_2000"}  # what Pillow may have been built without
_ORIENTATION = 274  # the EXIF tag
_DEEP = 20  # bytes for each pixel of a PNG of 16 bits with colour
_CANVAS = 20  # of a WebP: its decoder holds three canvases, Pillow one more
_COMPOSED = 16  # of a GIF, whose frames are drawn over one another
_TILE = 12_000  # bytes that a tile of a JPEG 2000 takes before it is decoded
_WHOLE = "expected a whole image, got a damaged one"
_limit = threading.Lock()


class _Coded(NamedTuple):
    """What the header of a WebP or JPEG 2000 says before Pillow takes memory for it; ``depth`` bits of a value."""

    height: int
    width: int
    memory: int
    depth: int = 8


def read_size(file: Path, stream: IO[bytes]) -> tuple[int, int]:
    """(height, width) upright, from the header; of several frames that of each. Raises DataError naming the file."""
    with _opened(file, stream, MAX_PIXELS, limited=False) as (image, _):
        with decoding(file, "expected readable EXIF data, got damaged ones"):
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.width, image.height) if turned else (image.height, image.width)


def read_pixels(file: Path, data: bytes, max_pixels: int) -> tuple[npt.NDArray[Any], tuple[float, float] | None]:
    """The one image (H, W) or (H, W, C), upright, and what black and white are where its type does not say so.

    Raises DataError naming the file, also for several frames.
    """
    with _opened(file, io.BytesIO(data), max_pixels) as (image, coded):
        if (count := _count(file, image)) > 1:
            raise several(file, count)
        deep = image.format == "PNG" and data[24] == 16 and data[25] != 0
        check_size(file, image.height, image.width, max_pixels, _DEEP * image.height * image.width * deep)
        with decoding(file, _WHOLE):
            if image.format == "PNG":
                _check_png(file, data)
            if deep:
                return _deep_colour(file, data), None
            values = _array(image)
        if coded is not None and coded.depth not in (8, 16):  # Pillow fills it up to 8 or 16 bits
            values = values >> (-coded.depth % 8)
            return values, (0.0, float(2**coded.depth - 1))
        return values, None


def count_frames(file: Path, stream: IO[bytes]) -> int:
    """How many frames a GIF, WebP or PNG has. Raises DataError naming the file."""
    with _opened(file, stream, MAX_PIXELS, limited=False) as (image, _):
        return _count(file, image)


def read_frames(file: Path) -> Iterator[tuple[npt.NDArray[Any], float]]:
    """One frame after another as it is shown, (H, W) or (H, W, C), and the seconds from the first; see ``read_pixels``.

    Raises DataError naming file and frame, after the frames before it.
    """
    with file.open("rb") as stream, _opened(file, stream, MAX_PIXELS) as (image, _):
        seconds = 0.0
        for index in range(_count(file, image)):
            with decoding(file, f"frame {index}: {_WHOLE}"):
                image.seek(index)
                check_size(file, image.height, image.width, memory=_CANVAS * image.height * image.width)
                image.load()
                values = np.array(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
                shown = float(image.info.get("duration", 0)) / 1000
            yield values, seconds
            seconds += shown


@contextmanager
def _opened(
    file: Path, stream: IO[bytes], max_pixels: int, *, limited: bool = True
) -> Iterator[tuple[PIL.Image.Image, _Coded | None]]:
    """The image, not yet decoded, and its header where Pillow's own reading would take memory already.

    ``limited``: refuse what has too many pixels. Opening costs next to nothing in the other formats.
    """
    with decoding(file, "expected an image, got something else"):
        head = stream.read(32)
        stream.seek(0)
        coded = _webp(file, head) if kind_of(head) == "WEBP" else _jp2(file, stream) if _is_jp2(head) else None
        stream.seek(0)
    if coded is not None:  # always: Pillow's WebP takes memory when it is opened
        check_size(file, coded.height, coded.width, max_pixels, coded.memory)
    # Pillow's own limit is one number per process; ours is per call
    with decoding(file, "expected an image, got something else"), _limit:
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            image = PIL.Image.open(stream, formats=_FORMATS)
        except PIL.UnidentifiedImageError:
            missing = [form for form, name in _OPTIONAL.items() if kind_of(head) == form and not _has(name)]
            if missing:
                raise DataError(f"{file}: this Pillow reads no {missing[0]}; pip install --upgrade pillow") from None
            raise DataError(f"{file}: expected an image, got something else (no known image format)") from None
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
    with image:
        if limited:
            memory = _COMPOSED * image.height * image.width if image.format == "GIF" else 0
            check_size(file, image.height, image.width, max_pixels, memory)
        if coded is not None and image.size != (coded.width, coded.height):
            got = f"{image.width} x {image.height} in one place and {coded.width} x {coded.height} in another"
            raise DataError(f"{file}: expected one size, got {got}; export it again")
        yield image, coded


def _has(name: str) -> bool:
    return bool(PIL.features.check(name))


def _count(file: Path, image: PIL.Image.Image) -> int:
    with decoding(file, _WHOLE):
        return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))  # an MPO is a JPEG with previews


def _webp(file: Path, head: bytes) -> _Coded:
    """The size of a WebP in any of its three ways of coding."""
    kind, width, height = head[12:16], 0, 0
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        raise DataError(f"{file}: expected a whole WebP, got a damaged one; copy it again")
    return _Coded(height, width, height * width * _CANVAS)


def _is_jp2(head: bytes) -> bool:
    return kind_of(head) == "JPEG2000"


def _jp2(file: Path, stream: IO[bytes]) -> _Coded:
    """What the codestream of a JPEG 2000 says. Raises DataError for one that Pillow would cut to 8 bits."""
    _find_codestream(stream)
    data = stream.read(4 + 38 + 3 * 4)
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 45:
        raise DataError(f"{file}: expected a whole JPEG 2000, got a damaged one; copy it again")
    right, bottom, left, top, tile_w, tile_h = struct.unpack_from(">6I", data, 8)
    parts = struct.unpack_from(">H", data, 40)[0]
    width, height = right - left, bottom - top
    depths = {(data[at] & 0x7F) + 1 for at in range(42, min(42 + 3 * parts, len(data)), 3)}
    if not 1 <= parts <= 4 or len(depths) != 1 or min(width, height, tile_w, tile_h) < 1:
        raise DataError(f"{file}: expected a grey or colour JPEG 2000, got {parts} components; export it again")
    depth = depths.pop()
    if depth > (16 if parts == 1 else 8):
        got = f"{parts} of {depth} bits, which would be cut"
        raise DataError(f"{file}: expected a JPEG 2000 of 16 bits in grey or 8 in colour, got {got}; save it as TIFF")
    tiles = -(-right // tile_w) * -(-bottom // tile_h)
    return _Coded(height, width, height * width * parts * 7 + tiles * _TILE, depth)


def _find_codestream(stream: IO[bytes]) -> None:
    """Go to where the codestream begins; its box may follow others."""
    for _ in range(1000):
        start = stream.tell()
        head = stream.read(16)
        if head[:4] == b"\xff\x4f\xff\x51" or len(head) < 8:
            stream.seek(start)
            return
        size, skip = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, skip = int.from_bytes(head[8:16], "big"), 16
        if head[4:8] == b"jp2c" or size < skip:
            stream.seek(start + skip)
            return
        stream.seek(start + size)


def _check_png(file: Path, data: bytes) -> None:
    """Raise DataError unless all chunks that make the picture are whole: Pillow shows a damaged one without a word."""
    view, at, name = memoryview(data), 8, b""
    while at + 12 <= len(data) and name != b"IEND":
        size, name = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 8 + size
        extra = name[:1].islower()  # notes and the like, which many tools leave behind damaged
        if not extra and zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise DataError(f"{file}: expected a whole PNG, got one with a wrong checksum at byte {at}; copy it again")
        at = end + 4
    if name != b"IEND" or at > len(data):
        raise DataError(f"{file}: expected a whole PNG, got one that is cut; copy it again")


def _deep_colour(file: Path, data: bytes) -> npt.NDArray[Any]:
    """A PNG of 16 bits with colour or alpha, which Pillow cuts to the high bytes: it is asked for the low ones too.

    (torchvision's decoder keeps 16 bits, but a damaged file ends the whole process.)
    """
    grey = data[25] == 4  # grey and alpha, two samples of two bytes: read as four of one
    out: Any = 0
    for order in ("16B", "16L"):  # of the bytes: the first of each two, then the second
        with _opened(file, io.BytesIO(data), MAX_PIXELS, limited=False) as (opened, _):
            image: Any = opened
            if grey:
                image._mode = "RGBA"
            raw = "RGBA" if grey else f"{image.mode};{order}"
            tile = image.tile[0]
            image.tile = [tile._replace(args=raw) if hasattr(tile, "_replace") else (*tile[:3], raw)]
            PIL.ImageOps.exif_transpose(image, in_place=True)
            half = np.asarray(image)
        if grey:
            return np.asarray(half[..., 0].astype(np.uint16) << 8 | half[..., 1])
        out <<= 8
        out = half.astype(np.uint16) if order == "16B" else np.bitwise_or(out, half, out=out)
    return np.asarray(out)


def _array(image: PIL.Image.Image) -> npt.NDArray[Any]:
    """(H, W) or (H, W, 3); palettes and CMYK become RGB, alpha is dropped."""
    PIL.ImageOps.exif_transpose(image, in_place=True)
    mode = image.mode
    if mode.startswith("I"):  # 16 bit, which older Pillow widens to 32
        return np.asarray(image).astype(np.uint16)
    if mode in ("L", "RGB"):
        return np.asarray(image)
    plain = image.getchannel(0) if mode == "LA" else image.convert("L" if mode == "1" else "RGB")
    image.close()  # its pixels are no longer needed
    return np.asarray(plain)
