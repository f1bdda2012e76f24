"""Files a dataset is made of: atomic writing, and names that stay inside their folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from trigpoint.errors import DataError


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a UTF-8 text file; see ``write_bytes``."""
    return write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def write_bytes(path: str | Path, data: bytes, *, overwrite: bool = False) -> Path:
    """Write a file whole or not at all (a temporary name, then ``os.replace``).

    Raises DataError when the file exists and ``overwrite`` is False.
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise DataError when ``path`` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise DataError(f"{path}: expected a new file, got one that exists; choose another place or allow overwriting")


def read_text(path: str | Path) -> str:
    """A UTF-8 text file (byte order mark dropped). Raises DataError naming the file, line and bad byte."""
    file = Path(path)
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file}, line {line}: expected UTF-8 text, got byte 0x{error.object[error.start]:02x}; save it as UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None


def inside(name: str) -> bool:
    """Whether a name in a table is relative and never climbs out of its folder (either slash).

    >>> inside("a/b.png"), inside("a/../../b.png"), inside("/etc/b.png"), inside("..\\\\b.png")
    (True, False, False, False)
    """
    plain = name.replace("\\", "/")
    climbs = os.path.normpath(plain).split(os.sep)[0] == os.pardir
    return not (climbs or plain.startswith("/") or plain[1:3] == ":/")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
