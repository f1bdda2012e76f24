"""``metrics.shape_prior`` in the graph: found points, drawn to what the labelled shapes make likely."""

from __future__ import annotations

import numpy as np

from trigpoint.export.nodes import Graph
from trigpoint.metrics.shape_prior import ShapePrior


def likely_points(g: Graph, prior: ShapePrior, points: str) -> str:
    """The points (1, K, 2) that ``prior`` makes of found ones, in pixels of any scale."""
    known = np.flatnonzero(prior.known)
    goal = prior.mean[known] - prior.mean[known].mean(0)
    own = g.Squeeze(points, [0])
    given = g.Gather(own, known, axis=0)
    middle = g.ReduceMean(given, [0], keepdims=1)
    x, y = (g.Squeeze(g.Gather(g.Sub(given, middle), np.array([i]), axis=1), [1]) for i in (0, 1))
    size = float(np.square(goal).sum())
    cos = g.Div(g.ReduceSum(g.Add(g.Mul(x, goal[:, 0]), g.Mul(y, goal[:, 1])), keepdims=0), size)
    sin = g.Div(g.ReduceSum(g.Sub(g.Mul(y, goal[:, 0]), g.Mul(x, goal[:, 1])), keepdims=0), size)
    power = g.Add(g.Mul(cos, cos), g.Mul(sin, sin))
    apart = g.Concat(
        g.Sub(g.Div(g.Add(g.Mul(x, cos), g.Mul(y, sin)), power), goal[:, 0]),
        g.Sub(g.Div(g.Sub(g.Mul(y, cos), g.Mul(x, sin)), power), goal[:, 1]),
        axis=0,
    )
    by_axis = prior.gain.reshape(len(known), 2, len(known), 2).transpose(1, 0, 3, 2).reshape(prior.gain.shape)
    kept = g.Reshape(g.MatMul(g.constant(by_axis), apart), [2, len(known)])
    a, b = (g.Add(g.Squeeze(g.Gather(kept, np.array([i]), axis=0), [0]), goal[:, i]) for i in (0, 1))
    columns = g.Sub(g.Mul(a, cos), g.Mul(b, sin)), g.Add(g.Mul(a, sin), g.Mul(b, cos))
    moved = g.Add(g.Concat(*(g.Unsqueeze(one, [1]) for one in columns), axis=1), middle)
    finite = g.Equal(g.ReduceSum(g.Sub(moved, moved), keepdims=0), 0.0)  # of NaN and infinity it is NaN
    moved = g.Where(finite, moved, given)
    place = np.zeros(len(prior.mean), np.int64)
    place[known] = np.arange(len(known))
    return g.Unsqueeze(g.Where(prior.known[:, None], g.Gather(moved, place, axis=0), own), [0])
