"""A Gaussian pyramid and glimpses of it: the input of the foveated pyramid (Gilmour & Ray, arXiv 2008.04428).

A glimpse is a stack of square patches around one point, one per level. Each level shows twice the extent of the one
before with the same number of pixels, so what a glimpse costs grows with the logarithm of the image's side.

All levels agree on where a point lies: cell i of level l is centred at the image pixel ``geometry.from_grid(i, 2**l)``.
(In the official code level l lies half of 2**l pixels off, because it keeps every second pixel.)
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import glimpse_points, halve, sample_points


def level_count(size: tuple[int, int], glimpse: int = 64) -> int:
    """Levels at which the coarsest one of an image of ``size`` (H, W) roughly fits into one glimpse.

    >>> level_count((2400, 1935)), level_count((64, 64)), level_count((32768, 32768))
    (6, 1, 10)
    """
    return max(1, round(math.log2(max(size) / glimpse)) + 1)


class GlimpseSource(Protocol):
    """What glimpses are taken from: images in memory (``TensorPyramid``) or a file on disk (``LazyPyramid``)."""

    size: tuple[int, int]
    levels: int

    def glimpses(self, centers: torch.Tensor, side: int, linear: torch.Tensor | None = None) -> torch.Tensor:
        """Glimpses (B, N, L, C, side, side) at ``centers`` (B, N, 2) in pixels of level 0, 0 outside the image.

        ``linear`` (B, N, 2, 2) turns and scales each whole stack, see ``geometry.glimpse_points``.
        """
        ...


class GaussianPyramid(nn.Module):
    """Images (B, C, H, W) to a list of levels, each half the size of the one before, level 0 the image itself.

    ``levels`` None: as many as let the coarsest roughly fit one ``glimpse``. Raises ConfigError for numbers below 1,
    DataError for another shape.

    >>> [tuple(level.shape[-2:]) for level in GaussianPyramid(glimpse=64)(torch.zeros(1, 1, 300, 255))]
    [(300, 255), (150, 128), (75, 64)]
    """

    def __init__(self, glimpse: int = 64, levels: int | None = None) -> None:
        super().__init__()
        for name, value in (("glimpse", glimpse), ("levels", levels)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        self.glimpse, self.levels = glimpse, levels

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        if image.dim() != 4 or 0 in image.shape:
            raise DataError(f"pyramid: expected images of shape (B, C, H, W), got {tuple(image.shape)}")
        count = self.levels or level_count((int(image.shape[2]), int(image.shape[3])), self.glimpse)
        out = [image]
        while len(out) < count:
            out.append(halve(out[-1]))
        return out


class TensorPyramid:
    """Glimpses of images in memory; ``pixels`` are the levels that ``GaussianPyramid`` gives of a batch."""

    def __init__(self, pixels: Sequence[torch.Tensor]) -> None:
        self.pixels = tuple(pixels)
        self.levels = len(self.pixels)
        self.size = (int(self.pixels[0].shape[2]), int(self.pixels[0].shape[3]))

    def glimpses(self, centers: torch.Tensor, side: int, linear: torch.Tensor | None = None) -> torch.Tensor:
        """As ``GlimpseSource`` says; differentiable by the centres, the linear map and the pixels.

        >>> source = TensorPyramid(GaussianPyramid()(torch.ones(1, 1, 256, 256)))
        >>> source.glimpses(torch.tensor([[[127.5, 127.5]]]), 64).shape
        torch.Size([1, 1, 3, 1, 64, 64])
        """
        stack = []
        for level, pixels in enumerate(self.pixels):
            points = glimpse_points(centers.to(pixels), side, 2**level, linear)
            stack.append(sample_points(pixels, points).movedim(1, 2))
        return torch.stack(stack, dim=2)
