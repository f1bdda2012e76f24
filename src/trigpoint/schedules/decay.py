"""Widths that shrink by the clock, whatever the loss does: the naive schedules that Adaloss is compared with."""

from typing import Any, Literal

import torch
from pydantic import Field

from trigpoint.errors import ConfigError
from trigpoint.schedules.base import MovingConfig, Schedule


class Linear(Schedule):
    """A constant step of -k px per epoch down to ``sigma_min`` (the naive approach of Adaloss, section 3).

    A landmark without annotation in an epoch does not move in it. Raises ConfigError when both ``k`` and ``epochs`` are
    None.

    >>> schedule = Linear(num_landmarks=1, sigma0=8.0, k=2.5)
    >>> schedule.step(torch.ones(1))
    >>> schedule.sigma
    tensor([5.5000])
    """

    class Config(MovingConfig):
        name: Literal["linear"] = "linear"
        k: float | None = Field(default=None, gt=0)
        """Step per epoch, heatmap px; null: such that ``sigma_min`` is reached when the freeze begins."""

    options: Config

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        super().__init__(num_landmarks, *given, epochs=epochs, **options)
        self.sigma_min, k = self.options.sigma_min, self.options.k
        self.k = (self.sigma0 - self.sigma_min) / _moving_epochs(self, "k") if k is None else k

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return (self._sigma - self.k).clamp(min=self.sigma_min)


class Exponential(Schedule):
    """The width times ``factor`` per epoch down to ``sigma_min``.

    A landmark without annotation in an epoch does not move in it. Raises ConfigError when both ``factor`` and
    ``epochs`` are None.

    >>> schedule = Exponential(num_landmarks=1, sigma0=8.0, factor=0.5)
    >>> schedule.step(torch.ones(1))
    >>> schedule.sigma
    tensor([4.])
    """

    class Config(MovingConfig):
        name: Literal["exponential"] = "exponential"
        factor: float | None = Field(default=None, gt=0, lt=1)
        """Share of the width that an epoch leaves; null: such that ``sigma_min`` is reached when the freeze begins."""

    options: Config

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        super().__init__(num_landmarks, *given, epochs=epochs, **options)
        self.sigma_min, factor = self.options.sigma_min, self.options.factor
        if factor is None:
            factor = (self.sigma_min / self.sigma0) ** (1 / _moving_epochs(self, "factor"))
        self.factor = factor

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return (self._sigma * self.factor).clamp(min=self.sigma_min)


def _moving_epochs(schedule: Schedule, option: str) -> int:
    """Epochs before the freeze, at least 1."""
    if schedule.freeze_epoch is None:
        raise ConfigError(f"{option}: expected a number, or the number of epochs to spread the decay over; give one")
    return max(schedule.freeze_epoch, 1)
