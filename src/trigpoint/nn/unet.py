"""The U-Net of the Adaloss paper (Teixeira et al. 2019, section 4.2; Ronneberger et al., MICCAI 2015)."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from trigpoint.nn.base import ConvolutionConfig, LandmarkNetwork, Output, conv, conv_block, double, initialise


class UNet(LandmarkNetwork):
    """2 ``depth`` + 1 convolutions of one kernel size: one per level down, one at the bottom, one per level up.

    With the defaults that is the paper's network of 9 convolutions with kernel 5, batch normalisation and ReLU; the
    last of them makes the maps itself. Level l has ``width`` * 2^l channels; 2 x 2 max pooling goes down, bilinear
    enlargement up, skip connections are concatenated. ``stem_stride`` 2 or 4 puts one strided convolution in front.

    >>> UNet(in_channels=1, num_landmarks=3, width=4)(torch.zeros(2, 1, 33, 50)).shape
    torch.Size([2, 3, 33, 50])
    """

    class Config(ConvolutionConfig):
        name: Literal["unet"] = "unet"
        width: int = Field(default=32, ge=1)
        """Channels of the finest level; each further level has twice as many."""
        depth: int = Field(default=4, ge=1)
        """Levels below the finest."""

    options: Config

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__(in_channels, num_landmarks, *given, **options)
        width, depth, kernel = self.options.width, self.options.depth, self.options.kernel
        activation, stem_stride = self.options.activation, self.options.stem_stride
        self.stride, self.multiple = stem_stride, stem_stride * 2**depth
        channels = [width * 2**level for level in range(depth + 1)]
        self.stem: nn.Module = nn.Identity()
        if stem_stride > 1:
            self.stem = conv_block(in_channels, width, kernel, activation, stem_stride)
            in_channels = width
        inputs = [in_channels, *channels[:-1]]
        self.down = nn.ModuleList(conv_block(inputs[i], channels[i], kernel, activation) for i in range(depth))
        self.bottom = conv_block(channels[-2], channels[-1], kernel, activation)
        self.up = nn.ModuleList(
            conv_block(channels[i + 1] + channels[i], channels[i], kernel, activation) for i in range(depth - 1, 0, -1)
        )
        self.head = conv(channels[1] + channels[0], num_landmarks, kernel)
        initialise(self, last=self.head)

    def compute(self, x: torch.Tensor) -> Output:
        x = self.stem(x)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for block in [*self.up, self.head]:
            x = block(torch.cat([double(x), skips.pop()], dim=1))
        return Output(x)
