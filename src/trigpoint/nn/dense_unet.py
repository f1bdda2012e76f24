"""The Dense U-Net of the Adaloss paper (Teixeira et al. 2019, section 4.3; after Li et al., H-DenseUNet, 2018).

The paper states 23 convolutions of kernel 11 with batch normalisation and ReLU, and no layout. This one: stem 1, four
encoder levels of 2, bottom 2, four decoder levels of 2, three transitions between encoder levels, head 1.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from trigpoint.nn.base import (
    Activation,
    ConvolutionConfig,
    LandmarkNetwork,
    Output,
    conv,
    conv_block,
    double,
    initialise,
)

LEVELS = 4


class DenseBlock(nn.Module):
    """Two convolutions of ``growth`` channels, each fed with everything before it, (B, C, H, W) -> (B, C', H, W).

    Gives all features, C' = C + 2 growth, or with ``only_new`` just those of the two convolutions, C' = 2 growth.
    """

    def __init__(
        self, channels: int, growth: int, kernel: int, activation: Activation, depthwise: bool, only_new: bool = False
    ) -> None:
        super().__init__()
        self.first = conv_block(channels, growth, kernel, activation, depthwise=depthwise)
        self.second = conv_block(channels + growth, growth, kernel, activation, depthwise=depthwise)
        self.only_new = only_new
        self.out_channels = 2 * growth if only_new else channels + 2 * growth

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        second = self.second(torch.cat([x, first], dim=1))
        return torch.cat([first, second] if self.only_new else [x, first, second], dim=1)


class DenseUNet(LandmarkNetwork):
    """23 convolutions with dense connections within each of nine levels and concatenated skips between them.

    >>> net = DenseUNet(in_channels=3, num_landmarks=2, width=4, growth=4, kernel=3)
    >>> net(torch.zeros(2, 3, 40, 17)).shape
    torch.Size([2, 2, 40, 17])
    """

    class Config(ConvolutionConfig):
        name: Literal["dense_unet"] = "dense_unet"
        kernel: int = Field(default=11, ge=1)
        """Side of the convolutions' kernels, an odd number."""
        width: int = Field(default=16, ge=1)
        """Channels of the stem."""
        growth: int = Field(default=16, ge=1)
        """Channels that each convolution of a level adds."""
        depthwise: bool = False
        """One convolution per channel, then a 1 x 1: about 1/20 of the operations with kernel 11."""
        compression: float = Field(default=0.5, gt=0, le=1)
        """Share of the channels that is kept between levels."""

    options: Config

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__(in_channels, num_landmarks, *given, **options)
        width, growth, kernel = self.options.width, self.options.growth, self.options.kernel
        activation, depthwise, stem_stride = self.options.activation, self.options.depthwise, self.options.stem_stride
        self.stride, self.multiple = stem_stride, stem_stride * 2**LEVELS
        self.stem = conv_block(in_channels, width, kernel, activation, stem_stride, depthwise)
        self.down, self.transitions, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        channels, skips = width, []
        for level in range(LEVELS):
            block = DenseBlock(channels, growth, kernel, activation, depthwise)
            self.down.append(block)
            channels = block.out_channels
            skips.append(channels)
            if level < LEVELS - 1:
                kept = max(1, int(channels * self.options.compression))
                self.transitions.append(conv_block(channels, kept, kernel, activation, depthwise=depthwise))
                channels = kept
        self.bottom = DenseBlock(channels, growth, kernel, activation, depthwise, only_new=True)
        channels = self.bottom.out_channels
        for skip in reversed(skips):
            block = DenseBlock(channels + skip, growth, kernel, activation, depthwise, only_new=True)
            self.up.append(block)
            channels = block.out_channels
        self.head = conv(channels, num_landmarks, kernel, depthwise=depthwise)
        initialise(self, last=self.head)

    def compute(self, x: torch.Tensor) -> Output:
        x = self.stem(x)
        skips = []
        for level, block in enumerate(self.down):
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(self.transitions[level](x) if level < len(self.transitions) else x, 2)
        x = self.bottom(x)
        for block in self.up:
            x = block(torch.cat([double(x), skips.pop()], dim=1))
        return Output(self.head(x))
