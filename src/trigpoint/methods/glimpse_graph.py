"""The loop of the foveated pyramid as steps of a graph: look, propose, move, as often as the method does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trigpoint.methods.graph import Applying, Calling, GraphStep
from trigpoint.nn.pyramid import TensorPyramid

if TYPE_CHECKING:
    from trigpoint.methods.foveated import FoveatedMethod


def glimpse_steps(method: FoveatedMethod) -> list[GraphStep]:
    """From ``images`` and the initial guesses ``guess_0`` (1, S, K, 2) to what ``method.find`` gives, loop unrolled."""
    options, levels = method.options, tuple(f"level_{i}" for i in range(method.levels))
    views = method.turned_views(method.mean_guess(1, torch.device("cpu")))
    shape = (1, options.starts, len(method.landmark_names), 2)

    def looking(linear: Tensor | None) -> Calling:
        def look(*given: Tensor) -> Tensor:
            return method.look(TensorPyramid(given[:-1]), given[-1], linear).flatten(0, 1)

        return Calling(look)

    def move(guess: Tensor, *offsets: Tensor) -> Tensor:
        pairs = zip(views, offsets, strict=True)
        moves = [method.turned_back(linear, each.reshape(shape)) for linear, each in pairs]
        return method.keep_inside(guess + torch.stack(moves).mean(0))

    def conclude(*guesses: Tensor) -> tuple[Tensor, ...]:
        points, scores, spread = method.conclude(torch.stack(guesses))
        given = (points[:, None], scores[:, None])
        return given if spread is None else (*given, spread[:, None])

    looks, moving = [looking(linear) for linear in views], Calling(move)
    network = Applying(method.used, lambda used, stacks: used.by_parts(stacks))
    steps = [GraphStep(Calling(method.pyramid), ("images",), levels)]
    for t in range(options.iterations):
        offsets = tuple(f"offsets_{t}_{v}" for v in range(len(views)))
        for look, seen, offset in zip(looks, (f"stacks_{t}_{v}" for v in range(len(views))), offsets, strict=True):
            steps.append(GraphStep(look, (*levels, f"guess_{t}"), (seen,)))
            steps.append(GraphStep(network, (seen,), (offset,), network=True))
        steps.append(GraphStep(moving, (f"guess_{t}", *offsets), (f"guess_{t + 1}",)))
    path = tuple(f"guess_{t}" for t in range(options.iterations + 1))
    found = ("points", "scores") if options.starts == 1 else ("points", "scores", "spread")
    return [*steps, GraphStep(Calling(conclude), path, found)]
