"""DICOM files: pixels, and millimetres per pixel with the name of the field they come from.

Only the tags listed here are ever parsed, so nothing about a patient can reach a dataset, a message or a log.
"""

import math
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
import pydicom.filereader
import pydicom.pixels.processing
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from trigpoint.data.files import inflated_size
from trigpoint.errors import DataError

_HEADER = [
    "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing", "SamplesPerPixel", "BitsAllocated",
    "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept",
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
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")  # in the patient before on the detector


@dataclass(frozen=True)
class Header:
    """Size in pixels, bytes that decoding takes, and the spacing when the file states one number for both axes."""

    height: int
    width: int
    memory: int
    spacing_mm: float | None
    spacing_source: str


def read_header(file: Path) -> Header:
    """Size and spacing without the pixels. Raises DataError naming the file."""
    data = _read(file, _HEADER, stop_before_pixels=True)
    spacing, source = _spacing(file, data)
    height, width = _value(file, data, "Rows", int), _value(file, data, "Columns", int)
    samples, bits = _value(file, data, "SamplesPerPixel", int, 1), _value(file, data, "BitsAllocated", int, 16)
    plain = str(data.get("PhotometricInterpretation", "")) in ("MONOCHROME2", "RGB") and "RescaleSlope" not in data
    each = 2 * samples * -(-bits // 8) + (4 * samples if plain else _CONVERTED)
    return Header(height, width, height * width * each, spacing, source)


def read_pixels(file: Path) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    """Pixels (H, W) or (H, W, 3), rescaled by slope and intercept, brighter for more, and the range of their values.

    MONOCHROME1 (white is low) is inverted within the range of the bits in use. Unscaled unsigned values keep their
    integer type; anything else becomes float32. Raises DataError naming the file and, for a compression that is not
    installed, the package that decodes it.
    """
    data = _read(file, _PIXELS)
    kind = str(data.get("PhotometricInterpretation", ""))
    if "PixelData" not in data:
        raise DataError(f"{file}: expected a DICOM image, got one without pixel data")
    try:
        values = np.asarray(data.pixel_array)
        if kind == "PALETTE COLOR":
            table = pydicom.pixels.processing.apply_color_lut(values, data)
            return (table >> 8 if table.dtype == np.uint16 else table).astype(np.uint8), (0.0, 255.0)
    except Exception as error:  # whatever the decoders stumble over in damaged bytes; their text may cite the file
        raise DataError(f"{file}: {_why(data, error)}") from None
    bits, signed = _value(file, data, "BitsStored", int), _value(file, data, "PixelRepresentation", int, 0) == 1
    if not 1 <= bits <= 32:
        raise DataError(f"{file}: BitsStored: expected 1 to 32, got {bits}; repair the file")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
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


def _read(file: Path, tags: list[str], *, stop_before_pixels: bool = False) -> Any:
    """The named elements with their values. Texts of the library's errors are not passed on: they cite the file."""
    try:
        _refuse_bomb(file)
        data = pydicom.dcmread(file, specific_tags=tags, stop_before_pixels=stop_before_pixels)
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
    frames = _value(file, data, "NumberOfFrames", int, 1)
    if frames > 1:
        raise DataError(f"{file}: expected one image, got {frames} frames; export the frame that is meant")
    return data


def _refuse_bomb(file: Path) -> None:
    """Raise DataError for a deflated file that would fill the memory; pydicom inflates such a file whole."""
    with file.open("rb") as stream:
        pydicom.filereader.read_preamble(stream, force=False)
        meta = pydicom.filereader._read_file_meta_info(stream)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        size = file.stat().st_size
        most = min(max(_INFLATED, _RATIO * size), _MOST)
        if inflated_size(partial(zlib.decompressobj, -zlib.MAX_WBITS), stream.read(_MOST), most) > most:
            raise DataError(f"{file}: expected a DICOM file, got {size} bytes that inflate to over {most}")


def _spacing(file: Path, data: Any) -> tuple[float | None, str]:
    for name in _SPACINGS:
        value = data.get(name)
        if value is None or value == "":
            continue
        try:
            down, right = (float(part) for part in value)  # DICOM states the distance of rows first
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{file}: {name}: expected two numbers of millimetres; repair the file") from None
        if not (0 < down < math.inf and 0 < right < math.inf):
            raise DataError(f"{file}: {name}: expected millimetres above 0, got {right} x {down}; repair the file")
        if abs(down - right) > 1e-3 * right:
            return None, f"{name} is {right:g} x {down:g} mm: pixels are not square, so no single number holds"
        return right, name
    return None, "the file states none"


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
    if syntax is not None and syntax.is_transfer_syntax and syntax.is_compressed:
        packages = "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        return f"pixels are compressed as {syntax.name}; pip install {packages}, or decompress the file"
    return f"expected whole pixel data, got a damaged or truncated image ({type(error).__name__})"


class Placement(NamedTuple):
    """Where a slice lies in the patient: LPS millimetres of the centre of its first pixel, directions, pixel sizes.

    ``right`` and ``down`` are unit vectors of a step along a row and along a column, ``spacing`` millimetres (x, y).
    """

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    right: tuple[float, float, float] = (1.0, 0.0, 0.0)
    down: tuple[float, float, float] = (0.0, 1.0, 0.0)
    spacing: tuple[float, float] = (1.0, 1.0)
    thickness: float = 1.0


def placement(file: Path) -> Placement:
    """The place of a DICOM image; what it does not state is that of ``Placement()``. Raises DataError."""
    tags = ["ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", *_SPACINGS]
    data = _read(file, ["Rows", "Columns", *tags], stop_before_pixels=True)

    def numbers(name: str, count: int) -> list[float] | None:
        value = data.get(name)
        if value is None or value == "":
            return None
        try:
            found = [float(part) for part in (value if count > 1 else [value])]
        except (TypeError, ValueError, OverflowError):
            found = []
        if len(found) != count or not all(map(math.isfinite, found)):
            raise DataError(f"{file}: {name}: expected {count} numbers; repair the file")
        return found

    origin = numbers("ImagePositionPatient", 3) or Placement().origin
    turned = numbers("ImageOrientationPatient", 6) or [*Placement().right, *Placement().down]
    right, down = np.array(turned[:3]), np.array(turned[3:])
    if abs(right @ right - 1) > 1e-3 or abs(down @ down - 1) > 1e-3 or abs(right @ down) > 1e-3:
        raise DataError(f"{file}: ImageOrientationPatient: expected two unit vectors at right angles; repair the file")
    sizes = next((found for name in _SPACINGS if (found := numbers(name, 2))), [1.0, 1.0])  # rows' distance first
    thickness = (numbers("SliceThickness", 1) or [1.0])[0]
    if min(sizes) <= 0:
        raise DataError(f"{file}: PixelSpacing: expected millimetres above 0; repair the file")
    x, y, z = origin
    return Placement((x, y, z), tuple(right.tolist()), tuple(down.tolist()), (sizes[1], sizes[0]), max(thickness, 0.0))
