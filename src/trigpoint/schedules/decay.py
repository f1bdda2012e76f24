"""Widths that shrink by the clock, whatever the loss does: the naive schedules that Adaloss is compared with."""

import math
from typing import Any, Literal

import torch
from pydantic import Field

from trigpoint.errors import ConfigError
from trigpoint.schedules.base import Schedule, SteppedConfig


class Decay(Schedule):
    """What both have in common: they know how many epochs they have."""

    @property
    def moving(self) -> int:
        """Epochs before the freeze, at least 1."""
        return max(self.freeze_epoch or 1, 1)

    def check_rate(self, option: str) -> None:
        """Raise ConfigError when neither ``option`` nor the number of epochs is known."""
        if getattr(self.options, option) is None and self.freeze_epoch is None:
            raise ConfigError(
                f"{option}: expected a number, or the number of epochs to spread the decay over; give one"
            )


class Linear(Decay):
    """A constant step of -k px per epoch down to ``sigma_min`` (the naive approach of Adaloss, section 3).

    A landmark without annotation in an epoch does not move in it. Raises ConfigError when both ``k`` and ``epochs`` are
    None.

    >>> schedule = Linear(num_landmarks=1, sigma0=8.0, k=2.5)
    >>> schedule.step(torch.ones(1))
    >>> schedule.sigma
    tensor([5.5000])
    """

    class Config(SteppedConfig):
        name: Literal["linear"] = "linear"
        k: float | None = Field(default=None, gt=0)
        """Step per epoch, heatmap px; null: such that ``sigma_min`` is reached when the freeze begins."""

    options: Config

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        super().__init__(num_landmarks, *given, epochs=epochs, **options)
        self.sigma_min = self.options.sigma_min
        self.check_rate("k")

    @property
    def k(self) -> float:
        """Step per epoch, heatmap px."""
        given = self.options.k
        return (self.sigma0 - self.sigma_min) / self.moving if given is None else given

    def moves_needed(self) -> int:
        return math.ceil(round((self.sigma0 - self.sigma_min) / self.k, 9))

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return (self._sigma - self.k).clamp(min=self.sigma_min)


class Exponential(Decay):
    """The width times ``factor`` per epoch down to ``sigma_min``.

    A landmark without annotation in an epoch does not move in it. Raises ConfigError when both ``factor`` and
    ``epochs`` are None.

    >>> schedule = Exponential(num_landmarks=1, sigma0=8.0, factor=0.5)
    >>> schedule.step(torch.ones(1))
    >>> schedule.sigma
    tensor([4.])
    """

    class Config(SteppedConfig):
        name: Literal["exponential"] = "exponential"
        factor: float | None = Field(default=None, gt=0, lt=1)
        """Share of the width that an epoch leaves; null: such that ``sigma_min`` is reached when the freeze begins."""

    options: Config

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        super().__init__(num_landmarks, *given, epochs=epochs, **options)
        self.sigma_min = self.options.sigma_min
        self.check_rate("factor")

    @property
    def factor(self) -> float:
        """Share of the width that an epoch leaves."""
        given = self.options.factor
        return (self.sigma_min / self.sigma0) ** (1 / self.moving) if given is None else given

    def moves_needed(self) -> int:
        return multiplications(self.sigma0, self.sigma_min, self.factor)

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return (self._sigma * self.factor).clamp(min=self.sigma_min)


def multiplications(start: float, end: float, factor: float) -> int:
    """How often ``start`` is multiplied by ``factor`` until it is at most ``end``.

    >>> multiplications(8.0, 1.0, 0.5), multiplications(8.0, 8.0, 0.5), multiplications(9.0, 1.0, 0.5)
    (3, 0, 4)
    """
    return max(0, math.ceil(round(math.log(end / start) / math.log(factor), 9)))
