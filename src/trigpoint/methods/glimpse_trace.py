"""What glimpses showed on the way: the numbers behind the pictures of the foveated pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from trigpoint.nn.pyramid import GlimpseSource
from trigpoint.nn.spatialized import GlimpseNetwork

if TYPE_CHECKING:
    from trigpoint.methods.foveated import FoveatedMethod


class GlimpseTrace(NamedTuple):
    """The prediction of one image by T glimpse steps of L levels; points and corners in input pixels.

    ``path`` (T + 1, K, 2): the guesses from the first initial guess. ``found`` (K, 2): the prediction, which with one
    initial guess is the end of the path. Of each of the ``columns`` asked for: ``glimpses`` (N, S, L, C, g, g), what
    the network sees at the end of the path and at S - 1 places near it; ``maps`` (N, S, L, D, h, w), the trunk's maps
    there, each softmaxed over its cells as ``SpatializedFeatures`` does; ``extents`` (N, S, L, 2, 2), top left and
    bottom right corner of each patch. ``spatialized``: whether the network reads places off these maps.
    """

    path: Tensor
    found: Tensor
    glimpses: Tensor
    maps: Tensor
    extents: Tensor
    to_original: Tensor
    spatialized: bool


def trace_glimpses(
    method: FoveatedMethod,
    source: GlimpseSource,
    guess: Tensor,
    to_original: Tensor,
    columns: Sequence[int],
    moves: Sequence[tuple[float, float]],
) -> GlimpseTrace:
    """Follow initial guesses (1, S, K, 2); ``moves`` lead from the end of the path, in widths of each level's patch."""
    side, levels = method.options.glimpse, torch.arange(method.levels)
    path = method.refine(source, guess)  # (T + 1, 1, S, K, 2)
    end = path[-1][0, 0, list(columns)]  # (N, 2)
    away = torch.tensor(moves)[:, None] * (side * 2.0**levels)[:, None]  # (S, L, 2): each level is moved by itself
    centers = end[:, None, None] + away.to(end)  # (N, S, L, 2)
    stacks = source.glimpses(centers.flatten(0, 2)[None], side)[0].float()  # every level at every centre
    stacks = stacks.reshape(*centers.shape[:3], *stacks.shape[1:])[:, :, levels, levels]
    half = side * 2.0 ** levels.to(torch.float64) / 2
    signs = torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    return GlimpseTrace(
        path=path[:, 0, 0].double().cpu(),
        found=method.conclude(path)[0][0].double().cpu(),
        glimpses=stacks.cpu(),
        maps=torch.stack([_maps(method, column, stacks[n]) for n, column in enumerate(columns)]).cpu(),
        extents=centers.double().cpu()[..., None, :] + half[:, None, None] * signs,
        to_original=to_original[0].cpu(),
        spatialized=method.options.features == "spatialized",
    )


def _maps(method: FoveatedMethod, column: int, glimpses: Tensor) -> Tensor:
    """Softmaxed maps (S, L, D, h, w) of glimpses (S, L, C, g, g), by the network of this landmark."""
    network = method.used.networks[next(i for i, part in enumerate(method.used.parts) if column in part)]
    maps = cast(GlimpseNetwork, network).maps(glimpses.flatten(0, 1)).float()
    return maps.flatten(-2).softmax(-1).reshape(*glimpses.shape[:2], *maps.shape[1:])
