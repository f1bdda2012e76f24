"""The network of the cross-task paper: a timm encoder and three transposed convolutions (SimpleBaseline).

Xiao, Wu, Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018; cross-task paper, section 2.2:
three layers of 256 channels, 4 x 4 kernels and stride 2 after the encoder, each with batch normalisation and ReLU, then
a 1 x 1 convolution. From an encoder of reduction 32 that gives maps at a quarter of the input.
"""

from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import nn

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.nn.backbones import build_encoder, examine
from trigpoint.nn.base import EncoderNetwork, initialise_head
from trigpoint.recipe import WeightsConfig


class SimpleBaseline(EncoderNetwork):
    """A timm encoder whose deepest features are enlarged by transposed convolutions, without skip connections.

    The transposed convolutions are centred on their cells; where an encoder's features lie between cells, the first of
    them has to learn the half cell, as in the original.

    Raises ConfigError as ``TimmUNet``, and when the encoder's reduction is less than the enlargement.

    >>> net = SimpleBaseline(in_channels=3, num_landmarks=14, encoder="resnet10t", width=8)
    >>> net(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 14, 16, 24])
    """

    class Config(WeightsConfig, config.Component):
        name: Literal["simple_baseline"] = "simple_baseline"
        encoder: str = "resnet50"
        """Name of timm, with or without the tag of its weights, or ``hf_hub:owner/model``."""
        deconvolutions: int = Field(default=3, ge=1)
        """Transposed convolutions, each of which doubles the resolution."""
        width: int = Field(default=256, ge=1)
        """Channels of each transposed convolution."""

    options: Config

    def __init__(self, in_channels: int, num_landmarks: int, *given: Any, **options: Any) -> None:
        super().__init__(in_channels, num_landmarks, *given, **options)
        encoder, deconvolutions, width = self.options.encoder, self.options.deconvolutions, self.options.width
        self.encoder = build_encoder(encoder, in_channels, self.options.pretrained, self.options.weights)
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
        initialise_head(self.head)

    def decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        return cast(torch.Tensor, self.head(self.decoder(features[-1])))
