"""A residual U-Net for small machines: most of its work at a quarter of the input and below, in matrix-friendly widths.

Beyond the papers. The stem goes to a quarter (or half) of the resolution at once; blocks of two 3 x 3 convolutions with
an identity path (He et al. 2016) widen until 1/32, where every cell sees the whole input; the way up adds the skip
connections instead of concatenating them. Pooling averages 2 x 2 cells and upsampling repeats them, so that all levels
share their centres.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from trigpoint import config
from trigpoint.nn.base import LandmarkNetwork, Output, initialise_head


class ResUNet(LandmarkNetwork):
    """Residual U-Net with maps at ``stride`` of the input, and one residual block per level of the decoder.

    >>> ResUNet(1, 5, width=8)(torch.zeros(2, 1, 97, 64)).shape
    torch.Size([2, 5, 25, 16])
    """

    class Config(config.Component):
        name: Literal["res_unet"] = "res_unet"
        stride: Literal[2, 4] = 4
        """Input pixels per cell of the maps."""
        width: int = Field(default=64, ge=1)
        """Channels of the first level; each further level has twice as many."""
        max_width: int = Field(default=256, ge=1)
        """Most channels of a level."""
        blocks: int = Field(default=1, ge=1)
        """Residual blocks per level of the encoder."""

    options: Config
    multiple = 32

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__(in_channels, num_landmarks, *given, **options)
        stride, width = self.options.stride, self.options.width
        self.stride = stride
        fold = stride // 2
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(fold),
            nn.Conv2d(in_channels * fold**2, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        levels = {2: 5, 4: 4}[stride]  # down to 1/32
        widths = [min(width * 2**level, self.options.max_width) for level in range(levels)]
        befores = [width, *widths[:-1]]
        self.encoder = nn.ModuleList(
            nn.Sequential(_Block(before, after), *(_Block(after, after) for _ in range(self.options.blocks - 1)))
            for before, after in zip(befores, widths, strict=True)
        )
        up = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.Conv2d(below, here, 1) for below, here in up)
        self.skip = nn.ModuleList(nn.Conv2d(here, here, 1) for _, here in up)
        self.decoder = nn.ModuleList(_Block(here, here) for _, here in up)
        self.head = nn.Conv2d(width, num_landmarks, 1)
        initialise_head(self.head)

    def compute(self, x: torch.Tensor) -> Output:
        x = self.stem(x)
        features: list[torch.Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(F.avg_pool2d(x, 2) if level else x)
            features.append(x)
        for up, skip, block, feature in zip(self.up, self.skip, self.decoder, features[-2::-1], strict=True):
            x = block(F.interpolate(up(x), scale_factor=2.0, mode="nearest") + skip(feature))
        return Output(self.head(x))


class _Block(nn.Module):
    """relu(x + f(x)) with f two 3 x 3 convolutions; it starts as the identity, which lets training begin fast."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        same = before == after
        self.path = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        )
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(self.path(x) + y)
