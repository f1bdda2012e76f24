"""Networks side by side: one pass gives what a pass each gives, and teaches and moves each in the same way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from trigpoint.nn.side_by_side import at_once, in_turn
from trigpoint.nn.spatialized import GlimpseNetwork


def networks(**options: object) -> list[nn.Module]:
    torch.manual_seed(0)
    return [GlimpseNetwork(1, 1, 2, glimpse=16, trunk="small", **options) for _ in range(3)]


def seen() -> torch.Tensor:
    return torch.randn(3, 5, 1, 2, 1, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_one_pass_gives_teaches_and_moves_what_a_pass_each_does(activation: str) -> None:
    apart = networks(activation=activation)
    together = copy.deepcopy(apart)
    one, other = in_turn(apart, seen()), at_once(together, seen())
    torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5)
    one.square().sum().backward()
    other.square().sum().backward()
    for first, second in zip(apart, together, strict=True):
        for (name, p), q in zip(first.named_parameters(), second.parameters(), strict=True):
            assert p.grad is not None, name
            assert q.grad is not None, name
            assert (p.grad - q.grad).abs().max() <= 1e-5 * max(1.0, float(p.grad.abs().max())), name
        for (name, a), b in zip(first.named_buffers(), second.buffers(), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6, msg=name)
    assert not torch.equal(apart[0].get_buffer("active"), apart[1].get_buffer("active"))


def test_in_inference_nothing_moves() -> None:
    made = [network.eval() for network in networks()]
    before = [copy.deepcopy(network.state_dict()) for network in made]
    with torch.no_grad():
        torch.testing.assert_close(at_once(made, seen()), in_turn(made, seen()), rtol=1e-5, atol=1e-5)
    for network, state in zip(made, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_each_network_leaves_out_its_own_numbers() -> None:
    torch.manual_seed(0)
    same = [copy.deepcopy(networks(dropout=0.5)[0]) for _ in range(3)]
    found = at_once(same, seen()[:1].expand(3, -1, -1, -1, -1, -1, -1))
    assert not torch.allclose(found[0], found[1])
