"""The process that decodes images of strangers. Imports NumPy and readers of images, and no network.

It is told to end by the end of its pipe, or killed; signals to the service do not end it before what is accepted is
done. It says nothing but its answers: what libraries would log may be about a patient.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trigpoint.data.pixels.images import BYTES_PER_PIXEL, ImageData, frame_count, read_image
from trigpoint.data.pixels.limits import SMALLER
from trigpoint.errors import DataError, TrigpointError
from trigpoint.serving.passing import receive_many, send_many

_SPARE = 1 << 30  # bytes of addresses beside those of the process as it begins and of the image
READY = b"ready"
_GRACE = 5  # seconds after which the system ends a decoder whose service is gone


def decode_forever(pipe: Connection, max_pixels: int, seconds: float) -> None:
    """Answer each image file (bytes) with its header (JSON) and, where there are, its pixels, until the pipe ends."""
    _be_silent()
    _bound_memory(_SPARE + 2 * BYTES_PER_PIXEL * max_pixels)
    pipe.send_bytes(READY)
    while True:
        try:
            data = receive_many(pipe)
        except (EOFError, OSError):
            return
        _alarm(math.ceil(seconds) + _GRACE)
        about, pixels = decoded(data, max_pixels)
        del data
        _alarm(0)
        with suppress(BrokenPipeError):
            pipe.send_bytes(json.dumps(about).encode())
            if pixels is not None:
                send_many(pipe, pixels)
        del pixels


def decoded(data: bytes | bytearray, max_pixels: int) -> tuple[dict[str, Any], memoryview | None]:
    """What is said of an image file, and its pixels; or what is wrong with it, and None."""
    try:
        with _as_file(data) as file:
            try:
                image = _read(file, max_pixels)
            except TrigpointError as error:
                told = str(error).removeprefix(f"{file}: ").replace(SMALLER, "make it smaller")  # no limit of this user
                return {"error": told}, None
    except MemoryError:
        return {"error": "expected an image that fits into memory, got one that does not; make it smaller"}, None
    except Exception as error:  # of whatever library met a damaged file
        return {"error": f"expected an image that can be read, got a damaged one ({type(error).__name__})"}, None
    about = {
        "shape": image.pixels.shape,
        "type": image.pixels.dtype.str,
        "spacing_mm": image.spacing_mm,
        "spacing_source": image.spacing_source,
        "value_range": image.value_range,
    }
    return about, image.pixels.data.cast("B")


def _read(file: Path, max_pixels: int) -> ImageData:
    if (count := frame_count(file)) > 1:
        raise DataError(f"expected one image, got a file of {count} frames; send the one that is meant")
    return read_image(file, max_pixels=max_pixels)


@contextmanager
def _as_file(data: bytes | bytearray) -> Iterator[Path]:
    """A file of these bytes: in memory only where the system can, else in the temporary folder until it is read."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("image")
        try:
            with os.fdopen(os.dup(handle), "wb") as stream:
                stream.write(data)
            yield Path(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image"
        file.write_bytes(data)
        yield file


def _be_silent() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    logging.disable()
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in (1, 2):
        os.dup2(nothing, handle)
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the process


def _bound_memory(more: int) -> None:
    with suppress(ImportError, ValueError, OSError):  # only Linux tells; a lower limit of the system stays
        import resource

        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


def _alarm(seconds: int) -> None:
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
