"""How precise the training targets are, epoch by epoch.

- ``fixed``: one width throughout, the control
- ``decay``: widths that shrink by the clock, linearly or exponentially
- ``adaloss``: widths that follow the variance of each landmark's loss (the Adaloss paper)
- ``learned``: widths trained by back-propagation

A schedule is built as ``SCHEDULES[name](K, config, epochs=E)``, hands out ``sigma`` (K,) in heatmap px
and is stepped once per training epoch. Only the method that owns it turns it into targets.
"""

from trigpoint.schedules.adaloss import Adaloss
from trigpoint.schedules.base import Schedule, resolve_sigma0
from trigpoint.schedules.decay import Exponential, Linear
from trigpoint.schedules.fixed import Fixed
from trigpoint.schedules.learned import LearnedSigma

SCHEDULES: dict[str, type[Schedule]] = {
    "fixed": Fixed,
    "linear": Linear,
    "exponential": Exponential,
    "adaloss": Adaloss,
    "learned": LearnedSigma,
}

__all__ = [
    "SCHEDULES", "Schedule", "Fixed", "Linear", "Exponential", "Adaloss", "LearnedSigma",
    "resolve_sigma0",
]  # fmt: skip
