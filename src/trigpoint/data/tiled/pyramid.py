"""Glimpses of an image on disk: only the tiles that they touch are read, so that any size fits into memory.

``LazyPyramid`` gives what ``trigpoint.nn.pyramid.TensorPyramid`` would give of the same image prepared by
``InputPipeline``, and differs in what a file cannot hold: near the border of the image stored levels repeat its edge,
where the pyramid in memory mixes in zero (two to three pixels of each level), and values stored with 8 or 16 bit are
rounded.
"""

import math
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch.nn import functional as F

from trigpoint import geometry
from trigpoint.data.input.augment import as_tensor, to_channels, to_unit
from trigpoint.data.pixels.images import MAX_PIXELS
from trigpoint.data.tiled.image import TiledImage
from trigpoint.data.tiled.store import REMEDY
from trigpoint.data.tiled.write import halve_edge
from trigpoint.errors import DataError
from trigpoint.recipe import InputConfig

_SAMPLED_TILES = 256  # of which mean and standard deviation are taken
_DIRECT = 3  # halvings of a region that is read for one glimpse; what is coarser is made of the whole image, once
_STRIP = 2**22  # pixels that are reduced at a time
_FLAT = 1e-6  # relative spread below which an image counts as constant, as for InputPipeline
_MARGIN = 2  # pixels: so far beyond the image everything is 0


class _Source(NamedTuple):
    """Where a level comes from: stored ``level``, halved ``halvings`` times; then cells are ``stride`` pixels apart.

    ``blocks`` (x, y): how many samples of the source are averaged to one pixel of a glimpse.
    """

    level: int
    halvings: int
    stride: float
    blocks: tuple[int, int]


class LazyPyramid:
    """A ``GlimpseSource`` of one image (B = 1) that is read by tiles; see ``trigpoint.data.tiled.open_tiled``.

    The image is mapped into the ``canvas`` (H, W) as ``InputPipeline`` does (``input.fit``), level l has 2**l canvas
    pixels per pixel. Every level is taken from the coarsest stored one that is fine enough, reduced further by the
    pyramid's own filter when the file has no closer one. Levels more than 8 times coarser than the coarsest stored one
    are made of it once, strip by strip, and kept.

    Channels and intensities as ``input`` says; for ``normalize=image`` mean and standard deviation come from at most
    256 tiles spread evenly over what the canvas shows, of the stored level that level 0 is taken from: from every pixel
    when there are no more tiles than that. Beyond the image everything is 0.

    ``size`` (H, W) of the canvas; ``to_original`` (2, 3) float64, from canvas to image pixels. ``image`` stays the
    caller's to close. Raises DataError when a level would have to be made of a stored one above ``MAX_PIXELS`` pixels.

    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from trigpoint.data.tiled import open_tiled, write_tiled
    >>> file = write_tiled(Path(tempfile.mkdtemp()) / "a.tif", (256, 256), [np.eye(256, dtype=np.uint8)])
    >>> with open_tiled(file) as image:
    ...     pyramid = LazyPyramid(image, (256, 256), InputConfig(size=(256, 256)), levels=3)
    ...     pyramid.glimpses(torch.tensor([[[127.5, 127.5]]]), 64).shape
    torch.Size([1, 1, 3, 1, 64, 64])
    """

    def __init__(self, image: TiledImage, canvas: tuple[int, int], input: InputConfig, levels: int) -> None:
        self.image = image
        self.size = canvas
        self.levels = levels
        self.input = input
        to_canvas = geometry.fit(image.size, canvas, input.fit, input.region)
        self.to_original = torch.from_numpy(to_canvas.inverse().matrix.copy())
        # image pixels per canvas pixel along x and y; fit neither turns nor shears
        self._scale = (float(self.to_original[0, 0]), float(self.to_original[1, 1]))
        self._sources = [self._source(2.0**level) for level in range(levels)]
        self._kept: dict[tuple[int, int], torch.Tensor] = {}
        self._mean, self._sd = self._statistics()

    def glimpses(self, centers: torch.Tensor, side: int, linear: torch.Tensor | None = None) -> torch.Tensor:
        """As ``GlimpseSource`` says, for ``centers`` (1, N, 2); on the device of the centres, made on the CPU.

        Raises DataError for another batch size, centres that are not finite, and damaged tiles.
        """
        if centers.dim() != 3 or centers.shape[0] != 1 or centers.shape[2] != 2:
            raise DataError(f"glimpses of a tiled image: expected centres (1, N, 2), got {tuple(centers.shape)}")
        if not bool(torch.isfinite(centers).all()):
            raise DataError(f"{self.image.path}: expected finite centres of glimpses, got {centers.tolist()}")
        at = centers[0].to("cpu", torch.float64)
        turned = None if linear is None else linear[0].to("cpu", torch.float64)
        stack = [self._level(level, at, side, turned) for level in range(self.levels)]
        return torch.stack(stack, dim=1)[None].to(centers.device)

    def _level(self, level: int, centers: torch.Tensor, side: int, linear: torch.Tensor | None) -> torch.Tensor:
        """Glimpses (N, C, side, side) of one level at ``centers`` (N, 2)."""
        stride, source = 2.0**level, self._sources[level]
        points = geometry.glimpse_points(centers, side, stride, linear)
        columns, rows = source.blocks
        out = torch.zeros(len(centers), self.input.channels, side, side)
        for dx in geometry.to_grid(geometry.pixel_centers(columns, torch.float64), columns).tolist():
            for dy in geometry.to_grid(geometry.pixel_centers(rows, torch.float64), rows).tolist():
                cells = self._cells(source, geometry.from_grid(points + points.new_tensor([dx, dy]), stride))
                sampled = [self._sample(source, glimpse) for glimpse in cells]
                out = out + torch.stack(sampled) if sampled else out
        return out / (columns * rows)

    def _cells(self, source: _Source, points: torch.Tensor) -> torch.Tensor:
        """Canvas points (..., 2) as cells of a source, those far outside moved to where everything is 0 already."""
        cells = geometry.to_grid(geometry.map_points(self.to_original, points), source.stride)
        height, width = self._size(source)
        return torch.minimum(cells.clamp_min(-_MARGIN), cells.new_tensor([width, height]) + _MARGIN)

    def _sample(self, source: _Source, cells: torch.Tensor) -> torch.Tensor:
        """Values (C, side, side) at cells (side, side, 2), from the region that they span."""
        flat = cells.detach().reshape(-1, 2)
        left, top = (math.floor(value) for value in flat.amin(0).tolist())
        right, bottom = (math.floor(value) + 2 for value in flat.amax(0).tolist())
        patch = self._patch(source, top, left, bottom - top, right - left)
        local = (cells - cells.new_tensor([left, top])).to(torch.float32)
        return geometry.sample_points(patch[None], local[None])[0]

    def _patch(self, source: _Source, top: int, left: int, height: int, width: int) -> torch.Tensor:
        """Normalised values (C, height, width) of a region of a source, 0 outside the image."""
        rows, columns = self._size(source)
        y0, y1 = max(top, 0), min(top + height, rows)
        x0, x1 = max(left, 0), min(left + width, columns)
        if y0 >= y1 or x0 >= x1:
            return torch.zeros(self.input.channels, height, width)
        if source.halvings > _DIRECT:
            inner = self._whole(source)[:, y0:y1, x0:x1]
        elif source.halvings:
            # cell i is made of the cells 2 i - 2 to 2 i + 3; the first and the last one come out wrong and are cut off
            h, w = y1 - y0, x1 - x0
            finer = self._patch(_finer(source), 2 * y0 - 2, 2 * x0 - 2, 2 * h + 4, 2 * w + 4)
            inner = geometry.halve(finer[None])[0, :, 1 : 1 + h, 1 : 1 + w]
        else:
            unit = self._unit(self.image.read(source.level, y0, x0, y1 - y0, x1 - x0))
            inner = (unit - self._mean) / self._sd
        return F.pad(inner, (x0 - left, left + width - x1, y0 - top, top + height - y1))

    def _whole(self, source: _Source) -> torch.Tensor:
        """A source as a whole (C, h, w), normalised; kept, since every glimpse may need it."""
        key = (source.level, source.halvings)
        if key not in self._kept:
            finer = _finer(source)
            height, width = self._size(finer)
            if finer.halvings > _DIRECT:
                pixels = self._whole(finer)
            else:
                step = max(1, _STRIP // (width * 4**_DIRECT))
                tops = range(0, height, step)
                pixels = torch.cat([self._patch(finer, top, 0, min(step, height - top), width) for top in tops], dim=1)
            self._kept[key] = geometry.halve(pixels[None])[0]
        return self._kept[key]

    def _size(self, source: _Source) -> tuple[int, int]:
        height, width = self.image.levels[source.level].size
        return -(-height // 2**source.halvings), -(-width // 2**source.halvings)

    def _source(self, canvas_stride: float) -> _Source:
        """What shows the canvas at a stride: as coarse as it can be while bilinear sampling enlarges it by no more than
        4 / 3, and reduced until sampling shrinks it by less than 1.5, as ``geometry.resample`` does."""
        needs = [canvas_stride * scale for scale in self._scale]
        fine_enough = [i for i, stored in enumerate(self.image.levels) if stored.stride <= min(needs) * 4 / 3]
        level, halvings = max(fine_enough, default=0), 0
        stride = self.image.levels[level].stride
        while min(needs) >= 1.5 * stride:
            stride, halvings = 2 * stride, halvings + 1
        height, width = self.image.levels[level].size
        if halvings > _DIRECT and height * width > MAX_PIXELS:
            raise DataError(
                f"{self.image.path}: expected a stored level of at most {MAX_PIXELS} pixels to make the coarser ones "
                f"of, got {width} x {height}; {REMEDY}"
            )
        return _Source(level, halvings, stride, (max(1, round(needs[0] / stride)), max(1, round(needs[1] / stride))))

    def _unit(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return to_unit(to_channels(as_tensor(values).to(torch.float32), self.input.channels), self.image.value_range)

    def _statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What is subtracted and divided by, (C or 1, 1, 1); a constant image is divided by infinity."""
        if self.input.mean is not None and self.input.std is not None:
            return torch.tensor(self.input.mean)[:, None, None], torch.tensor(self.input.std)[:, None, None]
        if self.input.normalize == "unit":
            return torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
        source, total, squares, count = self._sources[0], 0.0, 0.0, 0
        for region in self._sampled(source):
            values = self._unit(self.image.read(source.level, *region))[None]
            for _ in range(source.halvings):
                values = halve_edge(values)
            values = F.avg_pool2d(values, source.blocks[::-1], ceil_mode=True).to(torch.float64)
            total, squares = total + float(values.sum()), squares + float(values.square().sum())
            count += values.numel()
        mean = total / max(count, 1)
        sd = math.sqrt(max(squares / max(count, 1) - mean**2, 0.0))
        flat = sd <= _FLAT * (1 + abs(mean))
        return torch.full((1, 1, 1), mean), torch.full((1, 1, 1), math.inf if flat else sd)

    def _sampled(self, source: _Source) -> list[tuple[int, int, int, int]]:
        """Regions (top, left, height, width) of a stored level: tiles, as far as the canvas shows them."""
        stored, tile = self.image.levels[source.level], self.image.tiles[source.level]
        middle, half = torch.tensor(geometry.center(self.size)), torch.tensor(self.size[::-1]) / 2
        corners = geometry.map_points(self.to_original, torch.stack([middle - half, middle + half]))
        (x0, y0), (x1, y1) = geometry.to_grid(corners, stored.stride).tolist()
        rows = _spread(max(math.ceil(y0), 0), min(math.floor(y1) + 1, stored.size[0]), tile[0])
        columns = _spread(max(math.ceil(x0), 0), min(math.floor(x1) + 1, stored.size[1]), tile[1])
        down = min(len(rows), max(1, round(math.sqrt(_SAMPLED_TILES * len(rows) / max(len(columns), 1)))))
        across = min(len(columns), max(1, _SAMPLED_TILES // max(down, 1)))
        down = min(len(rows), max(1, _SAMPLED_TILES // max(across, 1)))
        return [
            (top, left, bottom - top, right - left)
            for top, bottom in _evenly(rows, down)
            for left, right in _evenly(columns, across)
        ]


def _finer(source: _Source) -> _Source:
    return source._replace(halvings=source.halvings - 1, stride=source.stride / 2)


def _spread(start: int, stop: int, step: int) -> list[tuple[int, int]]:
    """The parts of start .. stop that lie in one tile each.

    >>> _spread(3, 10, 4)
    [(3, 4), (4, 8), (8, 10)]
    """
    return [(max(i * step, start), min((i + 1) * step, stop)) for i in range(start // step, -(-stop // step))]


def _evenly(parts: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """``count`` of the parts, each from the middle of its share.

    >>> _evenly([(i, i + 1) for i in range(9)], 3)
    [(1, 2), (4, 5), (7, 8)]
    """
    return [parts[(2 * i + 1) * len(parts) // (2 * count)] for i in range(count)]
