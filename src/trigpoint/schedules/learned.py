"""Target widths trained by back-propagation (Payer et al., Medical Image Analysis 2019; Thaler et al., MELBA 2021).

The width of landmark l is a parameter: with targets of constant area the squared target, and so the loss, grows as
1 / sigma_l^2, while the regulariser alpha * sigma_l^2 pulls the other way:

    L = sum_l ||H_l - G_l(sigma_l)||^2 + alpha sum_l sigma_l^2

A landmark whose share u of the target's energy stays unexplained settles at sigma^4 = u N / (4 pi alpha) for maps of N
pixels, a mean-square loss and targets divided by their mean: the harder to predict, the wider.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from trigpoint.errors import RunError
from trigpoint.schedules.base import MovingConfig, Schedule


class LearnedSigma(nn.Module, Schedule):
    """Width per landmark as a parameter, sigma_l = sigma_min + exp(theta_l), heatmap px.

    ``sigma`` carries the gradient: targets have to be encoded from it anew in every training step, and the parameters
    belong to the optimizer. ``penalty()`` (K,), alpha * sigma_l^2, is added to the loss of each landmark, before the
    mean or sum over landmarks. Needs targets divided by their mean; with a peak of 1 the sharper target is always the
    cheaper one and all widths fall to ``sigma_min``. Without a gradient (a landmark never annotated, and
    ``alpha=0``) a width stays.

    >>> schedule = LearnedSigma(num_landmarks=2, sigma0=4.0, alpha=0.5)
    >>> [round(value, 3) for value in schedule.penalty().tolist()]
    [8.0, 8.0]
    """

    needs_normalized_targets: ClassVar[bool] = True

    class Config(MovingConfig):
        name: Literal["learned"] = "learned"
        alpha: float = Field(default=1.0, ge=0)
        """Weight of the regulariser, which pulls the widths down."""
        sigma_min: float = Field(default=0.5, gt=0)
        """Least width, heatmap px; ``sigma0`` has to exceed it."""

        @model_validator(mode="after")
        def _check_start(self) -> Self:
            if self.sigma0 == self.sigma_min:
                raise ValueError(
                    f"sigma0: expected more than sigma_min={self.sigma_min:g}, got {self.sigma0:g}; lower sigma_min"
                )
            return self

    options: Config
    log_width: nn.Parameter
    held: torch.Tensor
    steps: torch.Tensor

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        nn.Module.__init__(self)
        Schedule.__init__(self, num_landmarks, *given, epochs=epochs, **options)
        self.alpha, self.sigma_min = self.options.alpha, self.options.sigma_min
        self.log_width = nn.Parameter(torch.full((num_landmarks,), math.log(self.sigma0 - self.sigma_min)))
        self.register_buffer("held", torch.full((num_landmarks,), torch.nan))  # widths since the freeze
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def sigma(self) -> torch.Tensor:
        """Widths (K,) float32 with gradient, heatmap px; since the freeze constant, whatever the optimizer does."""
        moving = self.sigma_min + self.log_width.float().exp()
        return torch.where(self.held.isnan(), moving, self.held)

    @property
    def epoch(self) -> int:
        return int(self.steps)

    def step(self, losses: torch.Tensor, energy: torch.Tensor | None = None, near: torch.Tensor | None = None) -> None:
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
