"""Fixed target width: the control that every other schedule is compared with."""

from __future__ import annotations

from typing import Literal

import torch

from trigpoint import config
from trigpoint.schedules.base import EpochSchedule, check_sigma0


class Fixed(EpochSchedule):
    """The same width for all landmarks and epochs, ``sigma0`` heatmap px.

    >>> Fixed(num_landmarks=2, sigma0=3.0).sigma
    tensor([3., 3.])
    """

    class Config(config.Config):
        """Options of ``Fixed``; ``sigma0`` None = a quarter of the target resolution."""

        name: Literal["fixed"] = "fixed"
        sigma0: float | None = None

    def __init__(self, num_landmarks: int, sigma0: float | None = None, *, epochs: int | None = None) -> None:
        super().__init__(num_landmarks, check_sigma0(sigma0), epochs=epochs)

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return self._sigma
