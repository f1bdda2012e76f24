"""Adaloss (Teixeira, Tamersoy, Singh and Kapoor 2019, arXiv 1908.01070): the target width follows the loss.

The variance of a landmark's training loss over the last ``window`` epochs says whether learning has settled. While it
falls, the target becomes sharper; when it rises, the target may relax again:

    H_t = [L_t, L_(t-1), ..., L_(t-w+1)]                 (2)  history of the epoch losses of one landmark
    V_t = mean((H_t - mean(H_t))^2)                      (3)  population variance
    sigma_(t+1) = sigma_t + rho (1 - V_(t-1) / V_t)      (1, 4, 5)

The first move follows epoch w + 1. A rise of sigma is at most rho; a fall has no bound, because V_t can be arbitrarily
small: with w = 3 and pure noise P(V_(t-1) / V_t > a) is about 0.46 / a, so the printed equation leaves the range of
usable widths sooner or later. Hence the two guards.
"""

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from trigpoint.schedules.base import MovingConfig, Schedule

Rule = Literal["none", "paper", "non_increasing"]
Guard = Literal["bounded", "literal"]

LITERAL_FLOOR = 0.1
"""Least width, heatmap px, that ``guard="literal"`` hands out for encoding: below it a Gaussian misses every pixel."""


class Adaloss(Schedule):
    """Widths per landmark by Eqs. 1-5; lengths in heatmap px.

    ``guard="bounded"`` keeps Eq. 5 usable. The loss enters as the share of the target's energy left unexplained,
    L / mean(G^2), when ``energy`` is given (the width itself moves L, which otherwise feeds back into V); both
    variances gain eps = (mean(H_t) / 1000)^2; the ratio is at most 1 + sigma0 / (18 rho), so that one epoch takes off
    no more than sigma0 / 18; the width stays within [``sigma_min``, ``sigma0``].

    ``guard="literal"`` is Eq. 5 as printed: no cap, no eps, no clamp, raw losses; ``sigma_min`` and ``energy`` play no
    part. ``literal_sigma`` holds its value as computed: negative after a deep fall, -inf once V_t = 0 after
    V_(t-1) > 0, NaN once both are 0; neither of the last two ever comes back. ``sigma`` hands out at least
    ``LITERAL_FLOOR`` in its place, and ``collapsed`` (K,) marks where it does.

    >>> schedule = Adaloss(num_landmarks=1, sigma0=16.0, guard="literal")
    >>> for epoch in range(4):
    ...     schedule.step(torch.tensor([0.9**epoch]))
    >>> schedule.sigma  # 16 + 0.9 * (1 - 0.9**-2)
    tensor([15.7889])
    """

    class Config(MovingConfig):
        name: Literal["adaloss"] = "adaloss"
        window: int = Field(default=3, ge=2)
        """Epochs whose losses the variance is taken of."""
        rho: float = Field(default=0.9, gt=0)
        """Most that a width grows in an epoch, heatmap px."""
        rule: Rule = "paper"
        """When a width may grow: always, when the loss rose together with its variance (the paper), or never."""
        guard: Guard = "bounded"
        """Equation 5 kept usable by bounds, or as printed."""

        @property
        def floor(self) -> float:
            """What ``sigma0`` has to reach; the printed equation has no least width."""
            return self.sigma_min if self.guard == "bounded" else 0.0

    options: Config
    state: ClassVar[tuple[str, ...]] = ("sigma", "history", "variance")

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        super().__init__(num_landmarks, *given, epochs=epochs, **options)
        chosen = self.options
        self.window, self.rho, self.rule, self.guard = chosen.window, chosen.rho, chosen.rule, chosen.guard
        self.sigma_min = chosen.sigma_min
        self.max_ratio = 1 + self.sigma0 / (18 * self.rho)
        self._history = torch.full((self.window, num_landmarks), torch.nan, dtype=torch.float64)  # oldest first
        self._variance = torch.full((num_landmarks,), torch.nan, dtype=torch.float64)  # V of the epoch before

    @property
    def sigma(self) -> torch.Tensor:
        if self.guard == "bounded":
            return self._sigma.float()
        return self._sigma.nan_to_num(nan=LITERAL_FLOOR).clamp(min=LITERAL_FLOOR).float()

    @property
    def literal_sigma(self) -> torch.Tensor:
        """Widths (K,) float64 as Eq. 5 gives them; they differ from ``sigma`` only where ``collapsed``."""
        return self._sigma.clone()

    @property
    def collapsed(self) -> torch.Tensor:
        """Landmarks (K,) bool whose width is no longer usable (below ``LITERAL_FLOOR`` or NaN); never when bounded."""
        return ~(self._sigma >= LITERAL_FLOOR)

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        bounded = self.guard == "bounded"
        if bounded and energy is not None:
            losses = torch.where(energy > 0, losses / energy, torch.nan)  # no energy: no target to learn from
        seen = ~losses.isnan()
        history = torch.cat([self._history[1:], losses[None]])  # Eq. 2
        variance = history.var(dim=0, correction=0)  # Eq. 3; NaN until the window is full
        eps = (1e-3 * history.mean(dim=0)).square() if bounded else torch.zeros_like(variance)
        ratio = (self._variance + eps) / (variance + eps)
        started = seen & ~self._variance.isnan() & ~variance.isnan()
        if bounded:
            # losses that are all 0 (0/0) or beyond float64 (inf/inf) say nothing about convergence: no move
            ratio = torch.where(ratio.isnan(), 1.0, ratio).clamp(max=self.max_ratio)
        change = self._restrict(self.rho * (1 - ratio), losses, before=history[-2])  # Eqs. 4, 5
        sigma = torch.where(started, self._sigma + change, self._sigma)  # Eq. 1
        self._history = torch.where(seen, history, self._history)
        self._variance = torch.where(seen, variance, self._variance)
        return sigma.clamp(self.sigma_min, self.sigma0) if bounded else sigma

    def _restrict(self, change: torch.Tensor, losses: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """The "non-increasing update restriction" of section 3."""
        if self.rule == "paper":
            return torch.where((change > 0) & (losses <= before), 0.0, change)
        if self.rule == "non_increasing":
            return change.clamp(max=0)
        return change
