"""From a glimpse to an offset: the features by hand, the trunks, what is shared, and the sizes of the paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trigpoint.errors import ConfigError
from trigpoint.nn import SpatializedFeatures
from trigpoint.nn.spatialized import GlimpseNetwork, LandmarkLinear, build_trunk

TRUNKS = {"small": 128, "resnet34": 256, "resnet18": 256, "resnet10t": 256}  # maps of each


def millions(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def glimpses(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def small(landmarks: int = 2, levels: int = 3, **options: Any) -> GlimpseNetwork:
    torch.manual_seed(0)
    network = GlimpseNetwork(landmarks, 1, levels, glimpse=16, trunk="small", **options)
    with torch.no_grad():  # a last layer that starts at zero would hide what is behind it
        network.last.weight.normal_(0, 0.1)
    return network


# -- features -------------------------------------------------------------------------------------------------------


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_features_equal_the_sums_written_out(height: int, width: int, seed: int) -> None:
    maps = 3 * torch.randn(2, 4, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = SpatializedFeatures()(maps)
    assert found.shape == (2, 12)
    for i in range(2):
        for c in range(4):
            total = strength = x = y = 0.0
            for row in range(height):
                for column in range(width):
                    value = maps[i, c, row, column].item()
                    weight = math.exp(value)
                    total += weight
                    strength += weight * value
                    x += weight * ((column + 0.5) / width * 2 - 1)
                    y += weight * ((row + 0.5) / height * 2 - 1)
            expected = torch.tensor([strength / total, x / total, y / total], dtype=torch.float64)
            torch.testing.assert_close(found[i, [c, 4 + c, 8 + c]], expected)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 6), (7, 7)])
def test_a_single_high_cell_gives_its_centre_and_height(row: int, column: int) -> None:
    maps = torch.zeros(1, 1, 8, 8)
    maps[0, 0, row, column] = 60.0
    expected = [60.0, (column - 3.5) / 4, (row - 3.5) / 4]  # +-7/8 in the corners, as in the paper's code
    assert SpatializedFeatures()(maps)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_positions_stay_within_the_cells_and_a_constant_lies_in_the_middle() -> None:
    found = SpatializedFeatures()(100 * glimpses(5, 7, 8, 8))
    assert found[:, 7:].abs().max() <= 7 / 8 + 1e-6
    middle = SpatializedFeatures()(torch.full((1, 1, 8, 8), -3.0))
    torch.testing.assert_close(middle, torch.tensor([[-3.0, 0.0, 0.0]]))
    assert SpatializedFeatures()(torch.full((1, 1, 2, 2), 1e4)).isfinite().all()


# -- trunks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trunk", "depth"), TRUNKS.items())
@pytest.mark.parametrize(("channels", "glimpse"), [(1, 64), (3, 24)])
def test_every_trunk_makes_maps_an_eighth_of_the_glimpse(trunk: str, depth: int, channels: int, glimpse: int) -> None:
    network, maps = build_trunk(trunk, channels)
    assert maps == depth
    found = network.eval()(torch.randn(2, channels, glimpse, glimpse))
    found = found[-1] if isinstance(found, list) else found
    assert found.shape == (2, depth, glimpse // 8, glimpse // 8)
    assert found.min() >= 0  # behind a rectifier, as in the paper


@pytest.mark.parametrize(("trunk", "depth"), [("tf_efficientnet_lite0", 40 + 112), ("resnet10t", 128 + 256)])
@pytest.mark.parametrize("glimpse", [64, 24])
def test_at_the_pretrained_stride_two_stages_make_the_maps(trunk: str, depth: int, glimpse: int) -> None:
    network, maps = build_trunk(trunk, 1, stem_stride=2)
    assert maps == depth
    given = torch.randn(2, 1, glimpse, glimpse)
    found = network.eval()(given)
    assert found.shape == (2, depth, glimpse // 8, glimpse // 8)
    fine, coarse = network.encoder(given)  # type: ignore[operator]
    assert torch.equal(found[:, : fine.shape[1]], fine)
    means = found[:, fine.shape[1] :].mean((2, 3)), coarse.mean((2, 3))
    assert (means[0] - means[1]).abs().mean() < 0.3 * coarse.std()


def test_stages_that_are_not_used_are_left_out_and_weights_that_hold_them_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("trigpoint.nn.spatialized._leave_out", lambda encoder: None)
        whole, _ = build_trunk("tf_efficientnet_lite0", 1)
    cut, _ = build_trunk("tf_efficientnet_lite0", 1)
    assert millions(cut) < millions(whole) / 4
    cut.load_state_dict(whole.state_dict())
    given = torch.randn(1, 1, 32, 32)
    assert torch.equal(cut.eval()(given)[-1], whole.eval()(given)[-1])


def test_the_resnet_is_the_papers() -> None:
    """ResNet-34 without its last stage, stem of stride 1, one input channel: 8.15 M weights, 8 x 8 maps of 64 px."""
    trunk, _ = build_trunk("resnet34", 1)
    assert millions(trunk) == pytest.approx(8.15, abs=0.03)
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions[0].stride == (1, 1)
    assert len([m for m in convolutions if m.kernel_size == (3, 3)]) == 2 * (3 + 4 + 6)


@pytest.mark.parametrize(
    ("trunk", "options", "message"),
    [
        ("resnet43", {}, "resnet34"),
        ("small", {"pretrained": True}, "neither pretrained nor weights"),
        ("small", {"weights": "a.pth"}, "neither pretrained nor weights"),
        ("vit_tiny_patch16_224", {}, "vit_tiny_patch16_224"),
        ("vgg16", {}, "trunk 'vgg16': expected an encoder with a strided convolution.*take resnet34"),
        ("small", {"stem_stride": 2}, "stem_stride: expected 1 for the trunk small"),
        ("small", {"glimpse": 20}, "glimpse: expected a multiple of 8, got 20"),
        ("resnet34", {"glimpse": 4}, "glimpse: expected a multiple of 8, got 4"),
    ],
)
def test_a_trunk_that_cannot_serve_is_refused(trunk: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GlimpseNetwork(1, 1, 2, trunk=trunk, **options)


# -- the network ----------------------------------------------------------------------------------------------------


def test_sizes_are_the_papers_and_sharing_saves_all_but_a_nineteenth() -> None:
    own = GlimpseNetwork(1, 1, 6)
    head = millions(own) - millions(own.trunk)
    assert head == pytest.approx(2.43, abs=0.01)  # 4608-512-128-2
    for conditioning in ("heads", "embedding"):
        shared = GlimpseNetwork(19, 1, 6, conditioning=conditioning)
        share = millions(shared) / (19 * millions(own))
        assert 1 / 19 < share < 1.13 / 19, conditioning


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("trunk", ["small", "resnet10t"])
@pytest.mark.parametrize("glimpse", [16, 40])
@pytest.mark.parametrize("features", ["spatialized", "flatten"])
def test_any_colour_trunk_glimpse_and_features(channels: int, trunk: str, glimpse: int, features: Any) -> None:
    network = GlimpseNetwork(3, channels, 2, glimpse=glimpse, trunk=trunk, features=features)
    assert network(glimpses(2, 3, 2, channels, glimpse, glimpse)).shape == (2, 3, 2)


@pytest.mark.parametrize("landmarks", [1, 3])
def test_the_network_is_what_its_description_says(landmarks: int) -> None:
    """Trunk per level, features, levels side by side, standardised where shared, 512, 128, 2, rectified."""
    network = small(landmarks)
    x = glimpses(4, landmarks, 3, 1, 16, 16)
    network(x)  # running statistics that are not the initial ones
    network.eval()
    levels = [SpatializedFeatures()(network.trunk(x[:, :, level].flatten(0, 1))) for level in range(3)]
    numbers = torch.cat(levels, dim=-1)
    if landmarks > 1:
        norm = network.standardize
        assert norm is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        numbers = (numbers - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    hidden = (numbers @ network.first.weight.T + network.first.bias).relu().reshape(4, landmarks, 512)
    expected = torch.empty(4, landmarks, 2)
    for k in range(landmarks):
        middle = (hidden[:, k] @ network.second.weight[k] + network.second.bias[k]).relu()
        expected[:, k] = middle @ network.last.weight[k] + network.last.bias[k]
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-5)


def test_levels_go_through_the_same_weights_one_by_one() -> None:
    network = small().eval()
    x = glimpses(2, 2, 3, 1, 16, 16)
    seen: list[torch.Tensor] = []
    network.trunk.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    network(x)
    network(x.flip(2))
    whole, turned = (maps.reshape(2, 2, 3, -1) for maps in seen)
    torch.testing.assert_close(turned, whole.flip(2), rtol=1e-4, atol=1e-5)
    assert millions(small(levels=3).trunk) == millions(small(levels=1).trunk)


@pytest.mark.parametrize("conditioning", ["heads", "embedding"])
def test_a_shared_network_tells_landmarks_apart_but_not_their_neighbours(conditioning: Any) -> None:
    network = small(3, conditioning=conditioning).eval()
    same = glimpses(1, 1, 3, 1, 16, 16).expand(1, 3, -1, -1, -1, -1)
    out = network(same)[0]
    assert (out[0] - out[1]).abs().max() > 1e-3
    other = same.clone()
    other[:, 1] += 1.0
    torch.testing.assert_close(network(other)[0, [0, 2]], out[[0, 2]], rtol=1e-4, atol=1e-5)


def test_landmark_linear_is_a_layer_each() -> None:
    layer = LandmarkLinear(2, 5, 3)
    x = glimpses(4, 2, 5)
    expected = torch.stack([x[:, k] @ layer.weight[k] + layer.bias[k] for k in range(2)], dim=1)
    torch.testing.assert_close(layer(x), expected)
    one = LandmarkLinear(1, 5, 3)
    torch.testing.assert_close(one(x), x @ one.weight[0] + one.bias[0])


@pytest.mark.parametrize("conditioning", ["heads", "embedding"])
def test_gradient_reaches_every_weight(conditioning: Any) -> None:
    network = small(2, conditioning=conditioning)
    network(glimpses(4, 2, 3, 1, 16, 16)).square().sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
