"""Weights of a network of other landmarks: which of its numbers belong to which landmark, and taking them over by name.

Where the landmarks are in a network is not declared but seen: build it for one landmark more, and the axes that have
become longer are theirs. So it works for every network of the table, and for those of other packages.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


def landmark_axes(make: Callable[[int], nn.Module], count: int) -> dict[str, int]:
    """The axis that runs over the landmarks, of each tensor that has one, in the network that ``make`` gives for
    ``count`` of them; no random number is used up.

    >>> landmark_axes(lambda count: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, count)), 2)
    {'1.weight': 0, '1.bias': 0}
    """
    with torch.random.fork_rng(devices=[]):
        small, large = (make(number).state_dict() for number in (count, count + 1))
    found = {}
    for key, tensor in small.items():
        longer = [axis for axis, (a, b) in enumerate(zip(tensor.shape, large[key].shape, strict=True)) if a != b]
        if longer:
            found[key] = longer[0]
    return found


@torch.no_grad()
def inherit(
    network: nn.Module,
    state: Mapping[str, Tensor],
    axes: Mapping[str, int],
    before: Sequence[str],
    now: Sequence[str],
) -> list[str]:
    """Give ``network`` for the landmarks ``now`` the weights ``state`` of one for the landmarks ``before``.

    Landmarks of both keep what is theirs, new ones begin as they are. Returns the keys that did not fit, with which
    nothing was done.
    """
    left = []
    pairs = [(i, before.index(name)) for i, name in enumerate(now) if name in before]
    for key, tensor in network.state_dict().items():
        axis, given = axes.get(key), state.get(key)
        shape = list(tensor.shape)
        if axis is not None:
            shape[axis] = len(before)
        if given is None or list(given.shape) != shape:
            left.append(key)
        elif axis is None:
            tensor.copy_(given)
        else:
            for i, j in pairs:
                tensor.select(axis, i).copy_(given.select(axis, j))
    return left


def rows(tensor: Tensor, axis: int, places: Sequence[int]) -> Tensor:
    """A copy of what a tensor holds of the landmarks at these places."""
    return tensor.detach().index_select(axis, torch.tensor(places, device=tensor.device)).clone()
