"""The pixels of an image moved by the maps that move its points, in one resampling."""

import math
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry.elastic import Displacement
from trigpoint.geometry.points import Affine, pixel_centers, within


def resample(
    image: torch.Tensor, to_input: Affine, input_size: tuple[int, int], displacement: Displacement | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Show ``image`` (C, H, W) through ``to_input`` and then ``displacement``, with a single resampling.

    Returns float32 values (C, h, w) in the units of the image, continued beyond its edge, and a bool mask (h, w) of
    the pixels that lie within its extent. When the map shrinks, whole blocks of pixels are averaged first (against
    aliasing), and the position of their centres is part of the map.
    """
    if image.dim() != 3 or image.shape[1] < 1 or image.shape[2] < 1:
        raise DataError(f"expected an image of shape (channels, height, width), got {tuple(image.shape)}")
    if displacement is not None and displacement.size != input_size:
        raise ConfigError(f"displacement: expected one of the input's size {input_size}, got {displacement.size}")
    size = (int(image.shape[1]), int(image.shape[2]))
    if displacement is None and size == input_size and to_input.matrix.tolist() == [[1, 0, 0], [0, 1, 0]]:
        return image.to(torch.float32), torch.ones(size, dtype=torch.bool, device=image.device)  # nothing to resample
    back = to_input.inverse()
    x, y = _source_points(back, input_size, displacement, image.device)
    on_cpu = x.device.type == "cpu"  # where NumPy compares several times faster than torch
    mask = torch.from_numpy(within(x.numpy(), y.numpy(), size)) if on_cpu else within(x, y, size)
    (left, right), (top, bottom), block = _region(size, to_input, back, input_size, displacement)
    values = _block_mean(image[:, top:bottom, left:right], block)
    # grid_sample counts from -1 at the left edge to 1 at the right edge of the averaged region
    across, down = values.shape[2] * block[0] / 2, values.shape[1] * block[1] / 2
    grid = x.new_empty(*x.shape, 2)
    grid[..., 0] = x.sub_(left - 0.5 + across).div_(across)
    grid[..., 1] = y.sub_(top - 0.5 + down).div_(down)
    return F.grid_sample(values[None], grid[None], padding_mode="border", align_corners=False)[0], mask


def warp(
    image: torch.Tensor,
    to_input: Affine,
    input_size: tuple[int, int],
    displacement: Displacement | None = None,
    fill: float | Literal["edge"] = 0.0,
) -> torch.Tensor:
    """``resample`` with everything beyond the image set to ``fill``, or continued from its edge: float32 (C, h, w).

    >>> from trigpoint.geometry import fit
    >>> image = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)
    >>> warp(image, fit((4, 4), (2, 2)), (2, 2)).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    values, mask = resample(image, to_input, input_size, displacement)
    return values if fill == "edge" else values.masked_fill(~mask, fill)


def _source_points(
    back: Affine, input_size: tuple[int, int], displacement: Displacement | None, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y (h, w) of the image pixel that each input pixel shows."""
    x = pixel_centers(input_size[1], torch.float32, device)[None, :]
    y = pixel_centers(input_size[0], torch.float32, device)[:, None]
    if displacement is not None:
        dx, dy = torch.from_numpy(displacement.dense()).to(x)
        x, y = x + dx, y + dy
    (a, b, c), (d, e, f) = back.matrix.tolist()
    return a * x + (b * y + c), d * x + (e * y + f)


def _region(
    size: tuple[int, int],
    to_input: Affine,
    back: Affine,
    input_size: tuple[int, int],
    displacement: Displacement | None,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """The columns and rows (start, stop) that the input can show, and the block (x, y) to average before sampling."""
    reach = displacement.reach if displacement is not None else 0.0
    low, (right, bottom) = -0.5 - reach, (input_size[1] - 0.5 + reach, input_size[0] - 0.5 + reach)
    corners = back.apply(np.array([[low, low], [right, low], [low, bottom], [right, bottom]])).T.tolist()
    forward = to_input.matrix.T.tolist()
    spans, blocks = [], []
    for axis, length in enumerate((size[1], size[0])):
        # rounded, so that what is left to bilinear sampling shrinks by less than 1.5
        block = max(1, math.floor(1 / math.hypot(*forward[axis]) + 0.5))
        block = min(block, length)
        start = math.floor(min(corners[axis])) - 2 * block
        stop = math.ceil(max(corners[axis])) + 2 * block
        start = min(max(start, 0), length - 1)
        stop = min(max(stop, start + 1), length)
        spans.append((start, stop))
        blocks.append(block)
    return spans[0], spans[1], (blocks[0], blocks[1])


def _block_mean(image: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    """Means (C, ceil(H / y), ceil(W / x)) of blocks, the edge repeated to fill the last ones; float32.

    Sums of strided slices: for 8-bit images faster than pooling, which has to make them all float first.
    """
    if block == (1, 1):
        return image.to(torch.float32)
    total = image.to(torch.int32) if image.dtype == torch.uint16 else image  # torch does not add uint16
    for dim, n in ((1, block[1]), (2, block[0])):
        if n == 1:
            continue
        short = -total.shape[dim] % n
        if short:
            edge = total.narrow(dim, total.shape[dim] - 1, 1)
            total = torch.cat([total, *[edge] * short], dim)
        wide = torch.float32 if total.is_floating_point() or dim == 2 else torch.int32
        part = (slice(None),) * dim
        parts = [total[(*part, slice(i, None, n))] for i in range(n)]
        total = parts[0].to(wide, copy=True)
        for other in parts[1:]:
            total += other
    return total.to(torch.float32) / (block[0] * block[1])
