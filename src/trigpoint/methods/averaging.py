"""The averaged weights (EMA) that are validated, kept and used in place of those that the optimizer moves."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class RunningAverage(AveragedModel):
    """Exponential moving average of a network's parameters and buffers, counts in them taken over as they are.

    The decay starts low, min(``decay``, (1 + n) / (10 + n)) at update n, so that early weights are soon forgotten; the
    first update copies. State and use are those of ``AveragedModel``; only an update is quicker: which tensors belong
    together is looked up once, which on small networks takes longer than averaging them.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = RunningAverage(network, decay=0.9)
    >>> for value in (1.0, 2.0):
    ...     _ = nn.init.constant_(network.weight, value)
    ...     average.update_parameters(network)
    >>> round(average.module.weight.item(), 4)  # decay (1 + 1) / (10 + 1)
    1.8182
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.requires_grad_(False)
        self.decay = decay
        self.forget()

    def forget(self) -> None:
        """Look the tensors up again at the next update: a move to another device or a loaded state replaces them."""
        self._groups: list[tuple[list[Tensor], list[Tensor]]] = []
        self._done = 0

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights of ``model``, the network as it is now."""
        if not self._groups:
            self._groups = _groups(self.module, model)
            self._done = int(self.n_averaged)
        share = min(self.decay, (1 + self._done) / (10 + self._done)) if self._done else 0.0
        for averaged, current in self._groups:
            if averaged[0].is_floating_point():
                cast(Any, torch)._foreach_lerp_(averaged, current, 1 - share)
            else:
                cast(Any, torch)._foreach_copy_(averaged, current)
        self._done += 1
        self.n_averaged += 1


def _groups(averaged: nn.Module, current: nn.Module) -> list[tuple[list[Tensor], list[Tensor]]]:
    """Tensors of both that correspond, those of one type and device together."""
    groups: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
    pairs = [*zip(averaged.parameters(), current.parameters(), strict=True)]
    for mean, value in [*pairs, *zip(averaged.buffers(), current.buffers(), strict=True)]:
        means, values = groups.setdefault((mean.dtype, mean.device), ([], []))
        means.append(mean.detach())
        values.append(value.detach())
    return list(groups.values())
