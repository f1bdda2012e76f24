"""One process at a time in a folder: a lock that ends with the process that holds it, however it ends."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trigpoint.errors import RunError

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 1 << 20, os.SEEK_SET)  # beyond the text, which others read
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process: those that prepare its batches have none


_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_HELD: set[Path] = set()  # by this process, which the system would let lock them again


@contextmanager
def locked(
    file: Path, doing: str = "is being trained", fix: str = "wait for it or end it, or give another --out"
) -> Iterator[bool]:
    """Hold the lock that ``file`` is; False where the file system has no locks. ``doing`` and ``fix`` are for messages.

    Raises RunError, naming process and machine, when another holds it; OSError when the file cannot be written.
    """
    path, me = file.resolve(), f"process {os.getpid()} on {socket.gethostname()}"
    if path in _HELD:
        raise _taken(file, me, doing, fix)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        works = True
        try:
            _lock(handle)
        except OSError as error:
            if error.errno in _TAKEN:
                raise _taken(file, file.read_bytes().decode(errors="replace"), doing, fix) from None
            works = False
        _HELD.add(path)
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, me.encode())
        yield works
    finally:
        _HELD.discard(path)
        os.close(handle)


def _taken(file: Path, holder: str, doing: str, fix: str) -> RunError:
    return RunError(f"{file.parent}: {doing} by {holder or 'another process'}; {fix}")
