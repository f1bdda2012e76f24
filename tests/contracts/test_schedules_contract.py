"""Every schedule of the table, one suite."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from trigpoint.config import parse
from trigpoint.errors import ConfigError, RunError
from trigpoint.schedules import SCHEDULES, Schedule

every = pytest.mark.parametrize("name", SCHEDULES)


def build(name: str, landmarks: int = 3, epochs: int | None = 20, **options: Any) -> Schedule:
    config = parse(SCHEDULES[name].Config, {"name": name, "sigma0": 16.0, **options})
    return SCHEDULES[name](landmarks, config, epochs=epochs)


def losses(epoch: int, landmarks: int = 3) -> torch.Tensor:
    noise = torch.rand(landmarks, generator=torch.Generator().manual_seed(epoch))
    return 0.95**epoch * (1 + 0.1 * noise)


@every
def test_config_and_keywords_give_the_same(name: str) -> None:
    by_config, by_keywords = build(name), SCHEDULES[name](num_landmarks=3, epochs=20, sigma0=16.0)
    assert by_keywords.options == by_config.options
    assert by_config.options.name == name
    for epoch in range(10):
        for schedule in (by_config, by_keywords):
            schedule.step(losses(epoch), energy=torch.full((3,), 0.1))
    assert torch.equal(by_config.sigma, by_keywords.sigma)


@every
@pytest.mark.parametrize("landmarks", [1, 5])
def test_starts_at_sigma0_and_stays_usable(name: str, landmarks: int) -> None:
    schedule = build(name, landmarks)
    assert schedule.sigma.dtype == torch.float32
    torch.testing.assert_close(schedule.sigma.detach(), torch.full((landmarks,), 16.0))
    for epoch in range(20):
        schedule.step(losses(epoch, landmarks), energy=torch.full((landmarks,), 0.1))
        sigma = schedule.sigma.detach()
        assert sigma.shape == (landmarks,)
        assert bool((sigma > 0).all())
    assert schedule.epoch == 20


@every
def test_resuming_equals_going_on(name: str) -> None:
    straight, before = build(name), build(name)
    for epoch in range(7):
        straight.step(losses(epoch))
        before.step(losses(epoch))
    file = io.BytesIO()
    torch.save(before.state_dict(), file)
    file.seek(0)
    after = build(name)
    after.load_state_dict(torch.load(file, weights_only=True))
    assert after.epoch == 7
    for epoch in range(7, 20):
        straight.step(losses(epoch))
        after.step(losses(epoch))
        assert torch.equal(straight.sigma, after.sigma)


@every
def test_state_is_a_copy(name: str) -> None:
    schedule = build(name)
    if isinstance(schedule, torch.nn.Module):
        pytest.skip("a module's state shares its tensors, as everywhere in torch")
    state = schedule.state_dict()
    for epoch in range(7):
        schedule.step(losses(epoch))
    assert torch.equal(state["sigma"], torch.full((3,), 16.0, dtype=torch.float64))


@every
def test_state_of_other_landmarks_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="other landmarks"):
        build(name, 3).load_state_dict(build(name, 4).state_dict())


@every
def test_landmark_without_annotation_stays(name: str) -> None:
    schedule = build(name)
    seen = torch.tensor([1.0, torch.nan, 1.0])
    for epoch in range(10):
        schedule.step(losses(epoch) * seen)
    assert schedule.sigma.detach()[1] == pytest.approx(16.0)


@every
def test_freezes_for_the_last_share(name: str) -> None:
    if "freeze_last" not in SCHEDULES[name].Config.model_fields:
        pytest.skip("nothing to freeze")
    schedule = build(name, epochs=20, freeze_last=0.5)
    for epoch in range(20):
        assert schedule.frozen == (epoch >= 10)
        if epoch == 10:
            frozen = schedule.sigma.detach().clone()
        schedule.step(losses(epoch))
    assert torch.equal(schedule.sigma.detach(), frozen)


@every
def test_wrong_shape_and_infinite_loss_are_refused(name: str) -> None:
    schedule = build(name)
    with pytest.raises(ConfigError, match="3 landmarks, got shape"):
        schedule.step(torch.ones(2))
    with pytest.raises(RunError, match="landmark 1"):
        schedule.step(torch.tensor([1.0, torch.inf, 1.0]))


@every
@pytest.mark.parametrize("sigma0", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_unusable_sigma0_is_refused(name: str, sigma0: float | None) -> None:
    with pytest.raises(ConfigError, match="sigma0"):
        SCHEDULES[name](num_landmarks=1, sigma0=sigma0, epochs=10)


@every
def test_penalty_adds_to_losses_of_any_device(name: str) -> None:
    assert (torch.ones(3) + build(name).penalty()).shape == (3,)
