"""The prediction of a method as a list of steps, each a function of tensors alone, for graphs without PyTorch.

The first steps take ``images`` (1, C, h, w), a prepared input; the last give ``points`` (1, M, K, 2) in input pixels,
``scores`` (1, M, K) and perhaps ``spread`` (1, M, K), input pixels. Of methods with a threshold they may also take
``threshold`` (), the score that instances have to exceed. A step that is taken several times is one module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trigpoint.data.input.augment import InputPipeline
from trigpoint.landmarks import LandmarkSet
from trigpoint.recipe import InputConfig


@dataclass(frozen=True)
class GraphStep:
    """One step: the values that ``module`` takes and gives, by name.

    ``network``: it is all convolutions and products, so it may compute in less precision than the rest. ``rows``: all
    that it takes but the first value has any number of rows, at least 1.
    """

    module: nn.Module
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    network: bool = False
    rows: bool = False


class Nodes(nn.Module, ABC):
    """A step that PyTorch's exporter cannot translate and that is written as nodes; called, it gives an example."""

    @abstractmethod
    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Tensors of the types and shapes that the nodes give; a number of rows that varies is any above 1."""

    @abstractmethod
    def nodes(self, g: Any, *given: str) -> Sequence[str]:
        """Add the nodes to a graph, see ``geometry.graph``."""


class Calling(nn.Module):
    """A function of tensors as a module without weights; what it gives is a tuple."""

    def __init__(self, function: Callable[..., Tensor | Sequence[Tensor]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What the function gives."""
        found = self.function(*given)
        return (found,) if isinstance(found, Tensor) else tuple(found)


class Applying(nn.Module):
    """A function of a network and a tensor as a module with the weights of the network."""

    def __init__(self, network: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, given: Tensor) -> tuple[Tensor]:
        """What the function gives."""
        return (self.function(self.network, given),)


class Preparing(nn.Module):
    """Images (1, C, h, w) of values from 0 to 1 as another network sees them, and the matrix (1, 2, 3) back."""

    def __init__(self, input: InputConfig) -> None:
        super().__init__()
        self.input = input
        self.pipeline = InputPipeline(input, LandmarkSet(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """As ``InputPipeline`` does."""
        image, _, back = self.pipeline(images[0])
        return image[None], back[None]


@torch.no_grad()
def example_values(steps: Sequence[GraphStep], **given: Tensor) -> dict[str, Tensor]:
    """An example of every value of the steps, by name, from those that are ``given``."""
    values = dict(given)
    for step in steps:
        found = step.module(*(values[name] for name in step.takes))
        values |= dict(zip(step.gives, found, strict=True))
    return values
