"""Fixed target width: the control that every other schedule is compared with."""

from typing import Literal

import torch

from trigpoint.schedules.base import EpochSchedule, WidthConfig


class Fixed(EpochSchedule):
    """The same width for all landmarks and epochs, ``sigma0`` heatmap px.

    >>> Fixed(num_landmarks=2, sigma0=3.0).sigma
    tensor([3., 3.])
    """

    class Config(WidthConfig):
        name: Literal["fixed"] = "fixed"

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        return self._sigma
