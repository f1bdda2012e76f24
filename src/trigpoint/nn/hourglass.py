"""Stacked hourglass network, the comparison of the cross-task paper.

Newell, Yang, Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016: an hourglass goes from a quarter
of the input down to a single view of it and up again, adding what it passed at each resolution; several of them follow
one another, each with maps of its own that learn from the same targets (intermediate supervision) and are fed to the
next.
"""

from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from trigpoint import config
from trigpoint.nn.base import LandmarkNetwork, Output, conv_block, initialise


class Hourglass(LandmarkNetwork):
    """``stacks`` hourglasses of ``width`` channels and ``depth`` halvings, maps at a quarter of the input.

    The number of stacks is not stated in the cross-task paper; 2 of 256 channels are usual. The first convolution has
    an even kernel, which is centred on the cells it makes (the original's is odd: half a pixel off).

    >>> net = Hourglass(3, 14, width=16).eval()
    >>> net(torch.zeros(2, 3, 64, 64)).shape, len(net.run(torch.zeros(2, 3, 64, 64)).earlier)
    (torch.Size([2, 14, 16, 16]), 1)
    """

    class Config(config.Component):
        name: Literal["hourglass"] = "hourglass"
        stacks: int = Field(default=2, ge=1)
        """Hourglasses one after the other."""
        width: int = Field(default=256, ge=4)
        """Channels of the hourglasses."""
        depth: int = Field(default=4, ge=1, le=6)
        """Halvings of the resolution in each."""

    options: Config
    stride = 4

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__(in_channels, num_landmarks, *given, **options)
        stacks, width, depth = self.options.stacks, self.options.width, self.options.depth
        self.multiple = self.stride * 2**depth
        half = max(width // 2, 2)
        self.stem = nn.Sequential(
            conv_block(in_channels, max(width // 4, 2), 7, "relu", stride=2),
            Residual(max(width // 4, 2), half),
            nn.AvgPool2d(2),
            Residual(half, half),
            Residual(half, width),
        )
        self.stacks = nn.ModuleList(Stack(width, depth, num_landmarks) for _ in range(stacks))
        self.features_back = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))
        self.maps_back = nn.ModuleList(nn.Conv2d(num_landmarks, width, 1) for _ in range(stacks - 1))
        initialise(self)
        for stack in self.stacks:
            head = cast(Stack, stack).head
            initialise(head, last=head)

    def compute(self, x: torch.Tensor) -> Output:
        x = self.stem(x)
        all_maps = []
        for number, stack in enumerate(self.stacks):
            features, maps = stack(x)
            all_maps.append(maps)
            if number < len(self.features_back):
                x = x + self.features_back[number](features) + self.maps_back[number](maps)
        return Output(all_maps[-1], tuple(all_maps[:-1]))


class Stack(nn.Module):
    """One hourglass and its maps: (B, C, H, W) -> features (B, C, H, W), maps (B, K, H, W)."""

    def __init__(self, width: int, depth: int, num_landmarks: int) -> None:
        super().__init__()
        self.skip = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.down = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.middle = Residual(width, width)
        self.up = nn.ModuleList(Residual(width, width) for _ in range(depth))
        self.after = nn.Sequential(Residual(width, width), conv_block(width, width, 1, "relu"))
        self.head = nn.Sequential(nn.Conv2d(width, num_landmarks, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        passed = []
        for skip, down in zip(self.skip, self.down, strict=True):
            passed.append(skip(x))
            x = down(F.max_pool2d(x, 2))
        x = self.middle(x)
        for up, by in zip(self.up, reversed(passed), strict=True):
            x = F.interpolate(up(x), scale_factor=2, mode="nearest") + by
        x = self.after(x)
        return x, self.head(x)


class Residual(nn.Module):
    """Bottleneck with normalisation before each convolution (He et al., ECCV 2016): 1 x 1, 3 x 3, 1 x 1."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        half = max(after // 2, 1)
        self.path = nn.Sequential(
            *(nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, half, 1, bias=False)),
            *(nn.BatchNorm2d(half), nn.ReLU(), nn.Conv2d(half, half, 3, 1, 1, bias=False)),
            *(nn.BatchNorm2d(half), nn.ReLU(), nn.Conv2d(half, after, 1)),
        )
        self.identity = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before, H, W) -> (B, after, H, W)."""
        return cast(torch.Tensor, self.identity(x) + self.path(x))
