"""What varies the glimpses of the foveated pyramid in training: turns, sizes, tones of grey and noise, each its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from trigpoint.landmarks import FloatArray


class GlimpseAugment(NamedTuple):
    """What augments the glimpses of a step, of guesses (B, S, K): turns and factors ``linear`` (B, S, K, 2, 2), columns
    of landmarks with the seed of their noise, and ``tones`` (B, S, K, 2): logarithm of a factor and a summand of grey.
    """

    linear: Tensor
    parts: Sequence[tuple[list[int], int]]
    tones: Tensor | None

    def toned(self, stacks: Tensor, columns: slice) -> Tensor:
        """Glimpse stacks (B, S, k, L, C, g, g) of these columns in other tones, the same for a whole stack."""
        if self.tones is None:
            return stacks
        tones = self.tones[:, :, columns, :, None, None, None, None]
        return stacks * tones[:, :, :, 0].exp() + tones[:, :, :, 1]


def random_linear(shape: torch.Size, rotation: float, scale: float, rng: Generator) -> Tensor:
    """Turns by up to ``rotation`` degrees and factors up to exp(``scale``), either way: (*shape, 2, 2)."""
    angle = np.radians(rng.uniform(-rotation, rotation, shape))
    factor = np.exp(rng.uniform(-scale, scale, shape))
    return torch.from_numpy(turn(factor * np.cos(angle), factor * np.sin(angle)))


def turn(c: FloatArray, s: FloatArray) -> FloatArray:
    """Matrices (..., 2, 2) from cosines and sines, times whatever factor."""
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def without_shift(linear: Tensor) -> Tensor:
    return torch.cat([linear, torch.zeros_like(linear[..., :1])], dim=-1)


def normal_like(values: Tensor, seed: int) -> Tensor:
    """Standard normal numbers, drawn where ``values`` are."""
    generator = torch.Generator(values.device).manual_seed(seed)
    return torch.randn(values.shape, generator=generator, device=values.device, dtype=values.dtype)
