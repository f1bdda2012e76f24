"""Fixed, linear and exponential widths, in numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from trigpoint.errors import ConfigError
from trigpoint.schedules import Exponential, Fixed, Linear, Schedule, resolve_sigma0

ONE = torch.ones(1)


def run(schedule: Schedule, epochs: int) -> list[float]:
    """Width that each epoch is trained with."""
    widths = []
    for _ in range(epochs):
        widths.append(float(schedule.sigma[0]))
        schedule.step(ONE)
    return widths


def test_resolve_sigma0_takes_the_shortest_side() -> None:
    assert resolve_sigma0(None, (256, 256)) == 64
    assert resolve_sigma0(None, (40,)) == 10
    assert resolve_sigma0(3.0, (256, 256)) == 3


def test_fixed_never_moves() -> None:
    assert run(Fixed(num_landmarks=1, sigma0=5.0), 5) == [5.0] * 5


def test_linear_takes_k_off_down_to_the_floor() -> None:
    assert run(Linear(num_landmarks=1, sigma0=6.0, k=2.0, sigma_min=1.5), 5) == [6.0, 4.0, 2.0, 1.5, 1.5]


def test_linear_reaches_the_floor_when_the_freeze_begins() -> None:
    schedule = Linear(num_landmarks=1, sigma0=8.0, sigma_min=2.0, freeze_last=0.5, epochs=8)
    assert run(schedule, 8) == pytest.approx([8.0, 6.5, 5.0, 3.5, 2.0, 2.0, 2.0, 2.0])


def test_exponential_multiplies() -> None:
    assert run(Exponential(num_landmarks=1, sigma0=8.0, factor=0.5), 4) == [8.0, 4.0, 2.0, 1.5]
    schedule = Exponential(num_landmarks=1, sigma0=16.0, sigma_min=1.0, freeze_last=0.2, epochs=5)
    assert run(schedule, 5) == pytest.approx([16.0, 8.0, 4.0, 2.0, 1.0])


def test_a_freeze_half_way_holds_the_width() -> None:
    schedule = Linear(num_landmarks=1, sigma0=8.0, k=1.0, freeze_last=0.5, epochs=4)
    assert run(schedule, 4) == [8.0, 7.0, 6.0, 6.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(1, sigma0=8.0), "k: expected a number"),
        (lambda: Linear(1, sigma0=8.0, k=0.0), "k: expected more than 0"),
        (lambda: Linear(1, sigma0=1.0, k=1.0), "sigma_min=1.5"),
        (lambda: Linear(1, sigma0=1.0, k=1.0, sigma_min=0.0), "sigma_min"),
        (lambda: Exponential(1, sigma0=8.0), "factor: expected a number"),
        (lambda: Exponential(1, sigma0=8.0, factor=1.0), "factor: expected less than 1, got 1.0"),
        (lambda: Fixed(0, sigma0=8.0), "num_landmarks"),
        (lambda: Linear(1, sigma0=8.0, k=1.0, freeze_last=1.5), "freeze_last"),
    ],
)
def test_options_out_of_range_are_refused(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]
