"""Sizes that compressed frames in a DICOM file state for themselves: decoders believe these, not the DICOM header."""

import struct
from typing import Any

import pydicom.encaps
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

_JPEG = (
    JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEGLSNearLossless,
)  # fmt: skip
_JPEG_2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
READ_BY_ALL = (JPEGBaseline8Bit, RLELossless)
"""What pydicom decodes with what trigpoint brings."""
_FRAME_HEADERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


def stated_sizes(data: Any, syntax: UID, frames: int) -> set[tuple[int, int]]:
    """(height, width) of all frames of an image, as their own headers say; empty where they say nothing.

    Raises what pydicom raises for fragments that are damaged.
    """
    read = jpeg_size if syntax in _JPEG else jpeg_2000_size if syntax in _JPEG_2000 else None
    if read is None:
        return set()
    found = (read(frame) for frame in pydicom.encaps.generate_frames(data.PixelData, number_of_frames=frames))
    return {size for size in found if size is not None}


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG or JPEG-LS, None where it has no header.

    >>> jpeg_size(bytes.fromhex("ffd8 ffe00004abcd ffc0000b08 0003 0005 01 011100"))
    (3, 5)
    """
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return int(height), int(width)
        at += 1 if marker == 0xFF else 2 if marker in _ALONE else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def jpeg_2000_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG 2000 codestream, None where it has no header."""
    at = data[: 1 << 16].find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    return int(bottom - top), int(right - left)
