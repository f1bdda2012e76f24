"""A foveated method with tiny networks, steps of its training by hand, and blobs that it may look at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from trigpoint.config import parse
from trigpoint.landmarks import Batch
from trigpoint.methods import FoveatedMethod

SIZE = (96, 80)
TINY: dict[str, Any] = {"trunk": "small", "glimpse": 16, "levels": 2, "train_iterations": 3, "train_starts": 2}
STILL: dict[str, Any] = {"rotation": 0.0, "scale": 0.0, "noise": 0.0}


def method(names: tuple[str, ...] = ("a", "b"), ema: float = 0.0, **options: Any) -> FoveatedMethod:
    torch.manual_seed(0)
    config = parse(FoveatedMethod.Config, {"name": "foveated", **TINY, **options})
    made = FoveatedMethod(config, names, 1, SIZE, epochs=2, ema=ema)
    made.set_start(torch.full((len(names), 2), 40.0), torch.full((len(names), 2), 3.0))
    return made


def batch(points: list[Any], images: torch.Tensor | None = None) -> Batch:
    count = len(points)
    if images is None:
        images = torch.randn(count, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    back = torch.eye(2, 3, dtype=torch.float64).expand(count, 2, 3)
    return Batch(images, torch.tensor(points), back, torch.arange(count) + 7)


def blobs(points: list[list[float]], sd: float = 2.6) -> torch.Tensor:
    """One blob an image, drawn at its exact place: (B, 1, H, W)."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SIZE), indexing="ij")
    return torch.stack([(-((x - px) ** 2 + (y - py) ** 2) / (2 * sd**2)).exp()[None] for px, py in points])


def learn(m: FoveatedMethod, given: Batch, optimizer: torch.optim.Optimizer | None = None) -> list[float]:
    """One batch of training without a trainer; the loss of each backward pass."""
    losses: list[float] = []
    taken = optimizer or torch.optim.SGD(m.network.parameters(), lr=0.0)

    def backward(loss: torch.Tensor) -> None:
        losses.append(float(loss.detach()))
        loss.backward()

    m._trainer = SimpleNamespace(world_size=1, current_epoch=0)  # type: ignore[assignment]
    m.manual_backward = backward  # type: ignore[method-assign,assignment]
    m.optimizers = lambda: taken  # type: ignore[method-assign,assignment]
    m.lr_schedulers = lambda: SimpleNamespace(step=lambda: None)  # type: ignore[method-assign,assignment]
    m.train()
    m.training_step(given, 0)
    return losses


class Ideal(nn.Module):
    """Says exactly where the blob lies in the finest patch of the stack, as seen there."""

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.unit = unit

    def forward(self, stacks: torch.Tensor) -> torch.Tensor:
        seen = stacks[:, :, 0, 0].double()
        along = torch.arange(seen.shape[-1]) - (seen.shape[-1] - 1) / 2
        total = seen.sum((-2, -1))
        x, y = (seen.sum(-2) * along).sum(-1) / total, (seen.sum(-1) * along).sum(-1) / total
        return self.factor * torch.stack([x, y], -1).float() / self.unit


def unit(m: FoveatedMethod) -> float:
    """Input pixels of an offset of 1, the same for all landmarks."""
    found: float = m.network.unit.unique().item()
    return found


def with_networks(m: FoveatedMethod, *networks: nn.Module) -> FoveatedMethod:
    m.network.networks = nn.ModuleList(networks)
    return m
