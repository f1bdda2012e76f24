"""``fit`` and ``resample`` as nodes of a graph, for images of a size that is known only when the graph runs.

The same numbers in the same order as ``points.fit`` and ``images.resample``: whole blocks of pixels are averaged, then
sampled between; see there for what each line means. A test holds both together. ``g`` has a method for each operator
of ONNX, which adds a node and gives the name of its output; arrays and numbers among what it is given are constants,
numbers int64 or float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trigpoint.geometry.points import FitMode

F32, F64, I64, BOOL = 1, 11, 7, 9  # the types of ONNX


class Back(NamedTuple):
    """From input pixels to pixels of the image, float64 scalars: x * ``x`` + ``left``, y * ``y`` + ``top``."""

    x: str
    y: str
    left: str
    top: str
    shrink_x: str  # pixels of the image to one of the input; ``x`` but for rounding, which decides on whole blocks
    shrink_y: str


def fit_nodes(
    g: Any,
    height: str,
    width: str,
    input_size: tuple[int, int],
    mode: FitMode = "letterbox",
    region: Sequence[float] | None = None,
) -> Back:
    """The inverse of ``fit`` for an image of ``height`` and ``width``, float64 scalars."""
    left, top, right, bottom = region or (0.0, 0.0, 1.0, 1.0)
    rows, columns = (float(n) for n in input_size)
    across, down = g.Mul(right - left, width), g.Mul(bottom - top, height)
    x = g.Sub(g.Mul((left + right) / 2, width), 0.5)
    y = g.Sub(g.Mul((top + bottom) / 2, height), 0.5)
    fx, fy = g.Div(columns, across), g.Div(rows, down)
    if mode != "stretch":
        fx = fy = g.Min(fy, fx) if mode == "letterbox" else g.Max(fy, fx)
    to_x, to_y = g.Sub((columns - 1) / 2, g.Mul(fx, x)), g.Sub((rows - 1) / 2, g.Mul(fy, y))
    det = g.Mul(fx, fy)
    return Back(
        g.Div(fy, det),
        g.Div(fx, det),
        g.Neg(g.Div(g.Mul(fy, to_x), det)),
        g.Neg(g.Div(g.Mul(fx, to_y), det)),
        g.Div(1.0, fx),
        g.Div(1.0, fy),
    )


def resample_nodes(
    g: Any, image: str, height: str, width: str, back: Back, input_size: tuple[int, int]
) -> tuple[str, str]:
    """``resample`` of an ``image`` (H, W, C), float32: values (h, w, C), and whether they lie within it, (h, w)."""
    rows, columns = input_size
    values, down = _along(g, image, 0, height, back.y, back.top, back.shrink_y, rows)
    values, across = _along(g, values, 1, width, back.x, back.left, back.shrink_x, columns)
    return values, g.And(g.Unsqueeze(down, [1]), g.Unsqueeze(across, [0]))


def _along(
    g: Any, values: str, axis: int, length: str, step: str, shift: str, shrink: str, count: int
) -> tuple[str, str]:
    """Values with ``count`` places along an axis of ``length`` pixels, place i at i * ``step`` + ``shift``; and whether
    each lies within the image (count,)."""
    block = g.Max(1.0, g.Floor(g.Add(shrink, 0.5)))
    block = g.Min(block, length)
    low, high = (g.Add(g.Mul(step, end), shift) for end in (-0.5, count - 0.5))
    twice = g.Mul(2.0, block)
    start = g.Min(g.Max(g.Sub(g.Floor(low), twice), 0.0), g.Sub(length, 1.0))
    stop = g.Min(g.Max(g.Add(g.Ceil(high), twice), g.Add(start, 1.0)), length)
    cells = g.Ceil(g.Div(g.Sub(stop, start), block))
    means = _block_means(g, values, axis, *(g.Cast(n, to=I64) for n in (start, stop, block, cells)))
    # float32 from here on, as where the image is resampled
    places = np.arange(count, dtype=np.float32)
    at = g.Add(g.Mul(g.Cast(step, to=F32), places), g.Cast(shift, to=F32))
    half, last = np.float32(0.5), g.Cast(g.Sub(length, 0.5), to=F32)
    shown = g.And(g.GreaterOrEqual(at, -half), g.LessOrEqual(at, last))
    cell = g.Sub(g.Div(g.Add(g.Sub(at, g.Cast(start, to=F32)), half), g.Cast(block, to=F32)), half)
    end = g.Sub(g.Cast(cells, to=F32), np.float32(1))
    cell = g.Min(g.Max(cell, np.float32(0)), end)
    below = g.Floor(cell)
    above = g.Min(g.Add(below, np.float32(1)), end)
    share = g.Reshape(g.Sub(cell, below), [-1, 1, 1] if axis == 0 else [1, -1, 1])
    one, other = (g.Gather(means, g.Cast(at, to=I64), axis=axis) for at in (below, above))
    return g.Add(one, g.Mul(g.Sub(other, one), share)), shown


def _block_means(g: Any, values: str, axis: int, start: str, stop: str, block: str, cells: str) -> str:
    """Means of ``cells`` blocks of pixels along an axis from ``start`` on, the last pixel before ``stop`` repeated."""
    pixels = g.Min(g.Add(g.Range(0, g.Mul(cells, block), 1), start), g.Sub(stop, 1))
    shape = g.Shape(values)
    blocks = [g.Unsqueeze(n, [0]) for n in (cells, block)]
    before, after = g.Slice(shape, [0], [axis]), g.Slice(shape, [axis + 1], [3])
    split = g.Reshape(g.Gather(values, pixels, axis=axis), g.Concat(before, *blocks, after, axis=0))
    return str(g.ReduceMean(split, [axis + 1], keepdims=0))


def from_grid_nodes(g: Any, points: str, stride: int) -> str:
    """``from_grid`` of float32 points."""
    half = np.float32(0.5)
    return str(g.Sub(g.Mul(g.Add(points, half), np.float32(stride)), half))
