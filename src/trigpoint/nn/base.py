"""What every landmark network is: an image of any size in, one map per landmark out, aligned to the pixel."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import nn
from torch.nn import functional as F

from trigpoint import config
from trigpoint.errors import ConfigError

Activation = Literal["relu", "leaky_relu"]

HEAD_STD = 1e-3  # standard deviation of the last layer's initial weights: the first maps are all but zero


class Output(NamedTuple):
    """What a network gives: its ``maps`` (B, K, h, w); those of ``earlier`` stacks, which learn from the same
    targets; and, where it has an encoder, the features (B, C, h', w') of its ``levels``, finest first."""

    maps: torch.Tensor
    earlier: tuple[torch.Tensor, ...] = ()
    levels: tuple[torch.Tensor, ...] = ()


class LandmarkNetwork(nn.Module, ABC):
    """Base of the networks: images (B, C, H, W) -> maps (B, K, ceil(H / stride), ceil(W / stride)).

    Map cell (i, j) is centred at the input pixel ``geometry.from_grid((j, i), stride)``. An input whose sides are no
    multiples of ``multiple`` is continued at the right and at the bottom by its last pixels, so that pixel (0, 0) keeps
    its place, and the maps are cut back. Raises ConfigError for options out of range.
    """

    Config: ClassVar[type[config.Component]]
    options: config.Component
    stride: int
    multiple: int

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("num_landmarks", num_landmarks)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        self.options = self.Config.of(*given, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B, K, ceil(H / stride), ceil(W / stride)) of images (B, C, H, W)."""
        return self.run(x).maps

    def run(self, x: torch.Tensor) -> Output:
        """Maps as ``forward``, and what training may want besides."""
        height, width = x.shape[-2:]
        out = self.compute(self.padded(x))
        maps, *earlier = (
            m[..., : -(-height // self.stride), : -(-width // self.stride)] for m in (out.maps, *out.earlier)
        )
        return Output(maps, tuple(earlier), out.levels)

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """Images continued to sides that are multiples of ``multiple``."""
        bottom, right = -x.shape[-2] % self.multiple, -x.shape[-1] % self.multiple
        return F.pad(x, (0, right, 0, bottom), mode="replicate") if bottom or right else x

    @abstractmethod
    def compute(self, x: torch.Tensor) -> Output:
        """The network proper, for images whose sides are multiples of ``multiple``."""


class ConvolutionConfig(config.Component):
    """What the networks of convolutions of one kernel size have in common."""

    kernel: int = Field(default=5, ge=1)
    """Side of the convolutions' kernels, an odd number."""
    activation: Activation = "relu"
    """Activation after each convolution but the last."""
    stem_stride: Literal[1, 2, 4] = 1
    """Stride of the first convolution, and so of the maps; 2 takes about a quarter of the time."""

    @field_validator("kernel")
    @classmethod
    def _check_odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"expected an odd number, got {kernel}; an even one shifts the maps by half a pixel")
        return kernel

    @model_validator(mode="after")
    def _check_stem(self) -> Self:
        if self.stem_stride > self.kernel + 1:
            raise ValueError(
                f"stem_stride: expected at most kernel + 1 = {self.kernel + 1}, got {self.stem_stride}; pixels get lost"
            )
        return self


class EncoderNetwork(LandmarkNetwork):
    """A network that decodes the features of an encoder, which may come from another task."""

    encoder: nn.Module

    def compute(self, x: torch.Tensor) -> Output:
        features: list[torch.Tensor] = self.encoder(x)
        return Output(self.decode(features), levels=tuple(features))

    @abstractmethod
    def decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps from the encoder's features, finest first."""


def conv_block(
    in_channels: int, out_channels: int, kernel: int, activation: Activation, stride: int = 1, depthwise: bool = False
) -> nn.Sequential:
    """Convolution, batch normalisation, activation; ``depthwise`` splits it into one per channel and a 1 x 1."""
    layers: list[nn.Module] = [*conv(in_channels, out_channels, kernel, stride, depthwise, bias=False)]
    layers += [nn.BatchNorm2d(out_channels), nn.ReLU() if activation == "relu" else nn.LeakyReLU()]
    return nn.Sequential(*layers)


def conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, depthwise: bool = False, bias: bool = True
) -> nn.Sequential:
    """Convolution centred on the cells it makes.

    Striding takes a kernel one larger, and so even: an odd one would be centred on every second pixel instead of
    between two, which shifts its maps by half a pixel.
    """
    if stride > 1:
        kernel += 1
    padding = (kernel - stride) // 2
    if not depthwise:
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=bias))
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, kernel, stride, padding, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=bias),
    )


def initialise(module: nn.Module, last: nn.Module | None = None) -> None:
    """He initialisation of all convolutions of ``module``; the one that ends ``last`` starts near zero."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    if last is not None:
        nn.init.normal_([layer for layer in last.modules() if isinstance(layer, nn.Conv2d)][-1].weight, std=HEAD_STD)


def initialise_head(head: nn.Conv2d) -> None:
    """Weights near zero and no bias, for a last layer of a network that is otherwise initialised as torch does."""
    nn.init.normal_(head.weight, std=HEAD_STD)
    if head.bias is not None:
        nn.init.zeros_(head.bias)


def double(x: torch.Tensor) -> torch.Tensor:
    """Bilinear enlargement by 2 that keeps the centre of the image in place (B, C, H, W) -> (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
