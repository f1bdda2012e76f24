"""HDF5 files of others are looked through before a library reads them: what they hold, and whether it is all theirs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trigpoint.data.files import decoding, open_file, shown
from trigpoint.errors import ConfigError, DataError

_OBJECTS = 100_000
_BYTES = 1 << 30  # of all arrays once they are unpacked; a small file can say that it holds terabytes
_DEPTH = 50


@contextmanager
def opened_hdf5(file: Path, extra: str, apart: Callable[[str], bool] = lambda _: False) -> Iterator[Any]:
    """An h5py file whose arrays lie in the file itself and hold at most 1 GB, those ``apart`` (by path) not counted.

    ``extra`` is the extra of trigpoint that brings h5py. Raises DataError for another file, for one that is damaged,
    and for links to, or arrays in, other files; ConfigError without h5py.
    """
    try:
        import h5py
    except ImportError:
        fix = f'pip install "trigpoint[{extra}]"'
        raise ConfigError(f"{file}: HDF5 files need a package that is not installed; {fix}") from None
    with open_file(file) as stream:
        if b"\x89HDF\r\n\x1a\n" not in stream.read(1 << 12):  # it may follow a block of the user's
            raise DataError(f"{file}: expected an HDF5 file, got something else or a damaged one; save it again")
    with decoding(file, "expected an HDF5 file, got a damaged one"):
        opened = h5py.File(file, "r")
    try:
        _check(file, opened, h5py, apart)
        yield opened
    finally:
        opened.close()


def _check(file: Path, opened: Any, h5py: Any, apart: Callable[[str], bool]) -> None:
    objects = total = 0
    seen: set[Any] = set()
    left = [("", opened, 0)]
    while left:
        path, group, depth = left.pop()
        with decoding(file, "expected an HDF5 file, got a damaged one"):
            links = {str(key): group.get(key, getlink=True) for key in group}
        objects += len(links)
        if objects > _OBJECTS or depth > _DEPTH:
            raise DataError(f"{file}: expected at most {_OBJECTS} arrays and groups, {_DEPTH} deep, got more")
        for key, link in links.items():
            where = f"{path}/{key}"
            if isinstance(link, h5py.ExternalLink):
                raise DataError(f"{file}: {shown(where)}: expected an array in this file, got a link to another file")
            if isinstance(link, h5py.SoftLink):
                continue  # what it names is met where it stands
            with decoding(file, "expected an HDF5 file, got a damaged one"):
                item = group[key]
                own = h5py.h5o.get_info(item.id).addr
                array = isinstance(item, h5py.Dataset)
                size = item.nbytes if array else 0
                elsewhere = array and (item.is_virtual or bool(item.external))
            if elsewhere:
                raise DataError(f"{file}: {shown(where)}: expected an array in this file, got one kept in other files")
            total += 0 if apart(where) else size
            if total > _BYTES:
                raise DataError(f"{file}: expected arrays of at most {_BYTES >> 20} MB together, got more; divide it")
            if isinstance(item, h5py.Group) and own not in seen:
                seen.add(own)
                left.append((where, item, depth + 1))
