"""PBM, PGM, PPM and PFM: 1 to 16 bits and floats, with what is white. (Pillow cuts some to 8 bits.)"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError

HEADER = 1 << 16
"""Bytes in which a header ends, notes included."""
_SKIP = rb"(?:\s|#[^\r\n]*[\r\n])"
_INTEGERS = re.compile(rb"P([1-6])" + _SKIP + rb"+([0-9]{1,9})" + _SKIP + rb"+([0-9]{1,9})")
_MOST = re.compile(_SKIP + rb"+([0-9]{1,9})")
_FLOATS = re.compile(rb"P([fF])\s+([0-9]{1,9})\s+([0-9]{1,9})\s+([-+0-9.eE]{1,20})\s")
_FIX = "export it again"


class Header(NamedTuple):
    """``form``: the letter or digit after P. ``most``: what is white; of floats below 0 for little-endian bytes."""

    form: str
    height: int
    width: int
    most: float
    start: int

    @property
    def channels(self) -> int:
        return 3 if self.form in "36F" else 1

    @property
    def memory(self) -> int:
        """Bytes that decoding takes, beside those of the file."""
        return self.height * self.width * self.channels * (16 if self.form in "123fF" else 4)


def read_header(file: Path, data: bytes) -> Header:
    """Size and range. Raises DataError naming the file."""
    head = data[:HEADER]
    found, floats = _INTEGERS.match(head), _FLOATS.match(head)
    if floats is not None:
        form, width, height, scale = (part.decode() for part in floats.groups())
        try:
            return Header(form, int(height), int(width), float(scale), floats.end())
        except ValueError:
            raise DataError(f"{file}: expected the scale of a PFM as a number, got {scale!r}; {_FIX}") from None
    if found is None:
        raise DataError(f"{file}: expected the width and height of a PGM or PPM, got something else; {_FIX}")
    form, width, height = (part.decode() for part in found.groups())
    if form in "14":
        return Header(form, int(height), int(width), 1, found.end() + 1)
    most = _MOST.match(head, found.end())
    if most is None or not 1 <= int(most[1]) <= 65535:
        raise DataError(f"{file}: expected the largest value of a PGM or PPM, 1 to 65535, got another; {_FIX}")
    return Header(form, int(height), int(width), int(most[1]), most.end() + 1)


def read_pixels(file: Path, data: bytes) -> tuple[npt.NDArray[Any], tuple[float, float] | None]:
    """Values (H, W) or (H, W, 3) as stored, and what black and white are (None: of floats, the values met).

    Raises DataError naming the file.
    """
    head = read_header(file, data)
    count, shape = head.height * head.width * head.channels, (head.height, head.width, head.channels)
    if head.form in "fF":
        values = _binary(file, data, head, count, np.dtype("<f4" if head.most < 0 else ">f4"))
        return _squeezed(values.reshape(shape)[::-1]), None  # rows from the bottom up
    if head.form in "14":
        bits = _bits(file, data, head)
        return (1 - bits) * np.uint8(255), (0.0, 255.0)  # 1 is black
    if head.form in "23":
        values = _text(file, data, head, count)
    else:
        values = _binary(file, data, head, count, np.dtype(np.uint8 if head.most < 256 else ">u2"))
    if int(values.max(initial=0)) > head.most:
        raise DataError(f"{file}: expected values up to {head.most:.0f}, got {values.max()}; {_FIX}")
    return _squeezed(values.reshape(shape)), (0.0, float(head.most))


def _squeezed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values[..., 0] if values.shape[2] == 1 else values


def _binary(file: Path, data: bytes, head: Header, count: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    have = len(data) - head.start
    if have < count * kind.itemsize:
        raise DataError(f"{file}: expected {count * kind.itemsize} bytes of pixels, got {have}; copy it again")
    return np.frombuffer(data, kind, count, head.start)


def _bits(file: Path, data: bytes, head: Header) -> npt.NDArray[np.uint8]:
    if head.form == "4":
        row = -(-head.width // 8)
        packed = _binary(file, data, head, row * head.height, np.dtype(np.uint8))
        bits: npt.NDArray[np.uint8] = np.unpackbits(packed.reshape(head.height, row), axis=1)[:, : head.width]
        return bits
    digits: npt.NDArray[np.uint8] = np.frombuffer(data[head.start :], np.uint8)
    digits = digits[(digits == 48) | (digits == 49)]
    if len(digits) < head.height * head.width:
        raise DataError(f"{file}: expected {head.height * head.width} digits, got {len(digits)}; copy it again")
    digits = digits[: head.height * head.width] - np.uint8(48)
    return digits.reshape(head.height, head.width)


def _text(file: Path, data: bytes, head: Header, count: int) -> npt.NDArray[Any]:
    body = data[head.start :]
    if re.search(rb"[^0-9\s]|[0-9]{6}", body):
        raise DataError(f"{file}: expected numbers of at most five digits, got something else; {_FIX}")
    values: npt.NDArray[Any] = np.fromstring(body, np.int64, sep=" ") if body.strip() else np.zeros(0, np.int64)
    if len(values) < count:
        raise DataError(f"{file}: expected {count} numbers, got {len(values)}; copy it again")
    values = values[:count]
    narrow = np.uint8 if head.most < 256 else np.uint16
    return values.astype(narrow) if values.max(initial=0) <= np.iinfo(narrow).max else values
