"""Networks that take over the weights of one for other landmarks, by their names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trigpoint.config import parse
from trigpoint.nn import NETWORKS, LandmarkNetwork
from trigpoint.nn.inherit import inherit, landmark_axes

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 2, "depth": 1},
    "dense_unet": {},
    "timm_unet": {"encoder": "test_resnet", "widths": [8, 8, 8, 8, 8]},
    "res_unet": {"width": 8},
    "simple_baseline": {"encoder": "test_resnet", "width": 4},
    "hourglass": {"width": 8},
}
BEFORE, NOW = ("a", "b", "c"), ("new", "c", "a", "b")


def build(name: str, count: int) -> LandmarkNetwork:
    options = {key: value for key, value in SMALL[name].items() if key in NETWORKS[name].Config.model_fields}
    return NETWORKS[name](1, count, parse(NETWORKS[name].Config, {"name": name, **options})).eval()


@pytest.mark.parametrize("name", [key for key in NETWORKS if key not in ("dense_unet", "hourglass")])
def test_old_landmarks_have_the_maps_that_they_had(name: str) -> None:
    torch.manual_seed(0)
    old, new = build(name, len(BEFORE)), build(name, len(NOW))
    axes = landmark_axes(lambda count: build(name, count), len(NOW))
    assert not inherit(new, old.state_dict(), axes, BEFORE, NOW)
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        maps, before = new(image), old(image)
    torch.testing.assert_close(maps[:, [2, 3, 1]], before)
    assert maps[:, 0].abs().max() > 0


def test_in_stacked_hourglasses_each_axis_is_found_and_no_random_number_used() -> None:
    torch.manual_seed(0)
    first = torch.get_rng_state()
    axes = landmark_axes(lambda count: build("hourglass", count), 3)
    assert torch.equal(torch.get_rng_state(), first)
    assert {0, 1} == set(axes.values())  # maps go back in


def test_what_does_not_fit_is_named_and_left() -> None:
    old, layer = torch.nn.Linear(2, 3), torch.nn.Linear(2, 4)
    new, before = torch.nn.Sequential(layer), layer.weight.clone()
    left = inherit(new, {f"0.{key}": value for key, value in old.state_dict().items()}, {"0.bias": 0}, BEFORE, NOW)
    assert left == ["0.weight"]
    assert torch.equal(layer.weight, before)
    assert torch.equal(layer.bias[1:], old.bias[[2, 0, 1]])
