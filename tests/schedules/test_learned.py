"""Learned widths: the gradient, where they settle, and the freeze."""

from __future__ import annotations

import math

import pytest
import torch

from trigpoint.errors import ConfigError
from trigpoint.schedules import LearnedSigma


def energy(sigma: torch.Tensor, pixels: int) -> torch.Tensor:
    """Mean square of a Gaussian target divided by its mean: N / (4 pi sigma^2)."""
    return pixels / (4 * math.pi * sigma.square())


def test_settles_where_loss_and_regulariser_balance() -> None:
    unexplained, pixels, alpha = torch.tensor([0.1, 0.5]), 64 * 64, 1.0
    schedule = LearnedSigma(num_landmarks=2, sigma0=16.0, alpha=alpha)
    optimizer = torch.optim.Adam(schedule.parameters(), lr=0.05)
    for _ in range(800):
        optimizer.zero_grad()
        (unexplained * energy(schedule.sigma, pixels) + schedule.penalty()).sum().backward()
        optimizer.step()
    expected = (unexplained * pixels / (4 * math.pi * alpha)) ** 0.25
    torch.testing.assert_close(schedule.sigma.detach(), expected, rtol=0.01, atol=0)


def test_penalty_is_alpha_sigma_squared_with_its_gradient() -> None:
    schedule = LearnedSigma(num_landmarks=1, sigma0=4.0, alpha=0.25, sigma_min=1.0)
    schedule.penalty().sum().backward()
    assert float(schedule.penalty().detach()) == pytest.approx(4.0)
    # d(alpha s^2)/d theta = 2 alpha s * exp(theta) = 2 * .25 * 4 * 3
    assert float(schedule.log_width.grad) == pytest.approx(6.0)  # type: ignore[arg-type]


def test_never_below_the_floor() -> None:
    schedule = LearnedSigma(num_landmarks=1, sigma0=2.0, sigma_min=0.5)
    optimizer = torch.optim.SGD(schedule.parameters(), lr=10.0)
    for _ in range(50):
        optimizer.zero_grad()
        schedule.penalty().sum().backward()
        optimizer.step()
    assert float(schedule.sigma.detach()) >= 0.5


def test_frozen_widths_stand_still_under_momentum_and_keep_a_gradient_path() -> None:
    schedule = LearnedSigma(num_landmarks=1, sigma0=4.0, freeze_last=0.5, epochs=2)
    optimizer = torch.optim.AdamW(schedule.parameters(), lr=0.1, weight_decay=0.1)
    frozen = math.nan
    for epoch in range(2):
        for _ in range(3):
            optimizer.zero_grad()
            schedule.penalty().sum().backward()
            assert (float(schedule.log_width.grad) == 0) == (epoch == 1)  # type: ignore[arg-type]
            optimizer.step()
            if epoch == 1:
                assert float(schedule.sigma.detach()) == frozen
        schedule.step(torch.ones(1))
        frozen = float(schedule.sigma.detach())


def test_belongs_to_the_module_that_holds_it() -> None:
    schedule = LearnedSigma(num_landmarks=2, sigma0=4.0)
    parent = torch.nn.ModuleDict({"schedule": schedule})
    assert set(parent.state_dict()) == {"schedule.log_width", "schedule.held", "schedule.steps"}
    assert list(parent.parameters()) == [schedule.log_width]


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"sigma_min": 0.0}, {"sigma_min": 4.0}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        LearnedSigma(1, 4.0, **options)  # type: ignore[arg-type]
