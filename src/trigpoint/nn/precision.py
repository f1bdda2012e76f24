"""Which layers compute in 32 bits although all else is in bfloat16."""

from functools import cache
from typing import Any, cast

import torch
from torch import nn


class _InFloat:
    """What a layer becomes that leaves bfloat16 on a CPU: its it computes in 32 bits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the layer, outside of a CPU's autocast."""
        plain: Any = super()
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return plain.forward(x)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            return plain.forward(x.float()).to(x.dtype)  # type: ignore[no-any-return]


@cache
def _in_float(kind: Any) -> Any:
    return type(kind.__name__, (_InFloat, kind), {"__module__": kind.__module__})


def grouped_in_float(network: nn.Module) -> nn.Module:
    """Let the grouped convolutions of a network compute in 32 bits on a CPU; returns the network.

    Going back through a depthwise convolution in bfloat16 takes oneDNN some ten times as long as in 32 bits: a step of
    EfficientNet-lite0 in a U-Net took 1.3 times as long as without bfloat16, and takes 0.8 times as long with these
    layers left out of it (one core with AMX, torch 2.14). Weights and their names stay as they are.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and not isinstance(layer, _InFloat):
            layer.__class__ = _in_float(cast(Any, type(layer)))
    return network
