"""The networks of the foveated pyramid, one for all landmarks or one for each, and where the guesses begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.compiler import is_exporting

from trigpoint.nn.side_by_side import at_once, in_turn
from trigpoint.nn.spatialized import GlimpseNetwork

if TYPE_CHECKING:
    from trigpoint.methods.foveated import FoveatedMethod

STACKS = 96  # glimpse stacks that go through the trunk at once in prediction: bounds the memory, not the result
LEAST_UNIT = 1.0  # input pixels; landmarks that all lie at one place have no spread to measure offsets in


class FoveatedNetworks(nn.Module):
    """A network per landmark, or one for all, and where the guesses begin.

    ``parts`` are the landmarks (neighbouring columns of the K) of each network, ``all`` all of them.
    """

    start_mean: Tensor
    start_sd: Tensor

    def __init__(self, method: FoveatedMethod.Config, count: int, channels: int, levels: int) -> None:
        super().__init__()
        self.by_spread, self.half_patch = method.unit == "spread", method.glimpse * 2 ** (levels - 1) / 2
        self.all, self.at_once = list(range(count)), method.at_once
        self.parts = [self.all] if method.shared else [[k] for k in self.all]
        self.networks = nn.ModuleList(GlimpseNetwork(len(part), channels, levels, method) for part in self.parts)
        self.coarse: nn.Module | None = None  # the first stage of a cascade
        self.register_buffer("start_mean", torch.zeros(count, 2))
        self.register_buffer("start_sd", torch.zeros(count, 2))

    @property
    def unit(self) -> Tensor:
        """What an output of 1 means, (K, 1) input pixels; of a spread the mean over both axes, as glimpses turn."""
        if self.by_spread:
            return self.start_sd.mean(-1, keepdim=True).clamp_min(LEAST_UNIT)
        return torch.full_like(self.start_sd[:, :1], self.half_patch)

    def forward(self, stacks: Tensor, columns: list[int]) -> Tensor:
        """Offsets (M, n, 2) of glimpse stacks (M, n, L, C, g, g) of the landmarks ``columns``: one part, or all."""
        if len(self.networks) == 1:
            return self.networks[0](_channels_last(stacks))  # type: ignore[no-any-return]
        chosen, own = [self.networks[k] for k in columns], stacks.transpose(0, 1)[:, :, None]  # (n, M, 1, L, C, g, g)
        offsets = at_once(chosen, own) if self.together(stacks) else in_turn(chosen, map(_channels_last, own))
        return offsets[:, :, 0].transpose(0, 1)

    def together(self, stacks: Tensor) -> bool:
        """Whether networks for a landmark each see ``stacks`` in one pass."""
        if is_exporting():  # a graph has no batches of weights
            return False
        return stacks.is_cuda if self.at_once is None else self.at_once

    def by_parts(self, stacks: Tensor) -> Tensor:
        """Offsets (M, K, 2) of all landmarks, so many stacks at a time that the memory stays bounded."""
        rows = max(1, STACKS // len(self.all))
        return torch.cat([self(part, self.all) for part in torch.split(stacks, rows)])


def _channels_last(stacks: Tensor) -> Tensor:
    """Glimpses (..., L, C, g, g) in the order of memory that convolutions are fastest with."""
    flat = stacks.flatten(0, -4).contiguous(memory_format=torch.channels_last)
    return flat.reshape(stacks.shape)
