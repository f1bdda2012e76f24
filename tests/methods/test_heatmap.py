"""The heatmap method: what a step averages, what moves the schedule, and the path of a point to the original image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trigpoint.config import parse
from trigpoint.errors import ConfigError
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import HeatmapMethod, build_method
from trigpoint.methods.base import FiniteCheck, NotFinite
from trigpoint.prediction import Predictor
from trigpoint.recipe import Recipe

NAN = float("nan")


def method(names: tuple[str, ...] = ("a", "b"), ema: float = 0.0, **options: Any) -> HeatmapMethod:
    values = {"network": {"name": "unet", "width": 4, "depth": 2}, "schedule": {"name": "fixed", "sigma0": 3.0}}
    return HeatmapMethod(parse(HeatmapMethod.Config, values | options), names, 1, (32, 40), epochs=4, ema=ema)


def batch(points: list[Any]) -> Batch:
    generator = torch.Generator().manual_seed(0)
    count = len(points)
    images = torch.randn(count, 1, 32, 40, generator=generator)
    back = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64).expand(count, 2, 3)
    return Batch(images, torch.tensor(points), back, torch.arange(count) + 7)


def test_loss_is_the_mean_over_annotated_landmarks_only() -> None:
    m = method().eval()
    both = batch([[[10.0, 9.0], [20.0, 21.0]], [[12.0, 15.0], [NAN, NAN]]])
    total = m.training_step(both, 0)
    output = m.network(both.images)
    target = m.codec.encode(both.points, 3.0)
    each = (output - target).square().mean((-2, -1))
    torch.testing.assert_close(total, (each[0, 0] + each[0, 1] + each[1, 0]) / 3)


def test_batch_without_any_annotation_costs_nothing() -> None:
    m = method()
    total = m.training_step(batch([[[NAN, NAN], [NAN, NAN]]]), 0)
    total.backward()
    assert total.item() == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in m.parameters())


def test_schedule_is_given_the_epoch_mean_of_each_annotated_landmark() -> None:
    m = method(names=("a", "b", "never"))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    m.schedule.step = lambda losses, energy=None, near=None: seen.append((losses, energy))  # type: ignore[method-assign,assignment]
    m.eval()
    one = batch([[[10.0, 9.0], [20.0, 21.0], [NAN, NAN]], [[12.0, 15.0], [NAN, NAN], [NAN, NAN]]])
    two = batch([[[30.0, 12.0], [8.0, 8.0], [NAN, NAN]]])
    each = []
    for part in (one, two):
        m.training_step(part, 0)
        target = m.codec.encode(part.points, 3.0)
        each.append((m.network(part.images) - target).square().mean((-2, -1)))
    m.on_train_epoch_end()
    losses, energy = seen[0]
    assert losses[0].item() == pytest.approx((each[0][0, 0] + each[0][1, 0] + each[1][0, 0]).item() / 3, rel=1e-5)
    assert losses[1].item() == pytest.approx((each[0][0, 1] + each[1][0, 1]).item() / 2, rel=1e-5)
    assert losses[2].isnan()
    assert energy[2].isnan()
    assert (m.epoch_sums == 0).all()


@pytest.mark.parametrize("stride", [1, 2])
def test_paced_counts_the_points_found_within_half_a_width_of_their_labels(stride: int) -> None:
    network = {"name": "unet", "width": 4, "depth": 2, "stem_stride": stride}
    m = method(network=network, schedule={"name": "adaloss", "rule": "paced", "sigma0": 3.0, "sigma_min": 1.0})
    labels = torch.tensor([[[10.0, 9.0], [20.0, 21.0]], [[12.0, 15.0], [NAN, NAN]], [[30.0, 12.0], [8.0, 8.0]]])
    away = torch.tensor([[[1.4, 0.0], [0.0, 1.6]], [[1.0, -1.0], [0.0, 0.0]], [[-2.0, 0.0], [0.9, 0.9]]]) * stride
    maps = m.codec.encode(torch.where(labels.isnan(), 16.0, labels + away), 2.0)
    near = m.near(maps, labels, m.schedule.sigma)
    assert near is not None
    assert near.tolist() == [[True, False], [True, False], [False, True]]  # 1.5 heatmap px
    present = labels.isfinite().all(-1)
    m.count_in(present, torch.ones(3, 2), torch.ones(3, 2), near)
    assert m.epoch_sums[2:].tolist() == [[2, 1], [3, 2]]
    given: list[torch.Tensor] = []
    m.schedule.step = lambda losses, energy=None, near=None: given.append(near)  # type: ignore[method-assign,assignment]
    m.on_train_epoch_end()
    assert given[0].tolist() == pytest.approx([2 / 3, 1 / 2])
    plain = method(schedule={"name": "adaloss", "rule": "paced", "by": "energy", "sigma0": 3.0, "sigma_min": 1.0})
    assert plain.near(maps, labels, m.schedule.sigma) is None


def test_not_finite_loss_names_the_samples_and_comes_before_the_step() -> None:
    m = method()
    bad = batch([[[10.0, 9.0], [20.0, 21.0]], [[12.0, 15.0], [NAN, NAN]]])
    bad.images[0] = float("inf")
    with pytest.raises(NotFinite) as caught:
        m.training_step(bad, 0)
    assert caught.value.index == [7, 8]


def test_learned_schedule_needs_normalised_targets() -> None:
    with pytest.raises(ConfigError, match=r"method\.normalize=mean"):
        method(schedule={"name": "learned"})
    m = method(schedule={"name": "learned"}, normalize="mean")
    m.training_step(batch([[[10.0, 9.0], [20.0, 21.0]]]), 0).backward()
    assert m.schedule.log_width.grad.abs().sum() > 0  # type: ignore[union-attr,attr-defined]


def test_sigma0_defaults_to_a_quarter_of_the_map() -> None:
    m = method(schedule={"name": "adaloss"})
    assert m.schedule.sigma.tolist() == [8.0, 8.0]


def test_averaged_weights_are_those_that_predict() -> None:
    m = method(ema=0.5)
    assert m.inference_network() is not m.network
    assert method().inference_network() is not None
    assert m.average is not None
    with torch.no_grad():
        for p in m.network.parameters():
            p.add_(1.0)
    m.average.update_parameters(m.network)  # the first update copies
    with torch.no_grad():
        for p in m.network.parameters():
            p.add_(1.0)
    m.average.update_parameters(m.network)
    new, averaged = next(m.network.parameters()), next(m.inference_network().parameters())
    assert 0 < (new - averaged).abs().max().item() < 1


@pytest.mark.parametrize("fit", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize("shape", [(90, 141), (201, 130), (64, 64), (40, 31)])
def test_a_blob_comes_back_where_it_was_drawn(fit: str, shape: tuple[int, int]) -> None:
    """Image -> fit -> one resampling -> network (here: the identity) -> decode -> original, to a tenth of a pixel."""
    recipe = parse(
        Recipe,
        {
            "data": {"input": {"size": [64, 80], "fit": fit, "normalize": "unit"}},
            "method": {"name": "heatmap", "network": {"name": "unet", "width": 4}, "decoder": "dark"},
        },
    )
    marks = LandmarkSet(("blob",))
    predictor = Predictor(build_method(recipe, marks), recipe, marks, np.zeros(1), "cpu")
    predictor.method.network = nn.Identity()  # type: ignore[assignment]
    x, y = shape[1] * 0.52 + 0.31, shape[0] * 0.47 - 0.12
    ys, xs = np.mgrid[: shape[0], : shape[1]]
    sd = 3.0 * max(1.0, min(shape) / 64)
    image = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * sd**2))
    found = predictor.predict(image.astype(np.float32)).points[0, 0]
    assert np.abs(found - (x, y)).max() < 0.1


def test_a_device_is_asked_now_and_then_and_the_first_bad_step_is_named() -> None:
    """A GPU in a costume: its losses say that they are not on the CPU."""

    def loss(value: float) -> Any:
        return SimpleNamespace(detach=lambda: torch.tensor(value), device=torch.device("cuda"))

    check = FiniteCheck()
    values = [1.0] * (FiniteCheck.EVERY - 3) + [NAN, 2.0]
    for i, value in enumerate(values):
        check.watch(loss(value), torch.tensor([i, i + 1]))
    with pytest.raises(NotFinite) as caught:
        check.watch(loss(float("inf")), torch.tensor([999]))
    first = FiniteCheck.EVERY - 3
    assert caught.value.index == [first, first + 1]
    check.ask()  # it was told
    check.watch(loss(NAN), torch.tensor([5]))
    with pytest.raises(NotFinite):
        check.ask()  # as at the end of an epoch


def test_widths_are_copied_to_another_device_only_when_they_move() -> None:
    m = method()
    images = torch.zeros(1, 1, 4, 4, device="meta")
    first = m.widths(images)
    assert first.is_meta
    assert m.widths(images) is first
    m.schedule._sigma = m.schedule._sigma * 0.5
    assert m.widths(images) is not first
    assert m.widths(torch.zeros(1, 1, 4, 4)).equal(m.schedule.sigma)
