"""Image files to arrays: PNG, JPEG, BMP, GIF, WebP, JPEG 2000, PGM and PPM, TIFF and DICOM, of any depth.

The content decides how a file is decoded, its suffix only whether it is meant as an image (``kinds``). EXIF and TIFF
orientation are applied, palettes become RGB, alpha is dropped. No DICOM tag about a patient is ever read.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import open_file, reachable
from trigpoint.data.pixels import dicom, pillow, pnm, tiff
from trigpoint.data.pixels.kinds import DICOM, NAMES, SUFFIXES, check_kind, head_of, is_image, kind_of
from trigpoint.data.pixels.limits import BYTES_PER_PIXEL, MAX_PIXELS, check_size, pixel_limit, several
from trigpoint.data.pixels.spacing import NONE_STATED
from trigpoint.errors import DataError
from trigpoint.landmarks import Spacing

__all__ = [
    "BYTES_PER_PIXEL",
    "MAX_PIXELS",
    "NAMES",
    "SUFFIXES",
    "ImageData",
    "check_size",
    "frame_count",
    "image_size",
    "image_spacing",
    "is_image",
    "pixel_limit",
    "read_frames",
    "read_image",
]


@dataclass(frozen=True)
class ImageData:
    """A decoded image as stored.

    ``pixels`` (C, H, W) is uint8, uint16 or float32, C is 1 or 3. ``value_range`` is what black and white mean: the
    range of the type, or for DICOM, PGM and JPEG 2000 of the bits in use (12 of 16, say), after rescaling; for floating
    point values those met. ``spacing_mm`` is millimetres per pixel (x, y) where the file states them, else None;
    ``spacing_source`` names the field they come from, or says that there is none. ``window``: the values that a DICOM
    file wants shown as black and white, for drawing only.
    """

    pixels: npt.NDArray[Any]
    spacing_mm: Spacing | None = None
    spacing_source: str = ""
    value_range: tuple[float, float] = (0.0, 255.0)
    window: tuple[float, float] | None = None

    @property
    def height(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[2])


class StoredFrame(NamedTuple):
    """One frame of a file of several; ``time_s``: seconds from the first, None where the file does not say."""

    image: ImageData
    time_s: float | None


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> ImageData:
    """Decode one image file.

    Raises DataError naming the file when it is missing, truncated, no image, has several frames (see ``read_frames``),
    or, checked before decoding, has more than ``max_pixels`` pixels or takes more than 12 bytes for each of so many.

    >>> import tempfile; from PIL import Image
    >>> file = Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.new("L", (5, 3)).save(file)
    >>> read_image(file).pixels.shape
    (1, 3, 5)
    """
    file = Path(path)
    kind = check_kind(file, head_of(file))
    if kind == "dicom":
        header = dicom.read_header(file)
        if header.frames > 1:
            raise several(file, header.frames)
        check_size(file, header.height, header.width, max_pixels, header.memory)
        values, value_range = dicom.read_pixels(file)
        return _dicom_image(file, header, values, value_range)
    if kind == "tiff":
        about = tiff.read_header(file)
        check_size(file, about.height, about.width, max_pixels, about.memory)
        values = tiff.read_pixels(file, _bytes(file, max_pixels))
        return _image(file, values, None, about.spacing_mm, about.spacing_source)
    data = _bytes(file, max_pixels)
    if kind == "pnm":
        head = pnm.read_header(file, data)
        check_size(file, head.height, head.width, max_pixels, head.memory + len(data))
        return _image(file, *pnm.read_pixels(file, data))
    return _image(file, *pillow.read_pixels(file, data, max_pixels))


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of the image as ``read_image`` returns it, from the header only. Raises DataError."""
    file = Path(path)
    kind = check_kind(file, head_of(file))
    if kind == "dicom":
        header = dicom.read_header(file)
        if header.frames > 1:
            raise several(file, header.frames)
        return header.height, header.width
    if kind == "tiff":
        about = tiff.read_header(file)
        return about.height, about.width
    with open_file(file) as stream, reachable(file):
        if kind == "pnm":
            head = pnm.read_header(file, stream.read(pnm.HEADER))
            return head.height, head.width
        if (count := pillow.count_frames(file, stream)) > 1:
            raise several(file, count)
        stream.seek(0)
        return pillow.read_size(file, stream)


def image_spacing(path: str | Path) -> tuple[Spacing | None, str]:
    """Millimetres per pixel (x, y) that the file states, and the field's name: of DICOM and some TIFF.

    A print resolution (dpi) is none: it says nothing about what the picture shows. Raises DataError for a file that
    cannot be opened and for a damaged DICOM.
    """
    file = Path(path)
    kind = kind_of(head_of(file))
    if kind == "dicom" or (not kind and file.suffix.lower() in DICOM):
        header = dicom.read_header(file)
        return header.spacing_mm, header.spacing_source
    if kind == "tiff":
        with suppress(DataError):  # reading it says what is wrong
            about = tiff.read_header(file, several_allowed=True)
            return about.spacing_mm, about.spacing_source
    return None, NONE_STATED


def frame_count(path: str | Path) -> int:
    """How many frames a file holds, 1 of a usual image: pages of one size, frames of a DICOM, of a GIF, WebP or PNG.

    Raises DataError for what is no image.
    """
    file = Path(path)
    kind = check_kind(file, head_of(file))
    if kind == "dicom":
        return dicom.read_header(file).frames
    if kind == "tiff":
        return tiff.count_frames(file)
    if kind == "pnm":
        return 1
    with open_file(file) as stream, reachable(file):
        return pillow.count_frames(file, stream)


def read_frames(path: str | Path) -> Iterator[StoredFrame]:
    """The frames of a file one after another, each read when it is asked for; of a usual image the one.

    Raises DataError naming file and frame where one is damaged, after those before it.
    """
    file = Path(path)
    kind = check_kind(file, head_of(file))
    if kind == "dicom" and (header := dicom.read_header(file)).frames > 1:
        check_size(file, header.height, header.width, memory=header.memory)
        for (values, value_range), time_s in dicom.read_frames(file, header):
            yield StoredFrame(_dicom_image(file, header, values, value_range), time_s)
    elif kind == "tiff" and tiff.count_frames(file) > 1:
        about = tiff.read_header(file, several_allowed=True)
        check_size(file, about.height, about.width, memory=about.memory)
        for values in tiff.read_frames(file):
            yield StoredFrame(_image(file, values, None, about.spacing_mm, about.spacing_source), None)
    elif kind not in ("dicom", "tiff", "pnm") and frame_count(file) > 1:
        for values, seconds in pillow.read_frames(file):
            yield StoredFrame(_image(file, values), seconds)
    else:
        yield StoredFrame(read_image(file), None)


def _image(
    file: Path,
    values: npt.NDArray[Any],
    value_range: tuple[float, float] | None = None,
    spacing: Spacing | None = None,
    source: str = NONE_STATED,
) -> ImageData:
    pixels = _planes(file, values)
    return ImageData(pixels, spacing, source, value_range or values_met(pixels))


def _dicom_image(
    file: Path, header: dicom.Header, values: npt.NDArray[Any], value_range: tuple[float, float]
) -> ImageData:
    window = header.window
    if window is not None and header.inverted:
        window = value_range[0] + value_range[1] - window[1], value_range[0] + value_range[1] - window[0]
    return ImageData(_planes(file, values), header.spacing_mm, header.spacing_source, value_range, window)


def values_met(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """What black and white are where nothing else says so: the range of an integer type, or the values met.

    >>> values_met(np.zeros(3, np.uint16)), values_met(np.array([-1.0, 3.0]))
    ((0.0, 65535.0), (-1.0, 3.0))
    """
    if pixels.dtype.kind == "f":
        return float(pixels.min()), float(pixels.max())
    return 0.0, float(np.iinfo(pixels.dtype).max)


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


def _bytes(file: Path, max_pixels: int) -> bytes:
    with open_file(file) as stream, reachable(file):  # a disk may fail after the file was opened
        check_size(file, 1, 1, max(max_pixels, MAX_PIXELS), file.stat().st_size)
        return stream.read()
