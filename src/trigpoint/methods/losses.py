"""How a predicted map is compared with its target, landmark by landmark.

Each returns ``Terms`` of tensors (B, K): the loss to minimise; the misfit, how far the map is from its target; and the
*energy* of the target, the misfit of a network that says nothing at all. Misfit / energy is the share of the target
left unexplained; unlike the misfit it does not change with the target's width alone, which is what the bounded Adaloss
needs.

- ``mse``: mean over the pixels of (map - target)^2, the papers' loss; energy mean(G^2), a network of zeros.
- ``kl``: the map is a probability (softmax over the pixels) and the loss its Kullback-Leibler divergence from the
  target scaled to sum 1; energy log(pixels) - H(target), a network of constants. ``coordinate`` adds the distance in
  map pixels between the decoded and the true point (the integral loss of Sun et al., ECCV 2018; with the map's shape
  held by the divergence as in DSNT, Nibali et al., arXiv 1801.07372). It has no background to fit first, so it learns
  from the first epoch on, where a sharp MSE target is answered with empty maps for long.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from trigpoint import config
from trigpoint.codecs import GaussianHeatmap
from trigpoint.errors import ConfigError


class Terms(NamedTuple):
    """What a loss gives for each map, all (B, K); entries of missing points mean nothing."""

    loss: Tensor
    misfit: Tensor
    energy: Tensor


class MapLoss(ABC):
    """Compares the network's output with targets and turns it into maps that the codec can decode.

    It takes its ``Config``, or the options as keywords.
    """

    Config: ClassVar[type[config.Component]]
    options: config.Component

    def __init__(self, *given: Any, **options: Any) -> None:
        self.options = self.Config.of(*given, **options)

    def check(self, codec: GaussianHeatmap) -> None:  # noqa: B027  (most losses go with any codec)
        """Raises ConfigError when the codec's options and this loss contradict each other."""

    @abstractmethod
    def maps(self, output: Tensor) -> Tensor:
        """The non-negative maps (B, K, h, w) to decode from the network's output."""

    @abstractmethod
    def __call__(self, output: Tensor, points: Tensor, sigma: Tensor, codec: GaussianHeatmap) -> Terms:
        """Terms for the network's ``output`` (B, K, h, w) and ``points`` (B, K, 2) in input pixels."""


class MeanSquaredError(MapLoss):
    """mean((map - G)^2) over the pixels; energy mean(G^2).

    ``relative`` divides each landmark's loss by its target's energy. A target that sharpens shrinks its gradient with
    sigma^2, while Adam still divides by the size that gradients had up to 1 / (1 - beta2) = 1000 steps ago: with few
    steps per epoch learning all but stops as sigma falls. Divided, the gradients keep their size. Beyond the paper.
    """

    class Config(config.Component):
        name: Literal["mse"] = "mse"
        relative: bool = False
        """Divide by the target's energy, so that the loss keeps its scale while the targets sharpen."""
        reduction: Literal["mean", "sum"] = "mean"
        """Over the pixels; a sum adds the landmarks up as well."""

        @model_validator(mode="after")
        def _check(self) -> Self:
            if self.relative and self.reduction == "sum":
                raise ValueError(
                    "relative divides sums and means alike, got reduction=sum as well; remove one of the two"
                )
            return self

    options: Config

    def maps(self, output: Tensor) -> Tensor:
        return output

    def __call__(self, output: Tensor, points: Tensor, sigma: Tensor, codec: GaussianHeatmap) -> Terms:
        target = codec.encode(points, sigma)
        with torch.no_grad():
            energy = codec.energy(points, sigma)
        misfit = functional.mse_loss(output, target, reduction="none").mean((-2, -1))
        # a missing point has no energy; its loss counts nowhere, but must not become NaN
        loss = misfit / torch.where(energy > 0, energy, torch.ones_like(energy)) if self.options.relative else misfit
        if self.options.reduction == "sum":
            loss = loss * target[0].numel()  # pixels times landmarks; the method averages over the landmarks
        return Terms(loss, misfit.detach(), energy)


class SpatialDivergence(MapLoss):
    """KL(target || softmax(output)) + coordinate * |decoded - true| in map pixels."""

    class Config(config.Component):
        name: Literal["kl"] = "kl"
        coordinate: float = Field(default=1.0, ge=0)
        """Weight of the distance between decoded and true point; above 0 it needs ``decoder: soft_argmax``."""

    options: Config

    def check(self, codec: GaussianHeatmap) -> None:
        """The coordinate term has a gradient through soft_argmax only."""
        if self.options.coordinate > 0 and codec.decoder != "soft_argmax":
            raise ConfigError(
                f"loss kl with coordinate={self.options.coordinate:g} expects decoder=soft_argmax, "
                f"got {codec.decoder}; set method.decoder=soft_argmax or method.loss.coordinate=0"
            )

    def maps(self, output: Tensor) -> Tensor:
        """Square root of the probability, because the codec's soft_argmax weighs by the square of the map."""
        return (0.5 * output.flatten(-2).log_softmax(-1)).exp().view_as(output)

    def __call__(self, output: Tensor, points: Tensor, sigma: Tensor, codec: GaussianHeatmap) -> Terms:
        rows, columns = codec.marginals(points, sigma)
        # of a product of two distributions; the target itself is never needed
        entropy = -sum(torch.special.xlogy(side, side).sum(-1) for side in (rows, columns))
        with torch.autocast(output.device.type, enabled=False):
            log_map = output.flatten(-2).log_softmax(-1).view_as(output)
            expected = ((log_map @ columns[..., None]).squeeze(-1) * rows).sum(-1)
        loss = misfit = -expected - entropy
        if self.options.coordinate > 0:
            present = points.isfinite().all(-1)
            decoded = codec.expectation(log_map.exp())
            # replaced before the norm: a masked NaN would still put NaN into the gradient
            miss = torch.where(present[..., None], decoded - points, torch.ones_like(decoded)) / codec.stride
            loss = loss + self.options.coordinate * miss.square().sum(-1).add(1e-4).sqrt()
        uniform = math.log(output.shape[-2] * output.shape[-1])
        return Terms(loss, misfit.detach(), (uniform - entropy).detach())


LOSSES: dict[str, type[MapLoss]] = {"mse": MeanSquaredError, "kl": SpatialDivergence}
LOSS = config.Choice("loss", "trigpoint.methods.losses:LOSSES")
