"""Files a dataset is made of: atomic writing, and names and cells that do no harm."""

import csv
import io
import math
import os
import reprlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trigpoint.errors import DataError, TrigpointError

Progress = Callable[[int, int], None]  # (done, total)

_NAME, _PATH = 255, 1000  # bytes of one name and of a whole path that every usual file system takes
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxlong = _repr.maxother = 80
_repr.maxlevel, _repr.maxlist, _repr.maxdict = 3, 6, 6


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a UTF-8 text file; see ``write_bytes``."""
    return write_bytes(path, text.encode("utf-8"), overwrite=overwrite)


def write_bytes(
    path: str | Path, data: bytes | memoryview, *, overwrite: bool = False, keep: Path | None = None
) -> Path:
    """Write a file whole or not at all (a temporary name, then ``os.replace``); what it was before is ``keep`` then.

    Raises DataError when the file exists and ``overwrite`` is False, and OSError, which names the file, when the system
    refuses, such as for a full disk: then what was there before is untouched.
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        part = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        if keep is not None and target.exists():
            target.replace(keep)
        part.replace(target)
    except OSError as error:
        if part is None or error.filename is None:  # as of a folder that is read only, or of a full disk
            error.filename = str(target)
        raise
    finally:
        if part is not None:
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
        line, byte = error.object[: error.start].count(b"\n") + 1, error.object[error.start]
        raise DataError(f"{file}, line {line}: expected UTF-8 text, got byte 0x{byte:02x}; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None


def read_csv(path: str | Path, *, strict: bool = True) -> list[list[str]]:
    """The cells of a UTF-8 csv file. Raises DataError naming the file; without ``strict``, odd quotes are read past."""
    try:
        return list(csv.reader(io.StringIO(read_text(path), newline=""), strict=strict))
    except csv.Error as error:
        raise DataError(f"{path}: not readable as csv: {error}") from None


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows of cells as the text of a csv file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


@contextmanager
def reachable(image: Path) -> Iterator[None]:
    """An image file that is missing, or that the system cannot read, becomes a DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{image}: expected an image file, got {error.strerror or error}") from None


@contextmanager
def decoding(file: Path, problem: str, where: str = "", fix: str = "") -> Iterator[None]:
    """Whatever a decoder raises becomes a DataError: the file, the problem and the decoder's reason.

    Decoders of foreign bytes fail in every way there is (struct.error, zlib.error, MemoryError, ...), so this guards
    the calls into them and nothing else.
    """
    try:
        yield
    except TrigpointError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{file}: {problem} ({where}{reason}){fix}") from None


def inside(name: str) -> bool:
    """Whether a name in a table is relative and never climbs out of its folder (either slash), and can be a file's.

    No file has a name with control characters, half a surrogate pair, or more bytes than file systems take. Links
    are not followed: a link that lies in the folder was put there by its owner.

    >>> inside("a/b.png"), inside("a/../../b.png"), inside("/etc/b.png"), inside("..\\\\b.png"), inside("a\\0.png")
    (True, False, False, False, False)
    """
    if not sound_text(name) or any(ord(letter) < 32 for letter in name):
        return False
    plain = name.replace("\\", "/")
    if len(plain.encode()) > _PATH or any(len(part.encode()) > _NAME for part in plain.split("/")):
        return False
    climbs = os.path.normpath(plain).split(os.sep)[0] == os.pardir
    return not (climbs or plain.startswith("/") or plain[1:3] == ":/")


def sound_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: escapes in JSON and YAML can leave half a surrogate pair.

    >>> sound_text("Müller"), sound_text("\\ud800")
    (True, False)
    """
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet that opens the table would calculate this cell, which can run programs, or call something.

    That is any text after =, and after + - @ or a control character one with a call, a link or another sheet in it.

    >>> [is_formula(cell) for cell in ("=1+1", "@SUM(A1)", "-cmd|' /C calc'!A0", "-1.5", "-left (old", "@eaDir/a.png")]
    [True, True, True, False, True, False]
    """
    plain = cell.lstrip()
    return plain.startswith("=") or (plain[:1] in ("+", "-", "@") and any(mark in plain for mark in "(|!"))


def number(value: object) -> float | None:
    """A finite number from JSON or text, else None. Python's own 1_000, nan and inf are no numbers in a file."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, str) and "_" in value):
        return None
    try:
        out = float(value)
    except (ValueError, OverflowError):
        return None
    return out if math.isfinite(out) else None


def shown(value: object) -> str:
    """A value for a message: as Python writes it, cut where it is long, whatever the file held.

    >>> shown(["left", None]), len(shown("a" * 1000))
    ("['left', None]", 80)
    """
    return _repr.repr(value)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
