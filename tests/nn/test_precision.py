"""Grouped convolutions leave bfloat16 on a CPU, and nothing else about them changes."""

import copy

import pytest
import torch
from torch import nn

from trigpoint.nn.precision import grouped_in_float


def convolutions() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8))


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def test_a_grouped_layer_computes_in_32_bits_and_gives_back_what_it_got(image: torch.Tensor) -> None:
    plain, kept = convolutions(), grouped_in_float(convolutions())
    with torch.autocast("cpu", torch.bfloat16):
        inside = plain[0](image)
        half, whole = plain[1](inside), kept[1](inside)
    assert whole.dtype == inside.dtype == torch.bfloat16
    exact = plain[1](inside.float())
    assert torch.equal(whole, exact.bfloat16())
    assert not torch.equal(half, whole)  # so that the layer was not computed in bfloat16


def test_nothing_changes_outside_of_bfloat16(image: torch.Tensor) -> None:
    plain, kept = convolutions(), grouped_in_float(convolutions())
    assert torch.equal(plain(image), kept(image))
    assert list(plain.state_dict()) == list(kept.state_dict())


def test_a_copy_has_weights_of_its_own(image: torch.Tensor) -> None:
    kept = grouped_in_float(grouped_in_float(convolutions()))  # twice is once
    before, copied = kept(image), copy.deepcopy(kept)
    with torch.no_grad():
        for weights in kept.parameters():
            weights.zero_()
    assert torch.equal(copied(image), before)


def test_gradients_reach_all_weights(image: torch.Tensor) -> None:
    kept = grouped_in_float(convolutions())
    with torch.autocast("cpu", torch.bfloat16):
        kept(image).float().square().mean().backward()
    assert all(weights.grad is not None and weights.grad.abs().sum() > 0 for weights in kept.parameters())
