"""Files a dataset is made of: reading with limits, atomic writing, and names and cells that do no harm."""

import csv
import errno
import io
import json
import math
import os
import reprlib
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from trigpoint.errors import DataError, TrigpointError

Progress = Callable[[int, int], None]  # (done, total)

_NAME, _PATH = 255, 1000  # bytes of one name and of a whole path that every usual file system takes
_TEXT = 1 << 30  # bytes of a table or annotation file; the largest known ones have half as much
_PIECE = 1 << 16  # compressed bytes taken at a time
_NO_PATH = (errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)
_repr = reprlib.Repr()
_repr.maxstring = _repr.maxlong = _repr.maxother = 80
_repr.maxlevel, _repr.maxlist, _repr.maxdict = 3, 6, 6


def write_text(path: str | Path, text: str, *, overwrite: bool = False) -> Path:
    """Write a UTF-8 text file; see ``write_bytes``. Raises DataError for text that is none, such as of a file name."""
    return write_bytes(path, utf8(path, text), overwrite=overwrite)


def write_bytes(
    path: str | Path, data: bytes | memoryview, *, overwrite: bool = False, keep: Path | None = None
) -> Path:
    """Write a file whole or not at all, see ``whole``."""
    with whole(path, overwrite=overwrite, keep=keep) as stream:
        stream.write(data)
    return Path(path)


@contextmanager
def whole(path: str | Path, *, overwrite: bool = False, keep: Path | None = None) -> Iterator[IO[bytes]]:
    """A stream whose file appears as ``path`` when the block ends, flushed to the disk, and not at all when it fails.

    What it was before is ``keep`` then.

    Raises DataError when the file exists and ``overwrite`` is False, and OSError, which names the file, when the system
    refuses, such as for a full disk: then what was there before is untouched. In the block, what is read from elsewhere
    raises DataError, or ``path`` would be named for it.
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=".part")
        part = Path(name)
        os.close(handle)
        with part.open("wb") as stream:  # which bears its name, as some libraries ask
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        if keep is not None and target.exists():
            target.replace(keep)
        part.replace(target)
    except OSError as error:
        if part is None or (error.filename in (None, name) and error.errno):  # as of a full disk
            error.filename, error.filename2 = str(target), None
        raise
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def copy_file(source: Path, target: Path, *, overwrite: bool = False) -> None:
    """Copy a file whole or not at all. Raises DataError naming ``source``, or OSError naming ``target``."""
    with open_file(source) as given, whole(target, overwrite=overwrite) as stream:
        while True:
            with reachable(source):
                data = given.read(1 << 20)
            if not data:
                return
            stream.write(data)


def same_content(file: Path, data: bytes) -> bool:
    """Whether a file holds exactly these bytes, as after a command that was stopped and is given again."""
    return file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise DataError when ``path`` exists and may not be replaced, or can be no file's, see ``check_path``."""
    check_path(path)
    if path.exists() and not overwrite:
        fix = "choose another place, or replace what is there: --force (in Python overwrite=True)"
        raise DataError(f"{path}: expected a new file, got one that exists; {fix}")


def check_path(path: Path) -> None:
    """Raise DataError for a path that no table can name, that no file can have, or that is no regular file or folder.

    A pipe or device may never begin or end; what is not there is no error here.
    """
    text = str(path)
    got = ""
    if not sound_text(text):
        got = "a name that is no UTF-8; rename it"
    elif len(text.encode()) > _NAME and any(len(part.encode()) > _NAME for part in path.parts):
        got = f"a name of more than {_NAME} bytes; shorten it"
    else:
        try:
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                got = "a pipe, socket or device; copy its content to a file"
        except OSError as error:
            if error.errno in _NO_PATH:
                got = f"{error.strerror}; correct the path"
        except ValueError:
            got = "a name with a zero byte; correct it"
    if got:
        shortened = text if len(text) < 300 else f"{text[:200]}..."
        raise DataError(
            f"{shortened.encode('utf-8', 'backslashreplace').decode()}: expected a file or folder, got {got}"
        )


def open_file(path: str | Path) -> io.BufferedReader:
    """A regular file, opened for reading. Raises DataError."""
    file = Path(path)
    check_path(file)
    with reachable(file):
        return file.open("rb")


def utf8(path: str | Path, text: str) -> bytes:
    """The bytes of a text that is to be written. Raises DataError naming the file."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        line = text[: error.start].rpartition("\n")[2][-40:] + text[error.start : error.start + 20].partition("\n")[0]
        raise DataError(f"{path}: expected text that is UTF-8, got {shown(line)}; rename what it names") from None


def read_text(path: str | Path, most: int = _TEXT) -> str:
    """A UTF-8 text file (byte order mark dropped) of at most ``most`` bytes.

    Raises DataError naming the file, line and bad byte.
    """
    file = Path(path)
    check_path(file)
    try:
        size = file.stat().st_size
        if size > most:
            raise DataError(f"{file}: expected text of at most {most} bytes, got {size}; divide it")
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object[: error.start].count(b"\n") + 1, error.object[error.start]
        raise DataError(f"{file}, line {line}: expected UTF-8 text, got byte 0x{byte:02x}; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from None


def load_json(file: Path, most: int = _TEXT) -> Any:
    """The values of a JSON file. Raises DataError with file and line, also for what is too deep or no text."""
    text = read_text(file, most)
    try:
        values = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}, line {error.lineno}: not readable as JSON: {error.msg}") from None
    except ValueError as error:
        raise DataError(f"{file}: not readable as JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{file}: expected JSON, got values too deep in one another") from None
    if "\\u" in text and not sound_text(json.dumps(values, ensure_ascii=False)):
        raise DataError(f"{file}: expected text in JSON, got half a surrogate pair (\\ud800 to \\udfff); remove it")
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key given twice is refused: which of the two was meant, nobody knows."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"expected each key once, got {shown(twice)} twice in one object; keep one")
    return values


def _integer(digits: str) -> int | float:
    """Python refuses to read integers of thousands of digits; as a float they are infinite and refused by name."""
    return int(digits) if len(digits) < 400 else float(digits)


def read_csv(path: str | Path, *, strict: bool = True) -> list[list[str]]:
    """The cells of a UTF-8 csv file. Raises DataError naming the file; without ``strict``, odd quotes are read past."""
    if Path(path).suffix.lower() == ".parquet":
        raise DataError(f"{path}: expected csv, which can be changed in place, got Parquet; write it as csv first")
    try:
        return list(csv.reader(io.StringIO(read_text(path), newline=""), strict=strict))
    except csv.Error as error:
        raise DataError(f"{path}: not readable as csv: {error}") from None


def column_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length by their names as the text of a csv file, as pandas writes it: NaN and None are blank.

    >>> column_text({"image": ["a,b.png", "c.png"], "x": [2.0, float("nan")]})
    'image,x\\n"a,b.png",2.0\\nc.png,\\n'
    """
    cells = [[_cell(value) for value in values] for values in columns.values()]
    return csv_text([list(columns), *zip(*cells, strict=True)])


def _cell(value: Any) -> str:
    return "" if value is None or value != value else str(value)


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


def inflated_size(make: Callable[[], Any], data: bytes, most: int) -> int:
    """How many bytes compressed data give, counted in pieces, so that no more are held; counting ends above ``most``.

    ``make`` gives a decompressor as zlib, bz2 and lzma have them; streams may follow one another.

    >>> import zlib
    >>> inflated_size(zlib.decompressobj, zlib.compress(bytes(5000)) * 2, 10**6)
    10000
    """
    total, left = 0, memoryview(data)
    while left and total <= most:
        stream, at = make(), 0
        while not stream.eof and at < len(left) and total <= most:
            piece: Any = left[at : at + _PIECE]
            at += len(piece)
            while not stream.eof and total <= most:
                out = stream.decompress(piece, 16 * _PIECE)
                total, piece = total + len(out), getattr(stream, "unconsumed_tail", b"")
                if not out and not piece:
                    break
        left = left[at - len(stream.unused_data) :] if stream.eof else left[:0]
    return total


def inside(name: str) -> bool:
    """Whether a name is relative and never climbs out of its folder (either slash), and can be a file's.

    Links are not followed: a link that lies in the folder was put there by its owner.

    >>> inside("a/b.png"), inside("a/../../b.png"), inside("/etc/b.png"), inside("..\\\\b.png"), inside("a\\0.png")
    (True, False, False, False, False)
    """
    plain = name.replace("\\", "/")
    climbs = os.path.normpath(plain).split(os.sep)[0] == os.pardir
    return (not name or possible_name(name)) and not (climbs or plain.startswith("/") or plain[1:3] == ":/")


def possible_name(name: str) -> bool:
    """Whether a file can have this name: no control characters, no half of a surrogate pair, not too many bytes.

    >>> possible_name("../a.png"), possible_name("a\\n.png"), possible_name("a" * 300), possible_name("")
    (True, False, False, False)
    """
    if not name or not sound_text(name) or min(name) < " ":
        return False
    parts = name.replace("\\", "/").split("/")
    return len(name.encode()) <= _PATH and all(len(part.encode()) <= _NAME for part in parts)


def sound_text(text: str) -> bool:
    """Whether a text can be written as UTF-8: escapes in JSON and YAML can leave half a surrogate pair.

    >>> sound_text("Müller"), sound_text("\\ud800")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
