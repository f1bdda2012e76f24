"""Target widths trained by back-propagation (Payer et al., Medical Image Analysis 2019; Thaler et al., MELBA 2021).

The width of landmark l is a parameter: with targets of constant area the squared target, and so the loss, grows as
1 / sigma_l^2, while the regulariser alpha * sigma_l^2 pulls the other way:

    L = sum_l ||H_l - G_l(sigma_l)||^2 + alpha sum_l sigma_l^2

A landmark whose share u of the target's energy stays unexplained settles at sigma^4 = u N / (4 pi alpha) for maps of N
pixels, a mean-square loss and targets divided by their mean: the harder to predict, the wider.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from trigpoint import config
from trigpoint.errors import ConfigError, RunError
from trigpoint.schedules.base import Schedule, check_sigma0


class LearnedSigma(nn.Module, Schedule):
    """Width per landmark as a parameter, sigma_l = sigma_min + exp(theta_l), heatmap px.

    ``sigma`` carries the gradient: targets have to be encoded from it anew in every training step, and the parameters
    belong to the optimizer. ``penalty()`` (K,), alpha * sigma_l^2, is added to the loss of each landmark, before the
    mean or sum over landmarks. Needs targets divided by their mean; with a peak of 1 the sharper target is always the
    cheaper one and all widths fall to ``sigma_min``. Without a gradient (a landmark never annotated, and
    ``alpha=0``) a width stays. Raises ConfigError when ``sigma0 <= sigma_min`` or ``alpha < 0``.

    >>> schedule = LearnedSigma(num_landmarks=2, sigma0=4.0, alpha=0.5)
    >>> [round(value, 3) for value in schedule.penalty().tolist()]
    [8.0, 8.0]
    """

    needs_normalized_targets: ClassVar[bool] = True

    class Config(config.Config):
        """Options of ``LearnedSigma``; lengths in heatmap px, ``sigma0`` None = a quarter of the target resolution."""

        name: Literal["learned"] = "learned"
        sigma0: float | None = None
        alpha: float = 1.0
        sigma_min: float = 0.5
        freeze_last: float = 0.25

    log_width: nn.Parameter
    held: torch.Tensor
    steps: torch.Tensor

    def __init__(
        self,
        num_landmarks: int,
        sigma0: float | None = None,
        alpha: float = 1.0,
        sigma_min: float = 0.5,
        freeze_last: float = 0.25,
        *,
        epochs: int | None = None,
    ) -> None:
        nn.Module.__init__(self)
        Schedule.__init__(self, num_landmarks, freeze_last, epochs)
        if not sigma_min > 0:
            raise ConfigError(f"sigma_min: expected more than 0 heatmap px, got {sigma_min:g}")
        if not alpha >= 0:
            raise ConfigError(f"alpha: expected 0 or more, got {alpha:g}; a negative one drives the widths to infinity")
        start = check_sigma0(sigma0, above=sigma_min)
        if start == sigma_min:
            raise ConfigError(f"sigma0: expected more than sigma_min={sigma_min:g}, got {start:g}; lower sigma_min")
        self.alpha, self.sigma_min = alpha, sigma_min
        self.log_width = nn.Parameter(torch.full((num_landmarks,), math.log(start - sigma_min)))
        self.register_buffer("held", torch.full((num_landmarks,), torch.nan))  # widths since the freeze
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def sigma(self) -> torch.Tensor:
        """Widths (K,) float32 with gradient, heatmap px; since the freeze constant, whatever the optimizer does."""
        moving = self.sigma_min + self.log_width.float().exp()
        return torch.where(self.held.isnan(), moving, self.held)

    @property
    def epoch(self) -> int:
        """Number of steps done so far."""
        return int(self.steps)

    def step(self, losses: torch.Tensor, energy: torch.Tensor | None = None) -> None:
        """Count the epoch and freeze in time; the widths themselves move by the optimizer. See ``Schedule.step``."""
        self._vector("losses", losses)
        self.steps += 1
        if not self.frozen:
            self.held.fill_(torch.nan)  # a run made longer takes up again
        elif self.held.isnan().any():
            self.held.copy_(self.sigma.detach())

    def penalty(self) -> torch.Tensor:
        """The regulariser alpha * sigma_l^2 of each landmark, (K,)."""
        return self.alpha * self.sigma.square()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take up where ``state_dict`` was called; raises RunError for a state of other landmarks."""
        try:
            return super().load_state_dict(state_dict, strict=strict, assign=assign)
        except RuntimeError as error:
            raise RunError(f"LearnedSigma state: the checkpoint is of other landmarks or options: {error}") from None
