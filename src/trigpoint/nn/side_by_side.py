"""Networks of one kind side by side, each on an input of its own: one after the other, or all in one pass.

One pass stacks the weights, so that a layer of all networks is one operation: a GPU is busy with it where one small
network after the other would mostly wait to be told what to do. On a CPU a pass each is as fast and needs the memory of
one.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state


def in_turn(networks: Sequence[nn.Module], inputs: Iterable[Tensor]) -> Tensor:
    """Outputs (N, ...) of N networks for their ``inputs``, N of them, one network after the other."""
    return torch.stack([network(given) for network, given in zip(networks, inputs, strict=True)])


def at_once(networks: Sequence[nn.Module], inputs: Tensor) -> Tensor:
    """The same numbers as ``in_turn`` but for rounding, of networks that differ in nothing but their weights.

    Gradients reach each network's own weights, and its buffers (running statistics) move as in a pass of its own.
    """
    weights = {
        name: torch.stack([network.get_parameter(name) for network in networks])
        for name, _ in networks[0].named_parameters()
    }
    buffers = stack_module_state(list(networks))[1]  # copies, which the pass changes in place

    def one(own: dict[str, Tensor], state: dict[str, Tensor], given: Tensor) -> Tensor:
        return functional_call(networks[0], (own, state), (given,))  # type: ignore[no-any-return]

    out: Tensor = torch.vmap(one, randomness="different")(weights, buffers, inputs)
    if networks[0].training:
        with torch.no_grad():
            for name, stacked in buffers.items():
                torch._foreach_copy_([network.get_buffer(name) for network in networks], list(stacked.unbind()))
    return out
