"""The part of a recipe on learning: pretrained weights, optimizer, learning rate, length."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from trigpoint.config import Config
from trigpoint.errors import ConfigError

AUTO_EPOCHS, AUTO_STEPS = 40, 2000


class WeightsConfig(Config):
    """Where the first weights of a timm encoder come from."""

    pretrained: bool = False
    """Fetch timm's weights, or those of the ``hf_hub:`` address."""
    weights: str | None = None
    """Name of weights that need no hub, such as lite0, or a checkpoint of the encoder: .safetensors, or a torch file of
    plain tensors."""

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.pretrained and self.weights is not None:
            raise ValueError("pretrained and weights: expected one of the two, got both; drop one of them")
        return self


def _epochs(value: Any) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"expected a number of at least 1, or auto, got {value!r}")
    return value


class OptimizerConfig(Config):
    """The optimizer."""

    name: Literal["adam", "adamw", "adadelta", "sgd"] = "adam"
    """Which one, of those in ``torch.optim``."""
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate; that of adadelta multiplies its own step (1.0 in its paper)."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Momentum of sgd."""

    @model_validator(mode="after")
    def _check(self) -> OptimizerConfig:
        if self.momentum and self.name != "sgd":
            raise ValueError(f"momentum is an option of sgd, got optimizer {self.name}; remove it")
        return self


class LrScheduleConfig(Config):
    """How the learning rate moves, per optimizer step."""

    name: Literal["constant", "step", "poly", "cosine"] = "constant"
    """Constant; times ``gamma`` at each milestone; (1 - share of training)^``power``; a half cosine to zero."""
    milestones: tuple[float, ...] = (0.5, 0.75)
    """Shares of training at which ``step`` lowers the rate."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of ``step``."""
    power: float = Field(default=0.9, gt=0)
    """Exponent of ``poly``."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of training in which the rate rises from zero."""

    def factor(self, progress: float) -> float:
        """Multiplier of the learning rate at a share of training from 0 to 1.

        >>> [round(LrScheduleConfig(name="cosine").factor(t), 3) for t in (0, 0.5, 1)]
        [1.0, 0.5, 0.0]
        """
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        if self.name == "step":
            return self.gamma ** sum(progress >= share for share in self.milestones)
        if self.name == "poly":
            return float(max(1.0 - progress, 0.0) ** self.power)
        if self.name == "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        return 1.0


class TrainConfig(Config):
    """How the method is trained."""

    epochs: Annotated[int | Literal["auto"], PlainValidator(_epochs)] = 100
    """Rounds of the training images; auto: 40, or as many as 2000 optimizer steps take where that is more."""
    batch_size: int = Field(default=8, ge=1)
    """Images per step and process."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Optimizer and learning rate."""
    lr_schedule: LrScheduleConfig = LrScheduleConfig()
    """How the learning rate moves."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the averaged weights, which are then validated and kept; 0: none."""
    clip: float | None = Field(default=None, gt=0)
    """Largest gradient norm; null: any."""
    val_every: int = Field(default=1, ge=1)
    """Epochs from one validation to the next."""
    patience: int | None = Field(default=None, ge=1)
    """Validations without a smaller error after which training ends early; null: it never does."""
    precision: Annotated[
        Literal["32", "bf16-mixed", "16-mixed", "auto"],
        BeforeValidator(lambda given: "32" if given == 32 else given),  # YAML and the command line read a number
    ] = "32"
    """Lightning's; auto: bf16-mixed where the device computes it fast, else 32."""
    accelerator: str = "auto"
    """Lightning's: cpu, gpu, mps, ..."""
    devices: int | str = "auto"
    """Lightning's: number of devices."""
    num_nodes: int = Field(default=1, ge=1)
    """Lightning's: number of machines."""
    strategy: str = "auto"
    """Lightning's: how several processes train together."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the CPU; null: all."""
    shape_prior: bool = False
    """After training, draw predicted points to what the labelled shapes make likely, if that errs less in validation
    images; for methods that find one of each landmark."""
    logger: Literal["tensorboard", "wandb", "mlflow"] = "tensorboard"
    """Where the run is recorded besides its folder; wandb and mlflow send nothing unless their own variables say so."""
    init: str | None = None
    """Run folder whose weights training begins from; landmarks of equal names keep what they have learned."""
    only: tuple[str, ...] | None = None
    """Learn these landmarks alone, so that the points of all others stay where the run ``init`` has them; null: all."""

    @model_validator(mode="after")
    def _check_only(self) -> TrainConfig:
        if self.only is not None and (self.init is None or not self.only):
            got = "none" if self.init is None else "no landmarks"
            raise ValueError(f"only: expected landmarks, and a run to begin from, got {got}; add train.init=RUN")
        return self

    @property
    def num_epochs(self) -> int:
        """``epochs`` as a number. Raises ConfigError while they are ``auto``: the training images decide."""
        if self.epochs == "auto":
            raise ConfigError("train.epochs: auto is a number once the training images are known; give a number")
        return self.epochs

    def for_images(self, count: int) -> TrainConfig:
        """The same with ``auto`` epochs as a number for ``count`` training images (of one process).

        >>> TrainConfig(epochs="auto", batch_size=16).for_images(100).epochs  # 7 steps an epoch
        286
        """
        if self.epochs != "auto":
            return self
        epochs = max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / math.ceil(count / self.batch_size)))
        return self.model_copy(update={"epochs": epochs})
