"""Adaloss (Teixeira, Tamersoy, Singh and Kapoor 2019, arXiv 1908.01070): the target width follows the loss.

The variance of a landmark's training loss over the last ``window`` epochs says whether learning has settled. While it
falls, the target becomes sharper; when it rises, the target may relax again:

    H_t = [L_t, L_(t-1), ..., L_(t-w+1)]                 (2)  history of the epoch losses of one landmark
    V_t = mean((H_t - mean(H_t))^2)                      (3)  population variance
    sigma_(t+1) = sigma_t + rho (1 - V_(t-1) / V_t)      (1, 4, 5)

The first move follows epoch w + 1. A rise of sigma is at most rho; a fall has no bound, because V_t can be arbitrarily
small: with w = 3 and pure noise P(V_(t-1) / V_t > a) is about 0.46 / a, so the printed equation leaves the range of
usable widths sooner or later. Hence the two guards.

Eq. 5 has no equilibrium: where a width ends tells how long training was, not how hard the landmark is. The rule
``paced`` keeps the paper's idea, solve and then harden, and has one. A landmark is solved at its present width where
half of the points found in training lie nearer to their labels than ``reach`` widths:

    sigma_(t+1) = factor * sigma_t   where q_t > 1/2, else sigma_t

with q_t the share of such points since the last move, smoothed over the moves. Where labels scatter by tau (per axis)
around what can be predicted, half of them lie within 1.18 tau of it, so a width ends at 1.18 tau / ``reach``, in
however many moves: at 2.35 tau with the default 0.5. Half of the images suffice, because those in which another thing
is taken for the landmark do not say how sharp it may be where it is found.

``by: energy`` asks for the target instead of the point: it falls where the share u_t of the target's energy that is
left unexplained, L / mean(G^2), is below ``share``. The best answer to a squared loss leaves tau^2 / (sigma^2 + tau^2),
so a width ends at tau sqrt(1 / share - 1). It is the only measure with several instances in an image, whose points have
no common names; images that are missed altogether keep u_t high and the widths where they are.
"""

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator

from trigpoint.errors import ConfigError
from trigpoint.schedules.base import Schedule, SteppedConfig
from trigpoint.schedules.decay import multiplications

Rule = Literal["none", "paper", "non_increasing", "paced"]
Guard = Literal["bounded", "literal"]
By = Literal["distance", "energy"]

PAPER_SIGMA0 = 64.0
"""A quarter of the paper's maps of 256 px, in which it states rho = 0.9 px."""
PAUSES = 1.5
"""How much faster than the clock asks ``paced`` sharpens, so that a third of the moves may be pauses."""

LITERAL_FLOOR = 0.1
"""Least width, heatmap px, that ``guard="literal"`` hands out for encoding: below it a Gaussian misses every pixel."""


class Adaloss(Schedule):
    """Widths per landmark by Eqs. 1-5, or by ``rule="paced"``; lengths in heatmap px.

    ``guard="bounded"`` keeps Eq. 5 usable. The loss enters as the share of the target's energy left unexplained,
    L / mean(G^2), when ``energy`` is given (the width itself moves L, which otherwise feeds back into V), unless
    targets are divided by their mean: then a sharper one costs more, which is the paper's own brake. Both variances
    gain eps = (mean(H_t) / 1000)^2; the ratio is at most 1 + sigma0 / (18 rho), so that one epoch takes off at most
    sigma0 / 18; the width stays within [``sigma_min``, ``sigma0``].

    ``guard="literal"`` is Eq. 5 as printed: no cap, no eps, no clamp, raw losses; ``sigma_min`` and ``energy`` play no
    part. ``literal_sigma`` holds its value as computed: negative after a deep fall, -inf once V_t = 0 after
    V_(t-1) > 0, NaN once both are 0; neither of the last two ever comes back. ``sigma`` hands out at least
    ``LITERAL_FLOOR`` in its place, and ``collapsed`` (K,) marks where it does.

    >>> schedule = Adaloss(num_landmarks=1, sigma0=16.0, rho=0.9, guard="literal")
    >>> for epoch in range(4):
    ...     schedule.step(torch.tensor([0.9**epoch]))
    >>> schedule.sigma  # 16 + 0.9 * (1 - 0.9**-2)
    tensor([15.7889])

    ``paced``, of two landmarks of which one is near its label in nine tenths of the images, the other in a third:

    >>> schedule = Adaloss(num_landmarks=2, sigma0=16.0, rule="paced", factor=0.5)
    >>> schedule.step(torch.ones(2), near=torch.tensor([0.9, 0.33]))
    >>> schedule.sigma
    tensor([ 8., 16.])
    """

    class Config(SteppedConfig):
        name: Literal["adaloss"] = "adaloss"
        window: int = Field(default=3, ge=2)
        """Epochs whose losses the variance is taken of; of Eq. 5."""
        rho: float | None = Field(default=None, gt=0)
        """Most that a width grows in an epoch, heatmap px; of Eq. 5; null: the paper's 0.9 for a sigma0 of 64."""
        rule: Rule = "paper"
        """Eq. 5, by which a width may grow always (none), when the loss rose with its variance (paper) or never; or
        paced: a width falls while its landmark is solved at it."""
        guard: Guard = "bounded"
        """Equation 5 kept usable by bounds, or as printed."""
        by: By | None = None
        """What says that a landmark is solved, of paced: the distance of the points found from their labels, or the
        energy of the target that is explained; null: distance, of multi-instance runs energy."""
        reach: float = Field(default=0.5, gt=0)
        """Widths within which half of the points found lie where a width falls; of paced by distance. 0.5: widths end
        at 2.35 times the scatter of the labels."""
        share: float = Field(default=0.2, gt=0, lt=1)
        """Share of the target's energy that may be left unexplained where a width falls; of paced by energy. 0.2:
        widths end at twice the scatter of the labels, 0.5: at the scatter itself."""
        factor: float | None = Field(default=None, gt=0, lt=1)
        """Share of the width that a fall leaves; of paced; null: such that ``sigma_min`` is reached before the freeze
        where a third of the epochs are pauses."""
        smoothing: float = Field(default=0.5, ge=0, lt=1)
        """Weight of the past in what is smoothed over the moves; of paced."""

        @model_validator(mode="after")
        def _check_rule(self) -> Self:
            if self.rule == "paced" and self.guard == "literal":
                raise ValueError("guard: expected bounded with rule=paced, got literal, which is Eq. 5 as printed")
            return self

        @property
        def floor(self) -> float:
            """What ``sigma0`` has to reach; the printed equation has no least width."""
            return self.sigma_min if self.guard == "bounded" else 0.0

    options: Config

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        super().__init__(num_landmarks, *given, epochs=epochs, **options)
        chosen = self.options
        self.window, self.rule, self.guard = chosen.window, chosen.rule, chosen.guard
        self.rho = 0.9 * self.sigma0 / PAPER_SIGMA0 if chosen.rho is None else chosen.rho
        self.sigma_min = chosen.sigma_min
        self.paced = self.rule == "paced"
        if self.paced and chosen.factor is None and epochs is None:
            raise ConfigError("factor: expected a number, or the number of epochs to spread the falls over; give one")
        self.max_ratio = 1 + self.sigma0 / (18 * self.rho)
        self._history = torch.full((self.window, num_landmarks), torch.nan, dtype=torch.float64)  # oldest first
        self._variance = torch.full((num_landmarks,), torch.nan, dtype=torch.float64)  # V of the epoch before
        self._unexplained = torch.full((num_landmarks,), torch.nan, dtype=torch.float64)  # u or 1 - q, smoothed

    @property
    def state(self) -> tuple[str, ...]:
        return ("sigma", "unexplained") if self.paced else ("sigma", "history", "variance")

    @property
    def factor(self) -> float:
        """Share of the width that a fall of ``paced`` leaves."""
        given, moving = self.options.factor, max(self.freeze_epoch or 1, 1)
        return (self.sigma_min / self.sigma0) ** (PAUSES / moving) if given is None else given

    def moves_needed(self) -> int | None:
        """By the largest falls there can be."""
        if self.paced:
            return multiplications(self.sigma0, self.sigma_min, self.factor)
        if self.guard == "literal":
            return None
        return self.window + math.ceil(round(18 * (1 - self.sigma_min / self.sigma0), 9))

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
        return self._next_paced(losses, energy) if self.paced else self._next_by_variance(losses, energy)

    @property
    def near(self) -> float | None:
        return self.options.reach if self.paced and self.options.by != "energy" else None

    def _next_paced(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        if self.near_share is not None and self.near is not None:
            now, limit = 1 - self.near_share, 0.5  # half of the points
        elif self.options.by == "distance":
            raise ConfigError(
                "rule paced by distance: expected the share of points that were found near their labels, got none, as "
                "of multi-instance runs; set method.schedule.by=energy"
            )
        elif energy is None:
            raise ConfigError("rule paced: expected what says whether a landmark is solved, got none; give near=")
        else:
            now, limit = torch.where(energy > 0, losses / energy, torch.nan), self.options.share
        old, keep = self._unexplained, self.options.smoothing
        mixed = torch.where(old.isnan(), now, keep * old + (1 - keep) * now)
        self._unexplained = torch.where(now.isnan(), old, mixed)
        falls = ~now.isnan() & (self._unexplained < limit)
        return torch.where(falls, self._sigma * self.factor, self._sigma).clamp(min=self.sigma_min)

    def _next_by_variance(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        bounded = self.guard == "bounded"
        if bounded and energy is not None and not self.mean_normalized:
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
