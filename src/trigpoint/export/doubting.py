"""``metrics.difficulty`` in the graph: how many times its usual error each point's is likely to be."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from trigpoint.export.nodes import Graph
from trigpoint.landmarks import FloatArray
from trigpoint.metrics.difficulty import LEAST, LEAST_SCORE, MOST, Difficulty

F64 = TensorProto.DOUBLE


def doubt_of(g: Graph, difficulty: Difficulty, points: str, scores: str, spread: str | None, taught: FloatArray) -> str:
    """The doubt (K,) of ``points`` (1, K, 2) in pixels of any scale, with ``scores`` (1, K), and their ``spread``
    (1, K) in input pixels, where the method has any; means are over the landmarks that were ``taught`` (K,)."""
    share = taught / taught.sum()

    def mean(values: str) -> str:
        return g.ReduceSum(g.Mul(values, share), [0], keepdims=1)

    score = g.Clip(g.Cast(g.Squeeze(scores, [0]), to=F64), np.float64(LEAST_SCORE), np.float64(1 - LEAST_SCORE))
    odds = g.Sub(g.Log(score), g.Log(g.Sub(1.0, score)))
    known = {"score": odds, "mean score": mean(odds)}
    if "shape" in difficulty.names:
        known["shape"] = g.Log(g.Add(_away(g, difficulty, g.Squeeze(points, [0])), 1.0))
        known["mean shape"] = mean(known["shape"])
    if "spread" in difficulty.names and spread is not None:
        known["spread"] = g.Log(g.Add(g.Cast(g.Squeeze(spread, [0]), to=F64), 1.0))
    total = g.constant(np.zeros(len(difficulty.mean)))
    for name, usual, weight in zip(difficulty.names, difficulty.usual, difficulty.weights, strict=True):
        total = g.Add(total, g.Mul(g.Sub(known[name], usual), float(weight)))
    return g.Exp(g.Clip(total, np.log(LEAST), np.log(MOST)))


def _away(g: Graph, difficulty: Difficulty, points: str) -> str:
    """How far each of ``points`` (K, 2) lies from where the others imply it, in SD (K,): ``Difficulty.away``."""
    goal = difficulty.mean - difficulty.mean.mean(0)
    count = len(goal)
    centred = g.Sub(points, g.ReduceMean(points, [0], keepdims=1))
    x, y = (g.Squeeze(g.Gather(centred, np.array([i]), axis=1), [1]) for i in (0, 1))
    power = g.ReduceSum(g.Mul(centred, centred), keepdims=0)
    turn = g.Div(g.ReduceSum(g.Add(g.Mul(x, goal[:, 0]), g.Mul(y, goal[:, 1])), keepdims=0), power)
    twist = g.Div(g.ReduceSum(g.Sub(g.Mul(x, goal[:, 1]), g.Mul(y, goal[:, 0])), keepdims=0), power)
    beyond = g.Concat(
        g.Sub(g.Sub(g.Mul(x, turn), g.Mul(y, twist)), goal[:, 0]),
        g.Sub(g.Add(g.Mul(x, twist), g.Mul(y, turn)), goal[:, 1]),
        axis=0,
    )
    standard = g.MatMul(g.constant(difficulty.residual), beyond)
    squares = g.Reshape(g.Mul(standard, standard), [2, count])
    return g.Sqrt(g.ReduceSum(squares, [0], keepdims=0))
