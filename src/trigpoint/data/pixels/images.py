"""Image files to arrays: PNG, JPEG, BMP and TIFF (8 and 16 bit, float TIFF), and DICOM.

The content decides how a file is decoded, its suffix only whether it is meant as an image. EXIF and TIFF orientation
are applied, palettes become RGB, alpha is dropped. No DICOM tag about a patient is ever read.
"""

import io
import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from trigpoint.data.files import check_path, decoding, open_file, reachable
from trigpoint.data.pixels import dicom, tiff
from trigpoint.errors import ConfigError, DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom")
_PILLOW = ("PNG", "JPEG", "BMP")
_ORIENTATION = 274  # the EXIF tag
_pillow_limit = threading.Lock()


def pixel_limit(given: str | None) -> int:
    """The most pixels of one image that is decoded: ``given`` (what TRIGPOINT_MAX_PIXELS says) or 200 million.

    Raises ConfigError when it is no number above 0.

    >>> pixel_limit(None), pixel_limit("1e9")
    (200000000, 1000000000)
    """
    if given is None or not given.strip():
        return 200_000_000  # all but a few scanners stay below
    try:
        limit = int(float(given))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise ConfigError(f"TRIGPOINT_MAX_PIXELS: expected a number of pixels above 0, got {given!r}; unset it or 2e8")
    return limit


MAX_PIXELS = pixel_limit(os.environ.get("TRIGPOINT_MAX_PIXELS"))
"""Of one image; set by the environment, or per call by ``read_image(..., max_pixels=...)``."""
BYTES_PER_PIXEL = 12
"""Of all copies of an image that are held at a time; what takes more may have fewer pixels."""
_DEEP = 20  # bytes for each pixel of a PNG of 16 bits with colour


@dataclass(frozen=True)
class ImageData:
    """A decoded image as stored.

    ``pixels`` (C, H, W) is uint8, uint16 or float32, C is 1 or 3. ``value_range`` is what black and white mean: the
    range of the type, or for DICOM of the bits in use (12 of 16, say), after rescaling; for float TIFF the values met.
    ``spacing_mm`` is millimetres per pixel when the file states one number for both axes, else None;
    ``spacing_source`` names the field it comes from, or says why there is none.
    """

    pixels: npt.NDArray[Any]
    spacing_mm: float | None = None
    spacing_source: str = ""
    value_range: tuple[float, float] = (0.0, 255.0)

    @property
    def height(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[2])


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> ImageData:
    """Decode one image file.

    Raises DataError naming the file when it is missing, truncated, no image, of an unknown suffix, has several frames,
    or, checked before decoding, has more than ``max_pixels`` pixels or takes more than 12 bytes for each of so many.

    >>> import tempfile; from PIL import Image
    >>> file = Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (5, 3)).save(file)
    >>> read_image(file).pixels.shape
    (1, 3, 5)
    """
    file = Path(path)
    data = _bytes(file, max_pixels)
    if _is_dicom(file, data):
        header = dicom.read_header(file)
        check_size(file, header.height, header.width, max_pixels, header.memory)
        values, value_range = dicom.read_pixels(file)
        return ImageData(_planes(file, values), header.spacing_mm, header.spacing_source, value_range)
    _check_suffix(file)
    if data[:4] in tiff.MAGIC:
        check_size(file, *tiff.read_size(file), max_pixels, tiff.memory(file))
        pixels = _planes(file, tiff.read_pixels(file, data))
    else:
        pixels = _common(file, data, max_pixels)
    if pixels.dtype == np.float32:
        value_range = (float(pixels.min()), float(pixels.max()))
    else:
        value_range = (0.0, float(np.iinfo(pixels.dtype).max))
    return ImageData(pixels, None, "the file states none", value_range)


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of the image as ``read_image`` returns it, from the header only. Raises DataError."""
    file = Path(path)
    with open_file(file) as stream:
        head = stream.read(132)
        if _is_dicom(file, head):
            header = dicom.read_header(file)
            return header.height, header.width
        _check_suffix(file)
        if head[:4] in tiff.MAGIC:
            return tiff.read_size(file)
        stream.seek(0)
        with _opened(file, stream) as image:
            with decoding(file, "expected readable EXIF data, got damaged ones"):
                turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)


def image_spacing(path: str | Path) -> tuple[float | None, str]:
    """Millimetres per pixel that the file states, and the field's name; only DICOM states one. Raises DataError."""
    file = Path(path)
    if file.suffix.lower() not in ("", ".dcm", ".dicom"):
        return None, "the file states none"
    check_path(file)
    header = dicom.read_header(file)
    return header.spacing_mm, header.spacing_source


def _common(file: Path, data: bytes, max_pixels: int) -> npt.NDArray[Any]:
    with _opened(file, io.BytesIO(data)) as image:
        deep = image.format == "PNG" and data[24] == 16 and data[25] != 0
        check_size(file, image.height, image.width, max_pixels, _DEEP * image.height * image.width * deep)
        with decoding(file, "expected a whole image, got a damaged one"):
            if image.format == "PNG":
                _check_png(file, data)
            if deep:
                return _deep_colour(file, data)
            return _planes(file, _pillow_array(image))


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
        with _opened(file, io.BytesIO(data)) as opened:
            image: Any = opened
            if grey:
                image._mode = "RGBA"
            raw = "RGBA" if grey else f"{image.mode};{order}"
            tile = image.tile[0]
            image.tile = [tile._replace(args=raw) if hasattr(tile, "_replace") else (*tile[:3], raw)]
            PIL.ImageOps.exif_transpose(image, in_place=True)
            half = np.asarray(image)
        if grey:
            return _planes(file, half[..., 0].astype(np.uint16) << 8 | half[..., 1])
        out <<= 8
        out = half.astype(np.uint16) if order == "16B" else np.bitwise_or(out, half, out=out)
    return _planes(file, out)


def _pillow_array(image: PIL.Image.Image) -> npt.NDArray[Any]:
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


def _planes(file: Path, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy (C, H, W) of (H, W) or (H, W, C), as uint8, uint16 or float32 of native byte order; alpha dropped."""
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0) if values.ndim == 3 else None
    if planes is None or planes.shape[0] not in (1, 2, 3, 4) or 0 in planes.shape:
        raise DataError(f"{file}: expected a grey or colour image, got an array of shape {values.shape}")
    planes = planes[: 1 if planes.shape[0] < 3 else 3]
    native = planes.dtype.newbyteorder("=")
    kind = native if native in (np.dtype(np.uint8), np.dtype(np.uint16)) else np.dtype(np.float32)
    out = np.array(planes, dtype=kind, order="C")
    if kind == np.float32 and not np.isfinite(out).all():
        raise DataError(f"{file}: expected finite pixel values, got NaN or infinity; repair the image")
    return out


def _check_suffix(file: Path) -> None:
    if file.suffix.lower() not in SUFFIXES:
        raise DataError(f"{file}: expected an image ({', '.join(SUFFIXES)}), got suffix '{file.suffix}'")


def _opened(file: Path, stream: IO[bytes]) -> PIL.Image.Image:
    # Pillow's own limit is one number per process; ours is per call and is checked right after
    with decoding(file, "expected an image, got something else"), _pillow_limit:
        limit, PIL.Image.MAX_IMAGE_PIXELS = PIL.Image.MAX_IMAGE_PIXELS, None
        try:
            image = PIL.Image.open(stream, formats=_PILLOW)
        except PIL.UnidentifiedImageError:
            raise DataError(f"{file}: expected an image, got something else (no known image format)") from None
        finally:
            PIL.Image.MAX_IMAGE_PIXELS = limit
        frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # an MPO is a JPEG with previews
        raise DataError(f"{file}: expected one image, got {frames} frames; export one of them")
    return image


def check_size(file: Path, height: int, width: int, max_pixels: int = MAX_PIXELS, memory: int = 0) -> None:
    """Raise DataError when an image is empty, has more than ``max_pixels`` pixels or takes too much memory.

    ``memory``: bytes of all copies that are held while it is decoded, 0 where they are at most 12 per pixel.
    """
    if height < 1 or width < 1:
        raise DataError(f"{file}: expected an image, got one of {width} x {height} pixels")
    fix = "make it smaller, make a tiled copy with: trigpoint data tile IN OUT, or raise the limit: "
    fix += "TRIGPOINT_MAX_PIXELS, or read_image(..., max_pixels=...)"
    if height * width > max_pixels:
        raise DataError(f"{file}: expected at most {max_pixels} pixels, got {width} x {height}; {fix}")
    if memory > BYTES_PER_PIXEL * max_pixels:
        expected = f"expected at most {BYTES_PER_PIXEL * max_pixels >> 20} MB to decode it ({max_pixels} pixels)"
        raise DataError(f"{file}: {expected}, got {width} x {height} pixels that take {memory >> 20} MB; {fix}")


def _is_dicom(file: Path, head: bytes) -> bool:
    return file.suffix.lower() in (".dcm", ".dicom") or (not file.suffix and head[128:132] == b"DICM")


def _bytes(file: Path, max_pixels: int) -> bytes:
    with open_file(file) as stream, reachable(file):  # a disk may fail after the file was opened
        check_size(file, 1, 1, max(max_pixels, MAX_PIXELS), file.stat().st_size)
        data = stream.read()
    if not data:
        raise DataError(f"{file}: expected an image, got an empty file")
    return data
