"""The network of the cross-task paper: a timm encoder and three transposed convolutions (SimpleBaseline).

Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; cross-task paper, section 2.2:
three layers of 256 channels, 4 x 4 kernels and stride 2 after the encoder, each with batch normalisation and ReLU, then
a 1 x 1 convolution. From an encoder of reduction 32 that gives maps at a quarter of the input.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import nn

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.nn.backbones import build_encoder, examine
from trigpoint.nn.base import HEAD_STD, EncoderNetwork


class SimpleBaseline(EncoderNetwork):
    """A timm encoder whose deepest features are enlarged by transposed convolutions, without skip connections.

    ``encoder``, ``pretrained`` and ``weights`` as in ``TimmUNet``; ``deconvolutions`` of ``width`` channels each. The
    transposed convolutions are centred on their cells; where an encoder's features lie between cells, the first of them
    has to learn the half cell, as in the original.

    Raises ConfigError as ``TimmUNet``, and when the encoder's reduction is less than the enlargement.

    >>> net = SimpleBaseline(in_channels=3, num_landmarks=14, encoder="resnet10t", width=8)
    >>> net(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 14, 16, 24])
    """

    class Config(config.Config):
        """Options of ``SimpleBaseline``."""

        name: Literal["simple_baseline"] = "simple_baseline"
        encoder: str = "resnet50"
        pretrained: bool = False
        weights: str | None = None
        deconvolutions: int = 3
        width: int = 256

    def __init__(
        self,
        in_channels: int,
        num_landmarks: int,
        encoder: str = "resnet50",
        pretrained: bool = False,
        weights: str | None = None,
        deconvolutions: int = 3,
        width: int = 256,
    ) -> None:
        super().__init__(in_channels, num_landmarks)
        for name, value in (("deconvolutions", deconvolutions), ("width", width)):
            if value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        if pretrained and weights is not None:
            raise ConfigError("pretrained and weights: expected one of the two; drop pretrained=true or weights")
        self.encoder = build_encoder(encoder, in_channels, pretrained, weights)
        channels, _ = examine(self.encoder, encoder, in_channels)
        self.multiple = max(channels)
        if self.multiple < 2**deconvolutions:
            raise ConfigError(
                f"deconvolutions: expected at most {self.multiple.bit_length() - 1} after encoder '{encoder}', whose "
                f"features are 1/{self.multiple} of the input, got {deconvolutions}"
            )
        self.stride = self.multiple >> deconvolutions
        layers: list[nn.Module] = []
        for step in range(deconvolutions):
            depth = width if step else channels[self.multiple]
            layers += [nn.ConvTranspose2d(depth, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.decoder = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, num_landmarks, 1)
        for layer in self.decoder:
            if isinstance(layer, nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(cast(torch.Tensor, self.head.bias))

    def decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        """Maps from the deepest features."""
        maps: torch.Tensor = self.head(self.decoder(features[-1]))
        return maps
