"""Averaged weights against torch's own averaging, which is slower."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from trigpoint.methods.averaging import RunningAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def change(net: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    net.train()(torch.randn(2, 1, 8, 8))  # moves the running statistics and their count


def peer(net: nn.Module, decay: float) -> AveragedModel:
    def mean(averaged: Any, current: Any, count: Any) -> torch.Tensor:
        n = int(count)
        share = min(decay, (1 + n) / (10 + n))
        return share * averaged + (1 - share) * current if averaged.is_floating_point() else current

    return AveragedModel(net, avg_fn=mean, use_buffers=True)


def test_average_is_that_of_torch() -> None:
    net = network()
    ours, theirs = RunningAverage(net, 0.3), peer(net, 0.3)
    for step in range(6):
        change(net, step)
        ours.update_parameters(net)
        theirs.update_parameters(net)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(value, expected[key], msg=key)


def test_it_goes_on_from_a_stored_state_and_another_type() -> None:
    net = network()
    whole = RunningAverage(net, 0.9)
    states, stored = [], {}
    for step in range(4):
        change(net, step)
        states.append({key: value.clone() for key, value in net.state_dict().items()})
        whole.update_parameters(net)
        if step == 1:
            stored = {key: value.clone() for key, value in whole.state_dict().items()}
    other = network()
    resumed = RunningAverage(other, 0.9)
    resumed.load_state_dict(stored)
    other.load_state_dict(states[2])
    resumed.update_parameters(other)
    other, resumed = other.double(), resumed.double()  # buffers are other tensors from here on
    resumed.forget()
    other.load_state_dict(states[3])
    resumed.update_parameters(other)
    assert int(resumed.n_averaged) == 4
    for key, value in resumed.state_dict().items():
        torch.testing.assert_close(value.double(), whole.state_dict()[key].double(), msg=key)
