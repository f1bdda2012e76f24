"""Pyramidal tiled BigTIFF, written strip by strip, so that an image need never be in memory as a whole.

Each level is made from the one before by the filter of the foveated pyramid (``geometry.halve``), with one difference:
beyond the border the edge is repeated, because zero would store a dark frame.
"""

import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import tifffile
import torch
from torch.nn import functional as F

from trigpoint.data.files import Progress, refuse_existing, whole
from trigpoint.data.tiled.store import Size
from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import halve
from trigpoint.landmarks import Spacing, spacing_pair

Rows = Iterator[npt.NDArray[Any]]

_TOP = 64  # the coarsest level is about as large as one glimpse
_STRIP = 64  # rows that are filtered at a time


def halve_edge(image: torch.Tensor) -> torch.Tensor:
    """``geometry.halve`` of an image (B, C, H, W) that continues with its edge pixels instead of zero.

    >>> halve_edge(torch.ones(1, 1, 5, 3)).shape, float(halve_edge(torch.ones(1, 1, 5, 3)).min()) > 0.999
    (torch.Size([1, 1, 3, 2]), True)
    """
    height, width = image.shape[-2:]
    padded = F.pad(image, (2, 2 + width % 2, 2, 2 + height % 2), mode="replicate")
    return halve(padded)[..., 1 : 1 + (height + 1) // 2, 1 : 1 + (width + 1) // 2]


class _Level:
    """A coarser level: ``halve_edge`` of an image whose rows come in strips, kept in a temporary file as they come."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any], folder: Path) -> None:
        self._shape, self._dtype = shape, dtype
        # without a name, so that nothing is left behind however the process ends
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._rows: torch.Tensor | None = None  # from two rows before what the next coarser row is centred on
        self._count = 0

    def push(self, rows: torch.Tensor) -> torch.Tensor:
        """Take rows (C, n, W) float32 and give the coarser ones (C, m, ceil(W / 2)), unrounded, that they complete."""
        self._count += rows.shape[1]
        before = rows[:, :1].expand(-1, 2, -1) if self._rows is None else self._rows
        return self._take(torch.cat([before, rows], dim=1))

    def finish(self) -> torch.Tensor:
        """The coarser rows that the bottom edge completes."""
        assert self._rows is not None
        return self._take(torch.cat([self._rows, self._rows[:, -1:].expand(-1, 2 + self._count % 2, -1)], dim=1))

    def strips(self, height: int) -> Rows:
        """All rows, once they are there."""
        with self._file:
            self._file.flush()
            pixels = np.memmap(self._file, self._dtype, "r", shape=self._shape)
        return (pixels[top : top + height] for top in range(0, len(pixels), height))

    def _take(self, rows: torch.Tensor) -> torch.Tensor:
        width, ready = rows.shape[2], max((rows.shape[1] - 4) // 2, 0)
        self._rows = rows[:, 2 * ready :]
        if not ready:
            return rows[:, :0, : (width + 1) // 2]
        padded = F.pad(rows[None, :, : 2 * ready + 4], (2, 2 + width % 2, 0, 0), mode="replicate")
        coarser = halve(padded)[0, :, 1 : 1 + ready, 1 : 1 + (width + 1) // 2]
        values = coarser.round().clamp(0, float(np.iinfo(self._dtype).max)).numpy()
        self._file.write(np.moveaxis(values, 0, -1).astype(self._dtype).tobytes())
        return coarser


def _push(levels: Sequence[_Level], rows: torch.Tensor) -> None:
    """Rows (C, n, W) to the first level, the rows that they complete there to the next, and so on."""
    for level in levels:
        if not rows.shape[1]:
            return
        rows = level.push(rows)


def write_tiled(
    path: str | Path,
    size: Size,
    rows: Iterable[npt.NDArray[Any]],
    *,
    tile: int = 256,
    spacing_mm: float | Spacing | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write an image of ``size`` (H, W) from strips of ``rows`` (h, W) or (h, W, 3), uint8 or uint16, any h.

    A pyramidal OME-TIFF (BigTIFF, levels in SubIFDs) with tiles of ``tile`` x ``tile`` pixels and as many levels as
    bring the longer side to about 64. Memory holds a few strips; the coarser levels pass through temporary files beside
    ``path``, a third of the image in all. Written whole or not at all. ``progress`` gets (rows done, rows of all
    levels). Raises DataError when ``path`` exists and ``overwrite`` is False or the rows do not fit ``size``,
    ConfigError for a ``tile`` that is no multiple of 16. ``spacing_mm``: (x, y), or one number for both.

    >>> file = Path(tempfile.mkdtemp()) / "tiled.tif"
    >>> written = write_tiled(file, (300, 200), (np.full((50, 200), 9, np.uint8) for _ in range(6)), tile=64)
    >>> from trigpoint.data.tiled.image import open_tiled
    >>> with open_tiled(written) as image:
    ...     [tuple(level) for level in image.levels]
    [((300, 200), 1.0), ((150, 100), 2.0), ((75, 50), 4.0)]
    """
    target = Path(path)
    refuse_existing(target, overwrite)
    if tile % 16 or not 16 <= tile <= 8000:
        raise ConfigError(f"tile: expected a multiple of 16 from 16 to 8000, got {tile}")
    if min(size) < 1:
        raise DataError(f"{target}: expected at least 1 x 1 pixel, got {size[1]} x {size[0]}")
    strips = _strips(target, size, rows, tile)
    first = next(strips)
    sizes = _level_sizes(size)
    target.parent.mkdir(parents=True, exist_ok=True)
    heights = [height for height, _ in sizes]
    coarser = [_Level((*level, first.shape[2]), first.dtype, target.parent) for level in sizes[1:]]
    colour = first.shape[2] == 3
    options: dict[str, Any] = {"dtype": first.dtype, "tile": (tile, tile), "compression": "zlib", "maxworkers": 1}
    with (
        whole(target, overwrite=overwrite) as stream,
        tifffile.TiffWriter(stream, bigtiff=True, ome=True) as writer,
    ):

        def add(level: int, strips: Rows, **more: Any) -> None:
            tiles = _tiles(_counted(strips, sum(heights[:level]), sum(heights), progress), tile, colour)
            shape = (*sizes[level], 3) if colour else sizes[level]
            writer.write(tiles, shape=shape, photometric="rgb" if colour else "minisblack", **options, **more)

        finest = _finest(itertools.chain([first], strips), coarser)
        add(0, finest, subifds=len(coarser), metadata=_ome(colour, spacing_pair(spacing_mm)))
        next(strips, None)  # the writer asks for no more than the last tile
        for number, finished in enumerate(coarser, start=1):
            _push(coarser[number:], finished.finish())
        for number, level in enumerate(coarser, start=1):
            add(number, level.strips(tile), subfiletype=1, metadata=None)
    return target


def _level_sizes(size: Size) -> list[Size]:
    """As many levels as ``nn.pyramid.level_count`` has for a glimpse of 64 pixels."""
    sizes = [size]
    for _ in range(round(math.log2(max(size) / _TOP))):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def _ome(colour: bool, spacing: Spacing | None) -> dict[str, Any]:
    """What tifffile makes OME-XML of."""
    size = {} if spacing is None else {"PhysicalSizeX": spacing[0], "PhysicalSizeY": spacing[1]}
    return {"axes": "YXS" if colour else "YX", **size, **{f"{side}Unit": "mm" for side in size}}


def _strips(target: Path, size: Size, rows: Iterable[npt.NDArray[Any]], tile: int) -> Rows:
    """The rows anew, in strips (tile, W, C), the last one as high as is left."""
    height, width = size
    kept: list[npt.NDArray[Any]] = []
    waiting, seen, kind = 0, 0, None
    for given in rows:
        part = np.atleast_3d(given)
        kind = kind or (part.dtype, part.shape[1:])
        if part.dtype not in (np.uint8, np.uint16) or part.shape[1:] not in ((width, 1), (width, 3)):
            expected = f"rows of {width} grey or RGB pixels, uint8 or uint16"
            raise DataError(f"{target}: expected {expected}, got {part.shape} {part.dtype}")
        if (part.dtype, part.shape[1:]) != kind or seen + len(part) > height:
            raise DataError(f"{target}: expected {height} rows of one kind, got more, or some of {part.dtype}")
        seen += len(part)
        kept.append(part)
        waiting += len(part)
        while waiting >= tile:
            joined = kept[0] if len(kept) == 1 else np.concatenate(kept)
            yield joined[:tile]
            kept, waiting = [joined[tile:]], waiting - tile
    if seen != height:
        raise DataError(f"{target}: expected {height} rows, got {seen}")
    if waiting:
        yield np.concatenate(kept)


def _finest(strips: Rows, coarser: Sequence[_Level]) -> Rows:
    """The strips (h, W, C) of the finest level; the coarser ones are made on the way."""
    for strip in strips:
        for start in range(0, len(strip), _STRIP):
            rows = np.moveaxis(strip[start : start + _STRIP], -1, 0).astype(np.float32)
            _push(coarser, torch.from_numpy(rows))
        yield strip


def _counted(strips: Rows, done: int, total: int, progress: Progress | None) -> Rows:
    """The strips, of which ``progress`` is told as they go by; ``done`` rows came before them."""
    for strip in strips:
        done += len(strip)
        if progress is not None:
            progress(done, total)
        yield strip


def _tiles(strips: Rows, tile: int, colour: bool) -> Rows:
    """Tiles of the strips from left to right, filled up with the edge, which compresses well."""
    for strip in strips:
        height, width = strip.shape[:2]
        for left in range(0, width, tile):
            part = strip[:, left : left + tile]
            whole = np.pad(part, ((0, tile - height), (0, tile - part.shape[1]), (0, 0)), mode="edge")
            yield whole if colour else whole[..., 0]
