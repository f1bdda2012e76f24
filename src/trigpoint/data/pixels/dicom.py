"""DICOM files: pixels, one frame or several, and millimetres per pixel with the name of the field they come from.

Files without the 128 bytes before the first element are read as well. Only the tags listed here are ever parsed, so
nothing about a patient can reach a dataset, a message or a log.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pydicom.filereader
import pydicom.pixels.processing
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from trigpoint.data.files import inflated_size
from trigpoint.data.pixels.dicom_codes import READ_BY_ALL, stated_sizes
from trigpoint.data.pixels.kinds import head_of, kind_of
from trigpoint.data.pixels.limits import check_size
from trigpoint.data.pixels.spacing import NONE_STATED, pair
from trigpoint.errors import DataError
from trigpoint.landmarks import Spacing

Values = tuple[npt.NDArray[Any], tuple[float, float]]  # pixels, and what black and white are in them

_HEADER = [
    "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "SamplesPerPixel", "BitsAllocated",
    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "FrameTime",
    "FrameTimeVector", "TotalPixelMatrixColumns", "SharedFunctionalGroupsSequence",
]  # fmt: skip
_PIXELS = [
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelData",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
]  # fmt: skip
_INFLATED, _RATIO = 256 << 20, 100  # bytes and times its size that a deflated file may grow to; real ones stay below
_MOST = 512 << 20  # bytes that no deflated file may exceed
_CONVERTED = 24  # bytes for each pixel while values are scaled or colours made
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")  # in the patient before on the detector
_FRAMES = 100_000


@dataclass(frozen=True)
class Header:
    """Size in pixels, bytes that decoding a frame takes, frames, and the spacing (x, y) where the file states it.

    ``window``: values to be shown as black and white, of what is stored where it is ``inverted``. ``times``: seconds
    of each frame from the first, empty where the file does not say.
    """

    height: int
    width: int
    memory: int
    frames: int
    spacing_mm: Spacing | None
    spacing_source: str
    window: tuple[float, float] | None
    inverted: bool
    times: tuple[float, ...]


def read_header(file: Path) -> Header:
    """Size and spacing without the pixels. Raises DataError naming the file."""
    data = read_tags(file, _HEADER, stop_before_pixels=True)
    spacing, source = _spacing(file, data)
    height, width = _value(file, data, "Rows", int), _value(file, data, "Columns", int)
    frames = max(_value(file, data, "NumberOfFrames", int, 1), 1)
    if frames > 1 and _value(file, data, "TotalPixelMatrixColumns", int, 0) > width:
        fix = "convert it to a tiled TIFF, such as by dicom2tiff or QuPath"
        raise DataError(f"{file}: expected an image, got a slide whose {frames} frames are its tiles; {fix}")
    if frames > _FRAMES:
        raise DataError(f"{file}: expected at most {_FRAMES} frames, got {frames}; divide it")
    samples, bits = _value(file, data, "SamplesPerPixel", int, 1), _value(file, data, "BitsAllocated", int, 16)
    kind = str(data.get("PhotometricInterpretation", ""))
    plain = kind in ("MONOCHROME2", "RGB") and "RescaleSlope" not in data
    each = 2 * samples * -(-bits // 8) + (4 * samples if plain else _CONVERTED)
    rest = _window(data), kind == "MONOCHROME1", _times(data, frames)
    return Header(height, width, height * width * each, frames, spacing, source, *rest)


def read_pixels(file: Path) -> Values:
    """Pixels (H, W) or (H, W, 3), rescaled by slope and intercept, brighter for more, and the range of their values.

    MONOCHROME1 (white is low) is inverted within the range of the bits in use (above 16 bits: of the values). Unscaled
    unsigned values keep their integer type; anything else becomes float32. Raises DataError naming the file and, for a
    compression that is not installed, the package that decodes it.
    """
    data = read_tags(file, _PIXELS)
    if "PixelData" not in data:
        raise DataError(f"{file}: expected a DICOM image, got one without pixel data")
    _check_codes(file, data, 1)
    try:
        values = np.asarray(data.pixel_array)
    except Exception as error:  # whatever the decoders stumble over in damaged bytes; their text may cite the file
        raise DataError(f"{file}: {_why(data, error)}") from None
    return _meaning(file, data, values)


def read_frames(file: Path, header: Header) -> Iterator[tuple[Values, float | None]]:
    """One frame after another, as ``read_pixels`` gives an image, with its time. Raises DataError naming the frame.

    Plain pixels are read from the file frame by frame; of compressed ones the compressed bytes are held as a whole.
    """
    data = read_tags(file, _PIXELS, stop_before_pixels=True)
    source: Any = file
    syntax = data.file_meta.get("TransferSyntaxUID")
    if not _has_preamble(file) or syntax not in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        check_size(file, 1, 1, memory=file.stat().st_size)
        source = data = read_tags(file, _PIXELS)
        _check_codes(file, data, header.frames)
    index = 0
    try:
        for index, values in enumerate(iter_pixels(source)):
            yield _meaning(file, data, np.asarray(values)), header.times[index] if header.times else None
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{file}: frame {index}: {_why(data, error)}") from None


def _check_codes(file: Path, data: Any, frames: int) -> None:
    """Raise DataError where compressed frames are of another size than the file says: decoders would make room."""
    syntax = data.file_meta.get("TransferSyntaxUID")
    size = _value(file, data, "Rows", int), _value(file, data, "Columns", int)
    try:
        others = stated_sizes(data, syntax, frames) - {size} if syntax is not None and syntax.is_compressed else None
    except Exception as error:
        raise DataError(f"{file}: {_why(data, error)}") from None
    if others:
        height, width = min(others)
        raise DataError(f"{file}: expected frames of {size[1]} x {size[0]} pixels, got {width} x {height}; repair it")


def _meaning(file: Path, data: Any, values: npt.NDArray[Any]) -> Values:
    """Stored values with their palette, inversion and scale, and the range they lie in."""
    kind = str(data.get("PhotometricInterpretation", ""))
    if kind == "PALETTE COLOR":
        try:
            table = pydicom.pixels.processing.apply_color_lut(values, data)
        except Exception as error:
            raise DataError(f"{file}: {_why(data, error)}") from None
        return (table >> 8 if table.dtype == np.uint16 else table).astype(np.uint8), (0.0, 255.0)
    bits, signed = _value(file, data, "BitsStored", int), _value(file, data, "PixelRepresentation", int, 0) == 1
    if not 1 <= bits <= 32:
        raise DataError(f"{file}: BitsStored: expected 1 to 32, got {bits}; repair the file")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if bits > 16:  # nobody uses that range, and floats would not tell its values apart
        low, high = int(values.min()), int(values.max())
    if kind == "MONOCHROME1":
        values = (low + high - values.astype(np.int64)).astype(values.dtype)
    slope = _value(file, data, "RescaleSlope", float, 1.0)
    intercept = _value(file, data, "RescaleIntercept", float, 0.0)
    if (slope, intercept) == (1.0, 0.0):
        return (values if not signed and bits <= 16 else values.astype(np.float32)), (float(low), float(high))
    scaled = values.astype(np.float64) * slope + intercept
    ends = sorted((low * slope + intercept, high * slope + intercept))
    if max(abs(ends[0]), abs(ends[1])) > np.finfo(np.float32).max:
        raise DataError(f"{file}: RescaleSlope and RescaleIntercept: expected values that floats hold; repair the file")
    return scaled.astype(np.float32), (ends[0], ends[1])


def read_tags(file: Path, tags: list[str], *, stop_before_pixels: bool = False) -> Any:
    """The named elements with their values. Texts of the library's errors are not passed on: they cite the file."""
    try:
        _refuse_bomb(file)
        force = not _has_preamble(file) and kind_of(head_of(file)) == "dicom"
        data = pydicom.dcmread(file, specific_tags=tags, stop_before_pixels=stop_before_pixels, force=force)
        if data.file_meta.get("TransferSyntaxUID") is None:  # which only old files leave out
            implicit, little = data.original_encoding
            plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else plain
        for element in data:  # values are parsed when they are first looked at: here, where it may fail
            if element.value is None:
                del data[element.tag]
    except DataError:
        raise
    except InvalidDicomError:
        raise DataError(f"{file}: expected a DICOM file, got something else; check the file or its suffix") from None
    except OSError as error:
        raise DataError(f"{file}: expected a DICOM file, got {error.strerror or 'a truncated one'}") from None
    except Exception as error:  # whatever pydicom stumbles over in damaged bytes
        raise DataError(f"{file}: expected a DICOM file, got a damaged one ({type(error).__name__})") from None
    if "Rows" not in data or "Columns" not in data:
        raise DataError(f"{file}: expected a DICOM image, got one without Rows and Columns")
    return data


def _has_preamble(file: Path) -> bool:
    return head_of(file)[128:132] == b"DICM"


def _refuse_bomb(file: Path) -> None:
    """Raise DataError for a deflated file that would fill the memory; pydicom inflates such a file whole."""
    with file.open("rb") as stream:
        pydicom.filereader.read_preamble(stream, force=True)
        meta = pydicom.filereader._read_file_meta_info(stream)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        size = file.stat().st_size
        most = min(max(_INFLATED, _RATIO * size), _MOST)
        if inflated_size(partial(zlib.decompressobj, -zlib.MAX_WBITS), stream.read(_MOST), most) > most:
            raise DataError(f"{file}: expected a DICOM file, got {size} bytes that inflate to over {most}")


def _spacing(file: Path, data: Any) -> tuple[Spacing | None, str]:
    for name, given in ((name, _stated(data, name)) for name in SPACINGS):
        if given is None or given == "":
            continue
        try:
            down, right = (float(part) for part in given)  # DICOM states the distance of rows first
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{file}: {name}: expected two numbers of millimetres; repair the file") from None
        spacing = pair(right, down)
        if spacing is None:
            raise DataError(f"{file}: {name}: expected millimetres above 0, got {right} x {down}; repair the file")
        return spacing, name
    return None, NONE_STATED


def _stated(data: Any, name: str) -> Any:
    """A value of the file, or of what all its frames share."""
    if (value := data.get(name)) not in (None, ""):
        return value
    try:
        return data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].get(name)
    except Exception:  # there is none, or a damaged one
        return None


def _window(data: Any) -> tuple[float, float] | None:
    """The first window to show the values by; None where there is none, or a damaged one, which only drawing needs."""
    ends = []
    for name in ("WindowCenter", "WindowWidth"):
        try:
            value = data.get(name)
            ends.append(float(value if isinstance(value, str | float | int) else value[0]))
        except Exception:
            return None
    center, width = ends
    if not (math.isfinite(center) and 0 < width < math.inf):
        return None
    return center - width / 2, center + width / 2


def read_windows(file: Path) -> list[tuple[str, float, float]]:
    """All windows that a file offers, by what it calls them: values to be shown as black and white, as stored.

    None where it states none, or damaged ones. Raises DataError for what is no DICOM image.
    """
    tags = ["Rows", "Columns", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation"]
    data = read_tags(file, tags, stop_before_pixels=True)
    columns = []
    for tag in tags[2:]:
        value = data.get(tag, "")
        columns.append([value] if isinstance(value, str | float | int) else list(value))
    windows = []
    for i, (center, width) in enumerate(zip(*columns[:2], strict=False)):
        try:
            middle, whole = float(center), float(width)
        except (TypeError, ValueError):
            continue
        if math.isfinite(middle) and 0 < whole < math.inf:
            name = str(columns[2][i]).strip()[:40] if i < len(columns[2]) else ""
            windows.append((name or f"window {i + 1}", middle - whole / 2, middle + whole / 2))
    return windows


def _times(data: Any, frames: int) -> tuple[float, ...]:
    """Seconds of each frame from the first, as the file states the milliseconds between them."""
    try:
        if (steps := data.get("FrameTimeVector")) not in (None, ""):
            seconds = np.cumsum([float(step) / 1000 for step in steps])
        else:
            seconds = np.arange(frames) * (float(data.FrameTime) / 1000)
    except Exception:  # not stated, or damaged
        return ()
    fits = len(seconds) == frames and np.isfinite(seconds).all()
    return tuple((seconds - seconds[0]).tolist()) if fits else ()


def _value(file: Path, data: Any, name: str, kind: type[int] | type[float], default: float | None = None) -> Any:
    value = data.get(name)
    if value in (None, "") and default is not None:
        return default
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{file}: {name}: expected a {'whole ' if kind is int else ''}number; repair the file")
    return number


def _why(data: Any, error: Exception) -> str:
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_transfer_syntax or not syntax.is_compressed:
        return f"expected whole pixel data, got a damaged or truncated image ({type(error).__name__})"
    found = f"pixels are compressed as {syntax.name}"
    if syntax not in READ_BY_ALL and not find_spec("gdcm"):
        return f'{found}; pip install "trigpoint[dicom]", or decompress the file'
    return f"{found} and cannot be decoded ({type(error).__name__}); copy the file again, or decompress it"
