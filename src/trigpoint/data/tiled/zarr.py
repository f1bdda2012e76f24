"""Tiles of a zarr array (version 2 or 3) or of an OME-NGFF multiscales group; needs the extra ``zarr``."""

from __future__ import annotations

import itertools
import math
import posixpath
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.data.pixels.spacing import MILLIMETRES, pair
from trigpoint.data.tiled.store import TileStore, check_tile, reading
from trigpoint.data.tiled.zarr_codecs import Coding, read_codings
from trigpoint.errors import DataError
from trigpoint.landmarks import Spacing

_NAMED = 10  # arrays of a group in a message


class _Level(NamedTuple):
    """``array`` is zarr's."""

    array: Any
    folder: Path
    coding: Coding


class ZarrTiles(TileStore):
    """Axes are named by the group, or are (..., c, y, x) or (..., y, x) with all others of length 1.

    A chunk that has no file is refused, unless ``fill_missing`` gives it the array's fill value: zarr leaves chunks of
    nothing but that value out, but they are also what is missing after an incomplete copy.
    """

    def __init__(self, folder: Path, fill_missing: bool = False) -> None:
        self.file = folder
        self.fill_missing = fill_missing
        try:
            import zarr
        except ImportError:
            raise DataError(f'{folder}: reading zarr needs a package; pip install "trigpoint[zarr]"') from None
        with reading(folder, "metadata"):
            codings, scales = read_codings(folder), None
            if "." in codings:
                self._levels = [_Level(zarr.open_array(str(folder), mode="r"), folder, codings["."])]
            else:
                group = zarr.open_group(str(folder), mode="r", use_consolidated=False)
                scales = _multiscales(folder, group, codings)
                names = [posixpath.normpath(str(entry["path"])) for entry in scales["datasets"]]
                if not all(name in codings for name in names):
                    raise DataError(f"{folder}: expected arrays inside the group, got {', '.join(names)}")
                self._levels = [_Level(group[name], folder / name, codings[name]) for name in names]
            self._describe(scales)

    def _describe(self, scales: Mapping[str, Any] | None) -> None:
        arrays = [level.array for level in self._levels]
        first = arrays[0]
        names = None
        if scales is not None:  # before version 0.3 the axes of a group were not named and always t, c, z, y, x
            given = scales.get("axes") or list("tczyx")[-first.ndim :]
            names = [str(axis["name"] if isinstance(axis, Mapping) else axis) for axis in given]
        self._channel_axis, self._y, self._x = _axes(self.file, first.shape, names)
        self.dtype = np.dtype(first.dtype).newbyteorder("=")
        if self.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise DataError(f"{self.file}: expected uint8 or uint16, got {first.dtype}; convert it")
        self.channels = 1 if self._channel_axis is None else int(first.shape[self._channel_axis])
        for array in arrays:
            channel = _axes(self.file, array.shape, names)[0]
            count = 1 if channel is None else array.shape[channel]
            if (channel, count, array.dtype) != (self._channel_axis, self.channels, first.dtype):
                raise DataError(f"{self.file}: expected levels of one kind, got {array.shape} of {array.dtype}")
        arrays.sort(key=lambda array: -array.shape[self._x])
        self._levels.sort(key=lambda level: -level.array.shape[self._x])
        self.sizes = tuple((int(a.shape[self._y]), int(a.shape[self._x])) for a in arrays)
        self.tiles = tuple((int(a.chunks[self._y]), int(a.chunks[self._x])) for a in arrays)
        for size, tile, array in zip(self.sizes, self.tiles, arrays, strict=True):
            check_tile(self.file, size, tile, math.prod(array.chunks) * array.dtype.itemsize)
        self.spacing_mm = None if scales is None else _spacing(scales, self._y, self._x)

    def load(self, level: int, row: int, column: int) -> npt.NDArray[Any]:
        """As ``TileStore`` says."""
        array, (h, w) = self._levels[level].array, self.tiles[level]
        with reading(self.file, f"level {level}, chunk {column}, {row}"):
            place: list[Any] = [slice(0, 1)] * array.ndim
            place[self._y], place[self._x] = slice(row * h, (row + 1) * h), slice(column * w, (column + 1) * w)
            if self._channel_axis is not None:
                place[self._channel_axis] = slice(0, self.channels)
            self._check_chunks(self._levels[level], place)
            values = np.asarray(array[tuple(place)])
            axes = [self._y, self._x] if self._channel_axis is None else [self._channel_axis, self._y, self._x]
            values = np.moveaxis(values, axes, range(-len(axes), 0))
            return self.crop(level, row, column, values.reshape(self.channels, *values.shape[-2:]))

    def _check_chunks(self, level: _Level, place: Sequence[slice]) -> None:
        """Raise DataError when a chunk, or the shard that holds it, has no file, or inflates to more than it holds."""
        array = level.array
        per_shard = [n // m for n, m in zip(getattr(array, "shards", None) or array.chunks, array.chunks, strict=True)]
        spans = [
            range(part.start // n, -(-min(part.stop, size) // n))
            for part, n, size in zip(place, array.chunks, array.shape, strict=True)
        ]
        for chunk in itertools.product(*spans):
            key = array.metadata.encode_chunk_key(tuple(at // n for at, n in zip(chunk, per_shard, strict=True)))
            file = level.folder / key
            if file.is_file():
                at = np.ravel_multi_index([c % n for c, n in zip(chunk, per_shard, strict=True)], per_shard)
                level.coding.check(file, int(at), math.prod(per_shard), math.prod(array.chunks) * array.dtype.itemsize)
            elif not self.fill_missing:
                fix = "when chunks were left out because they are empty: trigpoint data tile IN OUT --fill-missing"
                missing = f"expected every chunk of {level.folder.name}, got none at {key}"
                raise DataError(f"{self.file}: {missing}; copy it again, or {fix}")


def _multiscales(folder: Path, group: Any, arrays: Collection[str]) -> Mapping[str, Any]:
    attributes = dict(group.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        expected = "a zarr array or an OME-NGFF multiscales group"
        got = f"a group of arrays: {', '.join(sorted(arrays)[:_NAMED]) or 'none'}"
        raise DataError(f"{folder}: expected {expected}, got {got}; name one of them")
    first: Mapping[str, Any] = scales[0]
    return first


def _axes(folder: Path, shape: tuple[int, ...], names: list[str] | None) -> tuple[int | None, int, int]:
    """Positions of channel (None: there is no such axis), y and x."""
    if names is None:
        channel = len(shape) - 3 if len(shape) > 2 else None
        y, x = len(shape) - 2, len(shape) - 1
    elif len(names) == len(shape) and "y" in names and "x" in names:
        channel, y, x = (names.index("c") if "c" in names else None), names.index("y"), names.index("x")
    else:
        raise DataError(f"{folder}: expected axes y and x for an array of shape {shape}, got {names}")
    rest = [n for axis, n in enumerate(shape) if axis not in (channel, y, x)]
    if len(shape) < 2 or any(n != 1 for n in rest) or (channel is not None and shape[channel] not in (1, 3)):
        raise DataError(
            f"{folder}: expected axes (c, y, x) with 1 or 3 channels and all others of length 1, got shape {shape}; "
            "export the plane that is meant, channels first"
        )
    return channel, y, x


def _spacing(scales: Mapping[str, Any], y: int, x: int) -> Spacing | None:
    axes = scales.get("axes") or []
    if len(axes) <= max(y, x) or not all(isinstance(axes[axis], Mapping) for axis in (y, x)):
        return None
    sides = [MILLIMETRES.get(str(axes[axis].get("unit")), float("nan")) for axis in (x, y)]
    for owner in (scales["datasets"][0], scales):
        for change in owner.get("coordinateTransformations") or []:
            if change.get("type") == "scale":
                sides = [side * float(change["scale"][axis]) for side, axis in zip(sides, (x, y), strict=True)]
    return pair(*sides)
