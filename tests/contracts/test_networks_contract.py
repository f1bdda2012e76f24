"""Every network of the table, one suite."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch

from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.nn import NETWORKS, LandmarkNetwork

SMALL: dict[str, dict[str, Any]] = {  # what keeps the suite fast; a network that is not named runs with its defaults
    "unet": {"width": 4},
    "dense_unet": {"width": 4, "growth": 4, "kernel": 5},
    "timm_unet": {"encoder": "resnet10t", "widths": (16, 16, 8, 8, 8)},
    "simple_baseline": {"encoder": "resnet10t", "width": 8},
    "hourglass": {"width": 8, "depth": 2},
}
every = pytest.mark.parametrize("name", NETWORKS)


def build(name: str, channels: int = 1, landmarks: int = 3) -> LandmarkNetwork:
    torch.manual_seed(0)
    config = parse(NETWORKS[name].Config, {"name": name, **SMALL.get(name, {})})
    return NETWORKS[name](channels, landmarks, config)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@every
def test_config_and_keywords_give_the_same(name: str) -> None:
    by_config = build(name)
    torch.manual_seed(0)
    by_keywords = NETWORKS[name](in_channels=1, num_landmarks=3, **SMALL.get(name, {}))
    assert by_keywords.options == by_config.options
    assert by_config.options.name == name
    theirs = by_config.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in by_keywords.state_dict().items())


@every
@pytest.mark.parametrize(("channels", "landmarks"), [(1, 1), (3, 19), (5, 2)])
def test_any_size_and_channel_count(name: str, channels: int, landmarks: int) -> None:
    net = build(name, channels, landmarks).eval()
    for height, width in [(64, 64), (37, 90), (1, 5)]:
        with torch.no_grad():
            maps = net(image(2, channels, height, width))
        assert maps.shape == (2, landmarks, math.ceil(height / net.stride), math.ceil(width / net.stride))
        assert bool(maps.isfinite().all())


@every
def test_an_odd_size_is_continued_at_the_right_and_bottom(name: str) -> None:
    net = build(name).eval()
    x = image(1, 1, net.multiple, net.multiple)
    height, width = net.multiple - 3, net.multiple - 5
    x[..., height:, :] = x[..., height - 1 : height, :]
    x[..., :, width:] = x[..., :, width - 1 : width]
    with torch.no_grad():
        cut, whole = net(x[..., :height, :width]), net(x)
    torch.testing.assert_close(cut, whole[..., : cut.shape[-2], : cut.shape[-1]])


@every
def test_shifting_by_whole_cells_shifts_the_maps(name: str) -> None:
    net = build(name).eval()
    side, by = 12 * net.multiple, net.multiple
    x = torch.zeros(1, 1, side, side)
    middle = slice(side // 2 - 4, side // 2 + 4)
    x[..., middle, middle] = image(8, 8)
    with torch.no_grad():
        here, there = net(x), net(torch.roll(x, (by, -by), (-2, -1)))
    cells = by // net.stride
    inner = slice(side // net.stride // 2 - 2, side // net.stride // 2 + 2)
    back = torch.roll(there, (-cells, cells), (-2, -1))
    scale = here.abs().max()
    torch.testing.assert_close(back[..., inner, inner] / scale, here[..., inner, inner] / scale, rtol=1e-3, atol=1e-3)


@every
def test_gradient_reaches_every_parameter(name: str) -> None:
    net = build(name)
    with torch.no_grad():
        for parameter in net.parameters():  # residual branches that start switched off would hide what is behind
            if not parameter.any():
                parameter.fill_(0.1)
    net(image(2, 1, 64, 64)).square().sum().backward()
    silent = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@every
def test_batch_equals_single_in_evaluation(name: str) -> None:
    net = build(name)
    x = image(3, 1, 64, 48)
    net(x)  # running statistics that are not the initial ones
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-4, atol=1e-5)


@every
def test_state_makes_the_same_network(name: str) -> None:
    net, other = build(name), build(name)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    x = image(1, 1, 40, 40)
    assert torch.equal(net.eval()(x), other.eval()(x))


@every
def test_first_maps_are_all_but_zero(name: str) -> None:
    maps = build(name)(image(4, 1, 64, 64))
    assert 0 < float(maps.detach().abs().max()) < 0.5


@every
def test_channels_last_gives_the_same(name: str) -> None:
    net = build(name).eval()
    x = image(2, 1, 50, 40)
    with torch.no_grad():
        plain = net(x)
        other = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(plain, other, rtol=1e-4, atol=1e-5)


@every
@pytest.mark.parametrize("context", [{"in_channels": 0, "num_landmarks": 1}, {"in_channels": 1, "num_landmarks": 0}])
def test_nothing_in_or_out_is_refused(name: str, context: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected at least 1, got 0"):
        NETWORKS[name](**context)
