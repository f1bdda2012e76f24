"""Many bytes from process to process: as a file in memory where the system can, which a pipe would cut into pieces."""

from __future__ import annotations

import os
import sys
from multiprocessing.connection import Connection

_MANY = 1 << 16  # bytes that a pipe takes at once
_PIPED, _SHARED = b"p", b"s"


def send_many(pipe: Connection, data: bytes | memoryview) -> None:
    """Send bytes to ``receive_many`` of the other end."""
    if sys.platform != "linux" or memoryview(data).nbytes < _MANY:
        pipe.send_bytes(_PIPED)
        pipe.send_bytes(data)
        return
    from multiprocessing.reduction import send_handle

    handle = os.memfd_create("data")
    try:
        with os.fdopen(os.dup(handle), "wb") as stream:
            stream.write(data)
        pipe.send_bytes(_SHARED)
        send_handle(pipe, handle, os.getpid())  # who gets it does not matter on Linux
    finally:
        os.close(handle)


def receive_many(pipe: Connection) -> bytearray:
    """What ``send_many`` has sent; a copy, which the other end cannot change. Raises EOFError and OSError."""
    if pipe.recv_bytes() == _PIPED or sys.platform != "linux":
        return bytearray(pipe.recv_bytes())
    from multiprocessing.reduction import recv_handle

    with os.fdopen(recv_handle(pipe), "rb") as stream:
        room = bytearray(os.fstat(stream.fileno()).st_size)
        stream.seek(0)
        stream.readinto(room)
    return room
