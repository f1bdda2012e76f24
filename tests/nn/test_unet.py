"""The paper's U-Net and Dense U-Net: the count of their convolutions, and where their maps lie."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trigpoint.errors import ConfigError
from trigpoint.nn import DenseUNet, LandmarkNetwork, UNet
from trigpoint.nn.base import HEAD_STD


def convolutions(net: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]


def mirror(net: nn.Module) -> None:
    """Flip every kernel left to right: what a network sees in a mirror."""
    with torch.no_grad():
        for layer in convolutions(net):
            layer.weight.copy_(layer.weight.flip(-1))


def test_unet_is_the_papers_nine_convolutions_of_kernel_5() -> None:
    layers = convolutions(UNet(in_channels=1, num_landmarks=7))
    assert [layer.kernel_size for layer in layers] == [(5, 5)] * 9
    assert [layer.out_channels for layer in layers] == [32, 64, 128, 256, 512, 256, 128, 64, 7]
    kinds = [type(layer) for layer in UNet(in_channels=1, num_landmarks=7).modules()]
    assert kinds.count(nn.BatchNorm2d) == kinds.count(nn.ReLU) == 8


@pytest.mark.parametrize("depthwise", [False, True])
def test_dense_unet_is_the_papers_23_convolutions_of_kernel_11(depthwise: bool) -> None:
    layers = convolutions(DenseUNet(in_channels=1, num_landmarks=7, depthwise=depthwise))
    assert sum(layer.kernel_size == (11, 11) for layer in layers) == 23
    assert len(layers) == (46 if depthwise else 23)
    assert layers[-1].out_channels == 7


def test_depthwise_takes_a_fraction_of_the_weights() -> None:
    full, light = (sum(w.numel() for w in DenseUNet(1, 3, depthwise=d).parameters()) for d in (False, True))
    assert light * 8 < full


def test_leaky_relu_replaces_every_relu() -> None:
    kinds = [type(layer) for layer in UNet(1, 1, width=2, activation="leaky_relu").modules()]
    assert nn.ReLU not in kinds
    assert kinds.count(nn.LeakyReLU) == 8


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (UNet, {"width": 4}),
        (UNet, {"width": 4, "depth": 2, "kernel": 3}),
        (DenseUNet, {"width": 4, "growth": 2}),
        (DenseUNet, {"width": 4, "growth": 2, "kernel": 3, "depthwise": True}),
    ],
)
def test_mirrored_network_on_mirrored_image_gives_mirrored_maps(
    cls: type[LandmarkNetwork], options: dict[str, Any], stem: int
) -> None:
    # Cells lie at c + stride * j. Mirrored about the image's middle they fall on each other only if
    # 2 c + stride * (n - 1) = W - 1, so c = (stride - 1) / 2: the first cell is centred where from_grid says.
    torch.manual_seed(0)
    net = cls(in_channels=1, num_landmarks=2, stem_stride=stem, **options).eval()
    x = torch.randn(1, 1, net.multiple, 2 * net.multiple)
    with torch.no_grad():
        maps = net(x)
        mirror(net)
        mirrored = net(x.flip(-1)).flip(-1)
        same_kernels = net(x)
    assert maps.shape[-1] == x.shape[-1] // stem == x.shape[-1] // net.stride
    scale = float(maps.abs().max())
    torch.testing.assert_close(mirrored / scale, maps / scale, rtol=1e-3, atol=1e-4)
    assert float((same_kernels - maps).abs().max()) > 0.01 * scale  # the proof can fail


def test_initial_weights_are_he_and_the_last_small() -> None:
    *inner, head = convolutions(UNet(1, 16))
    for layer in inner[1:]:
        fan_in = layer.weight[0].numel()
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
    assert float(head.weight.detach().std()) == pytest.approx(HEAD_STD, rel=0.05)
    assert head.bias is not None
    assert not head.bias.any()


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (UNet, {"kernel": 4}, "odd"),
        (UNet, {"depth": 0}, "depth"),
        (UNet, {"stem_stride": 3}, "stem_stride"),
        (UNet, {"stem_stride": 4, "kernel": 1}, "kernel"),
        (DenseUNet, {"growth": 0}, "growth"),
        (DenseUNet, {"compression": 0.0}, "compression"),
    ],
)
def test_options_out_of_range_are_refused(cls: type[LandmarkNetwork], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cls(1, 1, **options)
