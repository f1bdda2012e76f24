"""The h5 files of DeepLabCut, which pandas wrote in its fixed layout: read by h5py as plain arrays, nothing unpickled.

A data frame is a group with the column labels (``axis0``: levels, and codes into them), the row labels (``axis1``), and
one array of values for each type of column (``block0_values``) with the labels of its columns (``block0_items``).
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import check_path, decoding
from trigpoint.data.isolated import isolated
from trigpoint.errors import DataError

_MAGIC = b"\x89HDF\r\n\x1a\n"
_MOST = 1 << 28  # bytes of one array; a project of 100,000 frames and 50 landmarks has 80 MB
_MOST_CELLS = 1 << 26
_HEADS = {3: ("scorer", "bodyparts", "coords"), 4: ("scorer", "individuals", "bodyparts", "coords")}

Labels = list[tuple[str, ...]]


def is_h5(head: bytes) -> bool:
    """Whether the first bytes of a file are those of HDF5."""
    return head.startswith(_MAGIC)


def h5_rows(file: Path) -> list[list[str]]:
    """The cells that the csv of the same name has. Raises DataError, which names that csv as the way out.

    Needs h5py. Refused are arrays that are pickled, that lie in other files or that are too large.
    """
    check_path(file)
    try:
        import_module("h5py")
    except ModuleNotFoundError:
        raise DataError(f"{file}: an h5 file is read with: pip install 'trigpoint[h5]'; or {_way_out(file)}") from None
    cells: list[list[str]] = isolated(_cells, file)
    return cells


def _cells(file: Path) -> list[list[str]]:
    h5py, fix = import_module("h5py"), _way_out(file)
    problem = "expected the h5 file of a DeepLabCut project, got another or a damaged one"
    with decoding(file, problem, fix=f"; {fix}"), h5py.File(file, "r") as stored:
        names = [name for name in stored if _own(h5py, stored, name, h5py.Group) is not None]
        if len(names) != 1:
            raise ValueError(f"expected one table, got {len(names)}: {', '.join(names[:5])}")
        return _rows(_Reader(h5py, stored[names[0]]))


def _way_out(file: Path) -> str:
    csv = file.with_suffix(".csv")
    if csv.is_file():
        return f"give {csv.name} beside it, which holds the same"
    return f"write {csv.name} where DeepLabCut is: pandas.read_hdf({file.name!r}).to_csv({csv.name!r})"


class _Reader:
    """Plain arrays of one group."""

    def __init__(self, h5py: Any, group: Any) -> None:
        self.h5py, self.group = h5py, group
        if "table" in group:
            raise ValueError("it is stored as a table, whose column names are pickled")

    def array(self, name: str) -> npt.NDArray[Any]:
        data = _own(self.h5py, self.group, name, self.h5py.Dataset)
        if data is None:
            raise ValueError(f"it holds no array '{name}'")
        if data.external or data.is_virtual:
            raise ValueError(f"the array '{name}' lies in another file")
        if data.dtype.kind not in "fiuS":
            raise ValueError(f"the array '{name}' is pickled or of an unknown type")
        if data.dtype.itemsize * max(int(np.prod(data.shape, dtype=np.float64)), 0) > _MOST:
            raise ValueError(f"the array '{name}' is larger than {_MOST >> 20} MB")
        return np.asarray(data[()])

    def labels(self, axis: str) -> Labels:
        """The labels of an axis, a text for each of its levels."""
        if f"{axis}_level0" not in self.group:
            return [(text,) for text in _texts(self.array(axis))]
        levels: list[list[str]] = []
        while f"{axis}_level{len(levels)}" in self.group and len(levels) < 8:
            number = len(levels)
            words = _texts(self.array(f"{axis}_level{number}"))
            codes = self.array(f"{axis}_label{number}")
            if codes.ndim != 1 or codes.dtype.kind not in "iu" or (codes >= len(words)).any():
                raise ValueError(f"the labels of '{axis}' do not fit their levels")
            levels.append([words[code] if code >= 0 else "" for code in codes.tolist()])
        if len({len(level) for level in levels}) != 1:
            raise ValueError(f"the levels of '{axis}' differ in length")
        return list(zip(*levels, strict=True))


def _own(h5py: Any, group: Any, name: str, kind: Callable[..., Any]) -> Any:
    """A member that lies in this file; None for none of that kind, and for links to other files."""
    if name not in group or not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    member = group[name]
    return member if isinstance(member, kind) else None  # type: ignore[arg-type]


def _texts(values: npt.NDArray[Any]) -> list[str]:
    if values.ndim != 1:
        raise ValueError("labels are no list")
    if values.dtype.kind == "S":
        return [value.decode("utf-8") for value in values.tolist()]
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in values.tolist()]


def _rows(reader: _Reader) -> list[list[str]]:
    columns, frames = reader.labels("axis0"), reader.labels("axis1")
    levels = len(columns[0]) if columns else 0
    if levels not in _HEADS:
        raise ValueError(f"expected columns by scorer, [individuals,] bodyparts, coords, got {levels} levels")
    if len(columns) * len(frames) > _MOST_CELLS:
        raise ValueError(f"expected at most {_MOST_CELLS} cells, got {len(columns)} x {len(frames)}")
    place = {column: index for index, column in enumerate(columns)}
    values = np.full((len(frames), len(columns)), np.nan)
    for block in range(int(reader.group.attrs.get("nblocks", 1))):
        own = reader.array(f"block{block}_values")
        where = [place[label] for label in reader.labels(f"block{block}_items")]
        if own.dtype.kind not in "fiu" or own.shape != (len(frames), len(where)):
            raise ValueError(f"expected numbers for {len(frames)} frames and {len(where)} columns, got {own.shape}")
        values[:, where] = own
    paths = len(frames[0]) if frames else 1
    heads = enumerate(_HEADS[levels])
    out = [[head, *[""] * (paths - 1), *(column[level] for column in columns)] for level, head in heads]
    for label, numbers in zip(frames, values.tolist(), strict=True):
        out.append([*label, *("" if value != value else repr(value) for value in numbers)])
    return out
