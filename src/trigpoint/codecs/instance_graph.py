"""What ``InstanceHeatmap.decode`` does around the refinement of peaks, as nodes of a graph; see ``geometry.graph``.

Maps come as (1, K, h, w). Lists of maxima end with one that is none, of height -inf, so that no list is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.geometry.graph import BOOL, F32, I64, from_grid_nodes

INF = np.float32(np.inf)


def candidate_nodes(g: Any, maps: str, threshold: str, size: tuple[int, int, int], median: int, most: int) -> list[str]:
    """Map (C,), centre (C, 2) and height (C,) of the maxima of maps of ``size`` (K, h, w), the highest first.

    As ``maxima.median_above``, ``maxima.regional_maxima`` and ``maxima.highest``.
    """
    filtered = _median_above(g, g.Squeeze(maps, [0]), threshold, size, median)
    owner, centre, height = _regional_maxima(g, filtered, size)
    height, order = g.several("TopK", 2, height, g.Shape(height), axis=0)
    owner, centre = g.Gather(owner, order), g.Gather(centre, order)
    before = g.ReduceSum(g.Cast(_better(g, owner), to=I64), [1], keepdims=0)
    kept = g.Or(g.Less(before, most), g.IsInf(height))
    return [g.Compress(one, kept, axis=0) for one in (owner, centre, height)]


def chosen_nodes(g: Any, place: str, owner: str, height: str, count: int, window: float, stride: int) -> list[str]:
    """Points (1, N, K, 2) and scores (1, N, K) of maxima at ``place`` (C, 2), as (y, x): those that remain of
    neighbours nearer than ``window`` cells, by falling height. As ``maxima.spaced``."""
    exists = g.Not(g.IsInf(height))
    away = g.Sub(g.Unsqueeze(place, [1]), g.Unsqueeze(place, [0]))
    apart = g.Sqrt(g.ReduceSum(g.Mul(away, away), [2], keepdims=0))
    better = _better(g, owner)
    rival = g.Cast(g.And(g.Less(apart, np.float32(window)), better), to=F32)

    def settle(b: Any, kept: str) -> str:
        lost = b.Greater(b.MatMul(rival, b.Cast(kept, to=F32)), np.float32(0))
        return str(b.And(exists, b.Not(lost)))

    kept = _until_stable(g, exists, settle, BOOL)
    rank = g.MatMul(g.Cast(better, to=F32), g.Cast(kept, to=F32))
    rows = g.Cast(g.ReduceMax(g.Where(kept, g.Add(rank, np.float32(1)), np.float32(0)), [0], keepdims=1), to=I64)
    at = g.Concat(g.Unsqueeze(g.Cast(rank, to=I64), [1]), g.Unsqueeze(owner, [1]), axis=1)
    at, points, scores = (g.Compress(one, kept, axis=0) for one in (at, g.Gather(place, [1, 0], axis=1), height))
    blank = g.Concat(rows, np.array([count]), axis=0)
    nothing = g.Expand(np.float32(np.nan), g.Concat(blank, np.array([2]), axis=0))
    points = g.ScatterND(nothing, at, from_grid_nodes(g, points, stride))
    scores = g.ScatterND(g.Expand(np.float32(0), blank), at, scores)
    return [g.Unsqueeze(points, [0]), g.Unsqueeze(scores, [0])]


def _median_above(g: Any, maps: str, threshold: str, size: tuple[int, int, int], median: int) -> str:
    """The medians (K, h, w) where they exceed the threshold, -inf elsewhere."""
    count, height, width = size
    if median <= 1:
        return str(g.Where(g.Greater(maps, threshold), maps, -INF))
    reach = median // 2
    rows, columns = _mirrored(height, reach), _mirrored(width, reach)
    padded = g.Gather(g.Gather(maps, rows, axis=1), columns, axis=2)
    above = g.Cast(g.Greater(padded, threshold), to=F32)
    share = g.AveragePool(g.Unsqueeze(above, [0]), kernel_shape=[median, median])
    cells = g.Transpose(g.NonZero(g.Greater(g.Squeeze(share, [0]), np.float32(0.5))), perm=[1, 0])  # (N, 3)
    first = np.zeros((1, 3), np.int64)  # one more, so that there is any
    high, wide = len(rows), len(columns)
    corner = g.ReduceSum(g.Mul(g.Concat(cells, first, axis=0), np.array([high * wide, wide, 1])), [1], keepdims=1)
    steps = (np.arange(median)[:, None] * wide + np.arange(median)).reshape(1, -1)
    windows = g.Gather(g.Reshape(padded, [-1]), g.Add(corner, steps))
    upper, _ = g.several("TopK", 2, windows, [median * median // 2 + 1], axis=1)
    values = g.Squeeze(g.Slice(upper, [-1], [2**62], [1]), [1])
    blank = np.full((count, height, width), -INF, np.float32)
    return str(g.ScatterND(blank, cells, g.Slice(values, [0], [-1])))


def _regional_maxima(g: Any, maps: str, size: tuple[int, int, int]) -> list[str]:
    """Map, centre and height of the maxima of maps (K, h, w), and of one that is none."""
    count, height, width = size
    top = g.And(g.GreaterOrEqual(maps, _around(g, maps)), g.Greater(maps, -INF))
    # a cell beside an equal one that has a higher neighbour itself
    beside = _around(g, g.Where(top, -INF, maps))
    step = g.And(top, g.Equal(beside, maps))
    number = -np.arange(count * height * width, dtype=np.float32).reshape(size)  # exact below 2 ** 24 cells

    def spread(b: Any, label: str) -> str:
        return str(b.Where(top, _around(b, label), -INF))

    label = _until_stable(g, g.Where(top, number, -INF), spread, F32)
    at = g.NonZero(top)  # (3, T)
    cells = g.Concat(g.Transpose(at, perm=[1, 0]), np.zeros((1, 3), np.int64), axis=0)
    own, other = (
        g.Concat(g.GatherND(one, g.Transpose(at, perm=[1, 0])), np.ones(1, np.float32), axis=0)
        for one in (g.constant(number), label)
    )
    values, steps = (
        g.Concat(g.GatherND(one, g.Transpose(at, perm=[1, 0])), np.array([none], np.float32), axis=0)
        for one, none in ((maps, -INF), (g.Cast(step, to=F32), 0.0))
    )
    root = g.Equal(own, other)
    same = g.Cast(g.Equal(g.Unsqueeze(g.Compress(other, root, axis=0), [1]), g.Unsqueeze(other, [0])), to=F32)
    places = g.Cast(g.Slice(cells, [1], [3], [1]), to=F32)
    counted = g.ReduceSum(same, [1], keepdims=1)
    centre = g.Div(g.MatMul(same, places), counted)
    good = g.And(
        g.Equal(g.MatMul(same, steps), np.float32(0)), g.Less(g.Squeeze(counted, [1]), np.float32(height * width))
    )
    owner = g.Squeeze(g.Slice(cells, [0], [1], [1]), [1])
    roots = [g.Compress(one, root, axis=0) for one in (owner, values)]
    return [g.Compress(one, good, axis=0) for one in (roots[0], centre, roots[1])]


def _around(g: Any, maps: str) -> str:
    """The highest of the 3 x 3 cells around each of maps (K, h, w)."""
    pooled = g.MaxPool(g.Unsqueeze(maps, [0]), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return str(g.Squeeze(pooled, [0]))


def _better(g: Any, owner: str) -> str:
    """Whether (C, C) the second of two maxima is of the same map and stands before the first."""
    same = g.Equal(g.Unsqueeze(owner, [1]), g.Unsqueeze(owner, [0]))
    place = g.Range(0, g.Squeeze(g.Shape(owner), [0]), 1)
    return str(g.And(same, g.Greater(g.Unsqueeze(place, [1]), g.Unsqueeze(place, [0]))))


def _until_stable(g: Any, start: str, step: Callable[[Any, str], str], kind: int) -> str:
    """``step`` again and again until it changes nothing."""

    def body(b: Any, value: str) -> tuple[str, str]:
        following = step(b, value)
        changed = b.Cast(b.Not(b.Equal(following, value)), to=I64)
        return b.Greater(b.ReduceSum(b.Reshape(changed, [-1]), keepdims=0), 0), following

    return str(g.loop(start, body, kind))


def _mirrored(count: int, reach: int) -> npt.NDArray[np.int64]:
    """Cells of an axis of ``count`` continued by ``reach`` at both ends, mirrored about its outermost cells."""
    period = max(2 * (count - 1), 1)
    place = np.arange(-reach, count + reach) % period
    return np.minimum(place, period - place)
