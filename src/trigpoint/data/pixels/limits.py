"""How large one image may be: pixels, and the bytes that decoding takes."""

import os
from pathlib import Path

from trigpoint.errors import ConfigError, DataError


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

SMALLER = (
    "make it smaller, make a tiled copy with: trigpoint data tile IN OUT, or raise the limit: TRIGPOINT_MAX_PIXELS, or "
    "read_image(..., max_pixels=...)"
)
"""The fix of an image that is too large."""


def check_size(file: Path, height: int, width: int, max_pixels: int = MAX_PIXELS, memory: int = 0) -> None:
    """Raise DataError when an image is empty, has more than ``max_pixels`` pixels or takes too much memory.

    ``memory``: bytes of all copies that are held while it is decoded, 0 where they are at most 12 per pixel.
    """
    if height < 1 or width < 1:
        raise DataError(f"{file}: expected an image, got one of {width} x {height} pixels")
    if height * width > max_pixels:
        raise DataError(f"{file}: expected at most {max_pixels} pixels, got {width} x {height}; {SMALLER}")
    if memory > BYTES_PER_PIXEL * max_pixels:
        expected = f"expected at most {BYTES_PER_PIXEL * max_pixels >> 20} MB to decode it ({max_pixels} pixels)"
        raise DataError(f"{file}: {expected}, got {width} x {height} pixels that take {memory >> 20} MB; {SMALLER}")


def several(file: Path, count: int, what: str = "frames") -> DataError:
    """The error of a file of several frames where one image is expected."""
    fix = f"predict takes it as it takes a video: trigpoint predict RUN {file.name}; or export the one that is meant"
    return DataError(f"{file}: expected one image, got {count} {what}; {fix}")
