"""Stacked hourglass: each stack learns from the targets, and what one says is fed to the next."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.landmarks import Batch
from trigpoint.methods import HeatmapMethod
from trigpoint.nn import Hourglass
from trigpoint.nn.hourglass import Residual

NAN = float("nan")


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def method(**network: Any) -> HeatmapMethod:
    torch.manual_seed(0)
    values = {
        "network": {"name": "hourglass", "width": 8, "depth": 2, **network},
        "schedule": {"name": "fixed", "sigma0": 1.5},
    }
    return HeatmapMethod(parse(HeatmapMethod.Config, values), ("a", "b"), 1, (32, 32))


def batch() -> Batch:
    points = torch.tensor([[[10.0, 9.0], [20.0, 21.0]], [[12.0, 15.0], [NAN, NAN]]])
    back = torch.eye(3, dtype=torch.float64)[:2].expand(2, 2, 3)
    return Batch(image(2, 1, 32, 32), points, back, torch.arange(2))


def test_loss_is_the_mean_over_the_stacks() -> None:
    m = method(stacks=3).eval()
    total = m.training_step(batch(), 0)
    out = m.network.run(batch().images)
    assert len(out.earlier) == 2
    target = m.codec.encode(batch().points, 1.5)
    each = []
    for maps in (out.maps, *out.earlier):
        error = (maps - target).square().mean((-2, -1))
        each.append((error[0, 0] + error[0, 1] + error[1, 0]) / 3)
    torch.testing.assert_close(total, sum(each) / 3)
    # the schedule and the record follow the maps that predict
    misfit = (out.maps - target).square().mean((-2, -1))
    torch.testing.assert_close(m.epoch_sums[0, 0], misfit[:, 0].sum().double(), rtol=1e-5, atol=0)


def test_the_first_stack_is_supervised_itself() -> None:
    m = method(stacks=2).eval()
    net = m.network
    assert isinstance(net, Hourglass)
    with torch.no_grad():  # no way from the first stack's maps to the last ones
        for back in net.maps_back:
            for parameter in back.parameters():
                parameter.zero_()
    m.training_step(batch(), 0).backward()
    first, last = (stack.head[0].weight.grad.clone() for stack in net.stacks)  # type: ignore[union-attr,index]
    assert last.abs().sum() > 0
    m.zero_grad()
    target = m.codec.encode(batch().points, 1.5)
    error = (net.run(batch().images).earlier[0] - target).square().mean((-2, -1))
    ((error[0, 0] + error[0, 1] + error[1, 0]) / 3 / 2).backward()
    own = net.stacks[0].head[0].weight.grad  # type: ignore[union-attr,index]
    assert own.abs().sum() > 0
    torch.testing.assert_close(first, own)


def test_a_stack_is_fed_what_the_one_before_it_said() -> None:
    net = Hourglass(1, 2, stacks=2, width=8, depth=1).eval()
    x = image(1, 1, 32, 32)
    with torch.no_grad():
        before = net(x)
        net.stacks[0].head[0].bias.add_(1.0)  # type: ignore[union-attr,index,operator]
        assert not torch.equal(net(x), before)


def test_all_stacks_have_maps_of_the_same_size() -> None:
    net = Hourglass(1, 2, stacks=2, width=8, depth=2).eval()
    with torch.no_grad():
        out = net.run(image(1, 1, 37, 90))
        assert torch.equal(net(image(1, 1, 37, 90)), out.maps)
    assert [tuple(maps.shape) for maps in (out.maps, *out.earlier)] == [(1, 2, 10, 23)] * 2
    assert not out.levels


@pytest.mark.parametrize("depth", [1, 3])
def test_an_hourglass_goes_down_as_often_as_it_says(depth: int) -> None:
    net = Hourglass(1, 1, stacks=1, width=8, depth=depth).eval()
    seen: list[tuple[int, ...]] = []
    middle = net.stacks[0].middle
    assert isinstance(middle, nn.Module)
    middle.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        net(image(1, 1, net.multiple, 2 * net.multiple))
    assert (net.stride, net.multiple, seen) == (4, 4 * 2**depth, [(1, 8, 1, 2)])


def test_a_residual_adds_to_what_it_is_given() -> None:
    x = image(2, 6, 5, 5)
    same, wider = Residual(6, 6).eval(), Residual(6, 8).eval()
    with torch.no_grad():
        for block in (same, wider):
            block.path[-1].weight.zero_()
            block.path[-1].bias.zero_()
        assert torch.equal(same(x), x)
        assert torch.equal(wider(x), wider.identity(x))


@pytest.mark.parametrize(
    ("options", "least"), [({"stacks": 0}, 1), ({"width": 3}, 4), ({"depth": 0}, 1)], ids=["stacks", "width", "depth"]
)
def test_what_cannot_work_is_refused(options: dict[str, int], least: int) -> None:
    with pytest.raises(ConfigError, match=f"expected at least {least}, got {least - 1}"):
        Hourglass(1, 1, **options)
