"""Batch normalisation where a batch has a single value of each channel: one image, and maps of one cell."""

from collections.abc import Callable
from typing import Any

from torch import nn


def allow_single_values(network: nn.Module, tell: Callable[[], None]) -> None:
    """Let its layers take their running statistics there, as in evaluation, where torch refuses to go on.

    A single value has no spread, and its mean would take everything out of it. ``tell`` is called the first time.
    """
    paused: set[nn.Module] = set()
    told: list[bool] = []

    def before(layer: nn.Module, given: tuple[Any, ...]) -> None:
        if layer.training and given[0].numel() == given[0].shape[1]:
            paused.add(layer.eval())
            if not told:
                told.append(True)
                tell()

    def after(layer: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        if layer in paused:
            paused.remove(layer.train())

    for layer in network.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.register_forward_pre_hook(before)
            layer.register_forward_hook(after)
