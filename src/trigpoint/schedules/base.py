"""What every schedule is: a target width per landmark that moves once per epoch, or every so many steps."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator

from trigpoint import config
from trigpoint.errors import ConfigError, RunError


def resolve_sigma0(sigma0: float | None, map_size: Sequence[int]) -> float:
    """The width that training starts with, in heatmap px: as configured, or a quarter of the target resolution.

    ``map_size`` is the size of a target map (any number of axes); the shortest side counts (Adaloss, section 3).

    >>> resolve_sigma0(None, (64, 48)), resolve_sigma0(5.0, (64, 48))
    (12.0, 5.0)
    """
    return min(map_size) / 4 if sigma0 is None else float(sigma0)


class WidthConfig(config.Component):
    """The option that every schedule has; lengths of schedules are in heatmap px."""

    sigma0: float | None = Field(default=None, gt=0)
    """Width that training starts with, heatmap px; null: a quarter of the maps' shortest side."""


class MovingConfig(WidthConfig):
    """What schedules with moving widths have in common."""

    sigma_min: float = Field(default=1.5, gt=0)
    """Least width, heatmap px; maps of 1.5 still decode well."""
    freeze_last: float = Field(default=0.25, ge=0, le=1)
    """Share of the epochs, at the end, in which the widths no longer move."""

    @property
    def floor(self) -> float:
        """What ``sigma0`` has to reach."""
        return self.sigma_min

    @model_validator(mode="after")
    def _check_sigma0(self) -> Self:
        if self.sigma0 is not None and self.sigma0 < self.floor:
            raise ValueError(
                f"sigma0: expected at least sigma_min={self.floor:g} heatmap px, got {self.sigma0:g}; raise sigma0 or "
                "lower sigma_min"
            )
        return self


class SteppedConfig(MovingConfig):
    """What schedules have in common whose widths move at the end of an epoch, or more evenly."""

    every: int | None = Field(default=None, ge=1)
    """Optimizer steps between two moves, so that they do not depend on the number of images; null: an epoch."""


class Schedule:
    """Moves the width of the Gaussian targets; one value per landmark, in heatmap px. As it is, the widths stay.

    The training method calls ``step`` at the end of every training epoch, or ``every`` so many optimizer steps, and
    encodes the targets from then on with ``sigma``: here, an epoch is the time between two moves. ``num_landmarks`` and
    ``epochs`` come from the run. When ``epochs`` is known, the widths of the last ``freeze_last`` share of them stay as
    they are, so that the network can settle on targets that no longer move.
    """

    Config: ClassVar[type[WidthConfig]]
    options: WidthConfig
    needs_normalized_targets: ClassVar[bool] = False
    """True when the schedule only works with targets divided by their mean (a sharp target must cost more)."""
    mean_normalized: bool = False
    """Whether targets are divided by their mean, so that a sharp one costs more; set by the method."""

    def __init__(self, num_landmarks: int, *given: Any, epochs: int | None = None, **options: Any) -> None:
        if num_landmarks < 1:
            raise ConfigError(f"num_landmarks: expected at least 1, got {num_landmarks}; name landmarks in the dataset")
        self.options = self.Config.of(*given, **options)
        if self.options.sigma0 is None:
            raise ConfigError("sigma0: expected a number of heatmap px, got None; pass resolve_sigma0(None, map_size)")
        self.num_landmarks = num_landmarks
        self.sigma0 = self.options.sigma0
        self.every: int | None = getattr(self.options, "every", None)
        self.freeze_epoch: int | None = None
        if epochs is not None:
            self.plan(epochs)
        self.near_share: torch.Tensor | None = None  # what the last step was given as ``near``
        self._epoch = 0
        self._sigma = torch.full((num_landmarks,), self.sigma0, dtype=torch.float64)

    @property
    def sigma(self) -> torch.Tensor:
        """Widths (K,) float32 to encode the current epoch's targets with, heatmap px."""
        return self._sigma.float()

    @property
    def state(self) -> tuple[str, ...]:
        """The tensors that a step changes; an attribute ``_sigma`` holds ``sigma``."""
        return ("sigma",)

    @property
    def epoch(self) -> int:
        """Number of steps done so far."""
        return self._epoch

    def plan(self, epochs: int) -> None:
        """The whole training has so many ``epochs``; called again when it is made longer."""
        frozen: float = getattr(self.options, "freeze_last", 0.0)
        self.freeze_epoch = epochs - round(frozen * epochs)

    def moves_needed(self) -> int | None:
        """The fewest steps after which ``sigma_min`` can be reached; None for widths that have no such goal."""
        return None

    def shortfall(self) -> str | None:
        """What a person should know before training: that ``sigma_min`` cannot be reached before the freeze."""
        needed, there = self.moves_needed(), self.freeze_epoch
        if needed is None or there is None or needed <= there:
            return None
        unit = "epochs" if self.every is None else f"moves, one every {self.every} steps"
        least = getattr(self.options, "sigma_min", 0.0)
        return (
            f"schedule {self.options.name}: the widths cannot fall from sigma0={self.sigma0:g} to sigma_min={least:g} "
            f"heatmap px before they freeze: that takes {needed} {unit}, and there are {there}. Train longer, lower "
            "sigma0, or let them move more often (method.schedule.every=STEPS)"
        )

    @property
    def near(self) -> float | None:
        """Widths within which a point found counts as near its label, for schedules that ask for it."""
        return None

    def step(self, losses: torch.Tensor, energy: torch.Tensor | None = None, near: torch.Tensor | None = None) -> None:
        """Move on by one epoch.

        ``losses`` (K,): mean of the training loss of each landmark over the epoch, over all processes and only over
        annotated landmarks; NaN = not annotated in this epoch, its width stays. ``energy`` (K,): mean of the squared
        target, mean(G^2), over the same; ``near`` (K,): share of the points found that were near. Raises ConfigError
        for another shape and RunError for an infinite loss.
        """
        loss = self._vector("losses", losses)
        power = None if energy is None else self._vector("energy", energy)
        self.near_share = None if near is None else self._vector("near", near)
        moved = self._next(loss, power)
        if not self.frozen:
            self._sigma = torch.where(loss.isnan(), self._sigma, moved)
        self._epoch += 1

    def _next(self, losses: torch.Tensor, energy: torch.Tensor | None) -> torch.Tensor:
        """Widths (K,) of the next epoch; called while frozen too, so that a longer run can take up again."""
        return self._sigma

    @property
    def frozen(self) -> bool:
        """Whether the widths have reached the share of training in which they no longer move."""
        return self.freeze_epoch is not None and self.epoch >= self.freeze_epoch

    def penalty(self) -> torch.Tensor:
        """What to add to the training loss of each landmark: (K,) when the widths are learned, else a scalar 0."""
        return torch.zeros(())

    def _vector(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """``values`` as float64 (K,) on the CPU; raises ConfigError or RunError naming the landmark."""
        vector = torch.as_tensor(values).detach().to("cpu", torch.float64)
        if vector.shape != (self.num_landmarks,):
            expected = f"expected one value for each of {self.num_landmarks} landmarks"
            raise ConfigError(f"{name}: {expected}, got shape {tuple(vector.shape)}")
        if vector.isinf().any():
            index = int(vector.isinf().nonzero()[0])
            raise RunError(
                f"{name}: expected finite values or NaN, got inf for landmark {index}; lower the learning rate"
            )
        return vector

    def state_dict(self) -> dict[str, Any]:
        """Epoch (int) and the tensors of ``state``."""
        return {"epoch": self._epoch} | {key: getattr(self, f"_{key}").clone() for key in self.state}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Take up where ``state_dict`` was called; raises RunError for a state of other landmarks or options."""
        name, found = type(self).__name__, {}
        for key in ("epoch", *self.state):
            if key not in state_dict:
                raise RunError(f"{name} state: '{key}' is missing; the checkpoint is of another schedule")
            like = torch.as_tensor(getattr(self, f"_{key}"))
            found[key] = torch.as_tensor(state_dict[key], dtype=like.dtype).clone()
            if found[key].shape != like.shape:
                shapes = f"expected shape {tuple(like.shape)}, got {tuple(found[key].shape)}"
                raise RunError(
                    f"{name} state '{key}': {shapes}; the checkpoint is of other landmarks or another window"
                )
        self._epoch = int(found.pop("epoch"))
        for key, value in found.items():
            setattr(self, f"_{key}", value)
