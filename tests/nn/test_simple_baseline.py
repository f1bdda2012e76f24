"""SimpleBaseline: the layers of the paper, where its cells look, and that nothing but the deepest features counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trigpoint.errors import ConfigError
from trigpoint.nn import SimpleBaseline

ENCODER = "test_resnet"  # timm's smallest


def test_three_transposed_convolutions_of_256_channels_and_a_quarter_of_the_input() -> None:
    net = SimpleBaseline(3, 14, encoder="resnet10t")
    kinds = [type(layer) for layer in net.decoder]
    assert kinds == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * 3
    for layer in net.decoder:
        if isinstance(layer, nn.ConvTranspose2d):
            assert (layer.out_channels, layer.kernel_size, layer.stride, layer.bias) == (256, (4, 4), (2, 2), None)
    assert net.decoder[0].in_channels == 512
    assert (net.head.kernel_size, net.head.in_channels, net.head.out_channels) == ((1, 1), 256, 14)
    assert (net.stride, net.multiple) == (4, 32)
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 3, 64, 96)).shape == (1, 14, 16, 24)


@pytest.mark.parametrize(("deconvolutions", "stride"), [(1, 16), (2, 8), (5, 1)])
def test_each_transposed_convolution_doubles_the_maps(deconvolutions: int, stride: int) -> None:
    net = SimpleBaseline(1, 2, encoder=ENCODER, width=4, deconvolutions=deconvolutions).eval()
    assert net.stride == stride
    with torch.no_grad():
        assert net(torch.zeros(1, 1, 64, 40)).shape == (1, 2, 64 // stride, -(-40 // stride))


def test_a_feature_spreads_evenly_around_its_own_cell() -> None:
    net = SimpleBaseline(1, 1, encoder=ENCODER, width=1).eval()
    with torch.no_grad():
        for layer in [*net.decoder, net.head]:
            if isinstance(layer, nn.ConvTranspose2d | nn.Conv2d):
                layer.weight.fill_(1.0)
        features = torch.zeros(1, net.decoder[0].in_channels, 6, 6)
        features[0, 0, 3, 2] = 1.0
        maps = net.decode([features])[0, 0]
    at = torch.arange(48.0)
    for axis, cell in ((1, 3), (0, 2)):  # rows, columns
        centre = float((maps.sum(axis) * at).sum() / maps.sum())
        assert centre == pytest.approx((cell + 0.5) * 8 - 0.5, abs=1e-4)


def test_maps_come_from_the_deepest_features_and_run_gives_them() -> None:
    net = SimpleBaseline(3, 2, encoder=ENCODER, width=4).eval()
    x = torch.randn(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = net.run(x)
        features = net.encoder(net.padded(x))
        assert out.levels
        assert torch.equal(out.levels[-1], features[-1])
        assert torch.equal(net.decode([features[-1]])[..., :13, :18], out.maps)
        assert torch.equal(net(x), out.maps)
    assert out.earlier == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width: expected at least 1, got 0"),
        ({"deconvolutions": 0}, "deconvolutions: expected at least 1, got 0"),
        ({"deconvolutions": 6}, "expected at most 5 after encoder 'test_resnet'.*1/32 of the input, got 6"),
        ({"pretrained": True, "weights": "x.pt"}, "expected one of the two"),
        ({"encoder": "test_resnett"}, "did you mean test_resnet"),
        ({"weights": "nowhere.safetensors"}, "no such file: nowhere"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SimpleBaseline(3, 1, **{"encoder": ENCODER, **options})
