"""The levels of an image pyramid and square glimpses of them, all levels agreeing on where a point lies."""

import torch
from torch.nn import functional as F

from trigpoint.geometry.points import pixel_centers, to_grid

PYRAMID_TAPS = (0.0020444, 0.0718655, 0.4260901, 0.4260901, 0.0718655, 0.0020444)
"""Weights of the pixels -2.5 to 2.5 away from the middle of a coarser one: a Gaussian of sd sqrt(2 ln 2) / (pi / 2) =
0.7496, as the official code of the foveated pyramid has it, but centred between two pixels and not on every second."""


def halve(image: torch.Tensor) -> torch.Tensor:
    """The next coarser level (B, C, ceil(H / 2), ceil(W / 2)) of a pyramid, smoothed by ``PYRAMID_TAPS``; 0 outside.

    Its cell i is centred on the middle of the pixels 2 i and 2 i + 1, which is what ``to_grid(..., 2)`` says.

    >>> halve(torch.ones(1, 1, 16, 16))[0, 0, 4, 4].item()
    1.0
    """
    far, near, middle = PYRAMID_TAPS[:3]
    for axis in (-2, -1):  # rows first: they lie apart in memory, and half of them go
        n = int(image.shape[axis])
        cells = (n + 1) // 2
        padded = F.pad(image, (2, 2 + n % 2) if axis == -1 else (0, 0, 2, 2 + n % 2))
        last = 2 * cells - 1
        if axis == -2:
            tap = [padded[..., i : i + last : 2, :] for i in range(6)]
        else:
            tap = [padded[..., i : i + last : 2] for i in range(6)]
        image = (tap[2] + tap[3]).mul(middle).add(tap[1] + tap[4], alpha=near).add(tap[0] + tap[5], alpha=far)
    return image


def glimpse_points(centers: torch.Tensor, side: int, stride: float, linear: torch.Tensor | None = None) -> torch.Tensor:
    """Where the pixels of square glimpses lie on a level of ``stride``: (..., side, side, 2), pixels of that level.

    ``centers`` (..., 2) in image pixels. The glimpse shows the level pixel by pixel, or, with ``linear`` (..., 2, 2),
    turned and scaled: the pixel o glimpse pixels away from the middle shows what is ``linear`` @ o from the centre.
    """
    along = pixel_centers(side, centers.dtype, centers.device) - (side - 1) / 2
    offsets = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)
    if linear is not None:
        offsets = torch.einsum("...ij,yxj->...yxi", linear, offsets)
    return to_grid(centers, stride)[..., None, None, :] + offsets


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Values (B, C, ...) of maps (B, C, H, W) at points (B, ..., 2) in their pixels: bilinear, 0 outside.

    Differentiable by both.

    >>> maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    >>> sample_points(maps, torch.tensor([[[0.5, 0.0], [1.0, 0.5], [9.0, 9.0]]]))
    tensor([[[0.5000, 2.5000, 0.0000]]])
    """
    # filled where it is used: a copy to a device would wait for all that the device has to do
    size = torch.cat([points.new_full((1,), maps.shape[-1]), points.new_full((1,), maps.shape[-2])])
    # grid_sample counts from -1 at the left edge to 1 at the right edge
    grid = ((points + 0.5) * (2 / size) - 1).reshape(points.shape[0], 1, -1, 2)
    values = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
    return values.reshape(*maps.shape[:2], *points.shape[1:-1])
