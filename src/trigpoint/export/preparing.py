"""What ``InputPipeline`` does to an image, as nodes of a graph, for images of any size: fit, one resampling, values.

The geometry is that of ``geometry.graph``. A test holds this and ``InputPipeline`` together.
"""

from __future__ import annotations

import numpy as np

from trigpoint.export.nodes import Graph
from trigpoint.geometry.graph import F32, F64, Back, fit_nodes, resample_nodes
from trigpoint.recipe import InputConfig

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # as data.input.augment
FLAT = 1e-6  # as data.input.augment


def prepare(g: Graph, image: str, value_range: str, input: InputConfig) -> tuple[str, Back]:
    """The input (1, C, h, w) of an ``image`` (H, W, 1 or 3), float32; its black and white are ``value_range`` (2,)."""
    shape = g.Cast(g.Shape(image), to=F64)
    height, width = g.Gather(shape, 0), g.Gather(shape, 1)
    back = fit_nodes(g, height, width, input.size, input.fit, input.region)
    values, shown = resample_nodes(g, image, height, width, back, input.size)
    values = _to_unit(g, _to_channels(g, values, input.channels), value_range)
    values = g.Transpose(values, perm=[2, 0, 1])
    return g.Unsqueeze(_normalized(g, values, shown, input), [0]), back


def _to_channels(g: Graph, values: str, channels: int) -> str:
    """``data.input.augment.to_channels`` of values (h, w, 1 or 3)."""
    if channels == 3:
        return g.Mul(values, np.ones(3, np.float32))
    is_grey = g.Equal(g.Shape(values, start=2), [1])
    weights = g.Where(is_grey, np.array([1, 0, 0], np.float32), LUMA)
    return g.ReduceSum(g.Mul(values, weights), [2], keepdims=1)


def _to_unit(g: Graph, values: str, value_range: str) -> str:
    """``data.input.augment.to_unit``."""
    black, white = g.Gather(value_range, 0), g.Gather(value_range, 1)
    span, moved = g.Sub(white, black), g.Sub(values, black)
    wide = g.Greater(white, black)
    return g.Div(moved, g.Where(wide, span, np.float32(1)))


def _normalized(g: Graph, values: str, shown: str, input: InputConfig) -> str:
    """``InputPipeline._normalize`` of values (C, h, w), ``shown`` (h, w)."""
    zero = np.float32(0)
    if input.normalize == "image":
        count = g.Max(g.Mul(g.ReduceSum(g.Cast(shown, to=F64), keepdims=0), float(input.channels)), 1.0)
        mean = g.Div(_total(g, g.Where(shown, values, zero)), count)
        centred = g.Where(shown, g.Sub(values, g.Cast(mean, to=F32)), zero)
        spread = g.Sqrt(g.Div(_total(g, g.Mul(centred, centred)), count))
        flat = g.LessOrEqual(spread, g.Mul(FLAT, g.Add(1.0, g.Abs(mean))))
        return g.Where(flat, zero, g.Div(centred, g.Cast(g.Where(flat, 1.0, spread), to=F32)))
    if input.normalize == "fixed":
        means, sds = (np.array(numbers, np.float32)[:, None, None] for numbers in (input.mean, input.std))
        values = g.Div(g.Sub(values, means), sds)
    return g.Where(shown, values, zero)


def _total(g: Graph, values: str) -> str:
    """The sum of values (C, h, w), float64; lines first, in float32."""
    return g.ReduceSum(g.Cast(g.ReduceSum(values, [2], keepdims=0), to=F64), keepdims=0)
