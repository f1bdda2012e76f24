"""Widths that shrink by the clock, whatever the loss does: the naive schedules that Adaloss is compared with."""

from __future__ import annotations

from typing import Literal

import torch

from trigpoint import config
from trigpoint.errors import ConfigError
from trigpoint.schedules.base import EpochSchedule, check_sigma0


class Linear(EpochSchedule):
    """A constant step of -k px per epoch down to ``sigma_min`` (the naive approach of Adaloss, section 3).

    ``k`` None spreads the way from ``sigma0`` to ``sigma_min`` evenly over the ``epochs`` before the freeze. A landmark
    without annotation in an epoch does not move in it. Raises ConfigError when ``k`` is not positive, or when both
    ``k`` and ``epochs`` are None.

    >>> schedule = Linear(num_landmarks=1, sigma0=8.0, k=2.5)
    >>> schedule.step(torch.ones(1))
    >>> schedule.sigma
    tensor([5.5000])
    """

    class Config(config.Config):
        """Options of ``Linear``; lengths in heatmap px, ``sigma0`` None = a quarter of the target resolution."""

        name: Literal["linear"] = "linear"
        sigma0: float | None = None
        k: float | None = None
        sigma_min: float = 1.5
        freeze_last: float = 0.25

    def __init__(
        self,
        num_landmarks: int,
        sigma0: float | None = None,
        k: float | None = None,
        sigma_min: float = 1.5,
        freeze_last: float = 0.25,
        *,
        epochs: int | None = None,
    ) -> None:
        start = check_sigma0(sigma0, above=_check_floor(sigma_min))
        super().__init__(num_landmarks, start, freeze_last, epochs)
        if k is not None and k <= 0:
            raise ConfigError(f"k: expected more than 0 px per epoch, got {k:g}")
        self.k = (start - sigma_min) / _moving_epochs(self, "k") if k is None else k
        self.sigma_min = sigma_min

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return (self._sigma - self.k).clamp(min=self.sigma_min)


class Exponential(EpochSchedule):
    """The width times ``factor`` per epoch down to ``sigma_min``.

    ``factor`` None is chosen such that ``sigma_min`` is reached when the freeze begins. A landmark without annotation
    in an epoch does not move in it. Raises ConfigError when ``factor`` is not between 0 and 1, or when both
    ``factor`` and ``epochs`` are None.

    >>> schedule = Exponential(num_landmarks=1, sigma0=8.0, factor=0.5)
    >>> schedule.step(torch.ones(1))
    >>> schedule.sigma
    tensor([4.])
    """

    class Config(config.Config):
        """Options of ``Exponential``; lengths in heatmap px, ``sigma0`` None = a quarter of the target resolution."""

        name: Literal["exponential"] = "exponential"
        sigma0: float | None = None
        factor: float | None = None
        sigma_min: float = 1.5
        freeze_last: float = 0.25

    def __init__(
        self,
        num_landmarks: int,
        sigma0: float | None = None,
        factor: float | None = None,
        sigma_min: float = 1.5,
        freeze_last: float = 0.25,
        *,
        epochs: int | None = None,
    ) -> None:
        start = check_sigma0(sigma0, above=_check_floor(sigma_min))
        super().__init__(num_landmarks, start, freeze_last, epochs)
        if factor is not None and not 0 < factor < 1:
            raise ConfigError(f"factor: expected a number between 0 and 1, got {factor:g}")
        self.factor = (sigma_min / start) ** (1 / _moving_epochs(self, "factor")) if factor is None else factor
        self.sigma_min = sigma_min

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return (self._sigma * self.factor).clamp(min=self.sigma_min)


def _check_floor(sigma_min: float) -> float:
    if not sigma_min > 0:
        raise ConfigError(f"sigma_min: expected more than 0 heatmap px, got {sigma_min:g}; 1.5 decodes well")
    return sigma_min


def _moving_epochs(schedule: EpochSchedule, option: str) -> int:
    """Epochs before the freeze, at least 1."""
    if schedule.freeze_epoch is None:
        raise ConfigError(f"{option}: expected a number, or the number of epochs to spread the decay over; give one")
    return max(schedule.freeze_epoch, 1)
