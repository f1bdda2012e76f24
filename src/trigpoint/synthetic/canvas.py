"""Drawing with exact geometry: polygons by exact area coverage, smooth paths, random fields, noise.

Every shape with a landmark is a polygon filled here. A pixel's value is the share of its square that the polygon
covers, computed in closed form, so an edge lies where the geometry says and not where a pixel is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from trigpoint.landmarks import FloatArray

Picture = npt.NDArray[np.float32]

_REACH = 0.5  # a pixel's square reaches half a pixel to each side of its centre


@dataclass(frozen=True)
class Patch:
    """Coverage (h, w) in 0..1 of the part of an image whose first pixel is (``left``, ``top``)."""

    left: int
    top: int
    cover: Picture

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image under the patch."""
        h, w = self.cover.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)

    def at(self, point: Sequence[float] | FloatArray) -> float:
        """Coverage of the pixel nearest to (x, y); 0 outside the patch."""
        column, row = round(float(point[0])) - self.left, round(float(point[1])) - self.top
        inside = 0 <= row < self.cover.shape[0] and 0 <= column < self.cover.shape[1]
        return float(self.cover[row, column]) if inside else 0.0


def fill(shape: tuple[int, int], *polygons: FloatArray) -> Patch:
    """Area covered by the union of closed polygons (n, 2) of (x, y) pixels in an image of (height, width).

    The signed area under every edge is collected pixel by pixel and summed along the rows, which is exact for simple
    polygons. Where polygons of one turning sense overlap, the sum is cut at 1.

    >>> square = np.array([[0.25, 0.0], [2.0, 0.0], [2.0, 1.0], [0.25, 1.0]])
    >>> fill((3, 4), square).cover.tolist()
    [[0.125, 0.5, 0.25], [0.125, 0.5, 0.25]]
    """
    start = np.concatenate([np.asarray(p, np.float64) for p in polygons]) + _REACH
    end = np.concatenate([np.roll(p, -1, axis=0) for p in polygons]) + _REACH
    low = np.maximum(np.floor(start.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(start.max(axis=0)), (shape[1], shape[0])).astype(int)
    width, height = (max(int(n), 0) for n in high - low)
    if width == 0 or height == 0:
        return Patch(0, 0, np.zeros((0, 0), np.float32))
    x0, y0, x1, y1 = _pieces(start - low, end - low)
    dy = y1 - y0
    column, row = np.floor((x0 + x1) / 2).astype(int), np.floor((y0 + y1) / 2).astype(int)
    used = (row >= 0) & (row < height) & (column < width)
    dy, column, row = dy[used], column[used], row[used]
    right = np.clip(1 - ((x0 + x1)[used] / 2 - column), 0, 1)  # share of the pixel to the right of the edge
    right[column < 0] = 1
    column = np.maximum(column, 0)
    index = row * (width + 1) + column
    cells = np.bincount(index, dy * right, (width + 1) * height)
    cells += np.bincount(index + 1, dy * (1 - right), (width + 1) * height)
    area = np.cumsum(cells.reshape(height, width + 1)[:, :width], axis=1)
    return Patch(int(low[0]), int(low[1]), np.minimum(np.abs(area), 1).astype(np.float32))


def _pieces(start: FloatArray, end: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Cut edges at every pixel border they cross: x0, y0, x1, y1 of the pieces."""
    edge = np.arange(len(start))
    edges, times = [edge, edge], [np.zeros(len(start)), np.ones(len(start))]
    for axis in range(2):
        a, b = start[:, axis], end[:, axis]
        first = np.floor(np.minimum(a, b)) + 1
        count = np.maximum(np.ceil(np.maximum(a, b)) - first, 0).astype(int)
        owner = np.repeat(edge, count)
        offset = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        edges.append(owner)
        times.append((first[owner] + offset - a[owner]) / (b[owner] - a[owner]))
    owner, time = np.concatenate(edges), np.concatenate(times)
    order = np.argsort(owner + np.minimum(time, 1) / 2)
    owner, time = owner[order], time[order]
    points = start[owner] + time[:, None] * (end - start)[owner]
    same = owner[1:] == owner[:-1]
    return points[:-1, 0][same], points[:-1, 1][same], points[1:, 0][same], points[1:, 1][same]


def ribbon(path: FloatArray, radius: float | FloatArray) -> FloatArray:
    """Polygon of a line along ``path`` (n, 2), ends cut square; ``radius``, one or one per point, is its half width."""
    ahead = np.gradient(path, axis=0)
    ahead /= np.maximum(np.hypot(ahead[:, 0], ahead[:, 1]), 1e-9)[:, None]
    side = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1) * np.broadcast_to(radius, len(path))[:, None]
    return np.concatenate([path + side, (path - side)[::-1]])


def stroke(shape: tuple[int, int], path: FloatArray, radius: float | FloatArray) -> Patch:
    """Coverage of a line of half width ``radius`` along ``path`` (n, 2) that ends exactly, and square, at its ends."""
    return fill(shape, ribbon(path, radius))


def rim(shape: tuple[int, int], polygon: FloatArray, radius: float) -> Patch:
    """Coverage of a line of half width ``radius`` around a polygon (n, 2); it may repeat its first point."""
    around = polygon if np.array_equal(polygon[0], polygon[-1]) else np.concatenate([polygon, polygon[:1]])
    return stroke(shape, around, radius)


def mask(shape: tuple[int, int], *polygons: FloatArray) -> Picture:
    """A picture of (height, width) that is 1 under the union of polygons and 0 elsewhere."""
    picture = np.zeros(shape, np.float32)
    add(picture, fill(shape, *polygons), 1.0)
    return picture


def add(picture: Picture, patch: Patch, density: float) -> None:
    """Add a patch, times ``density``, to a picture."""
    picture[patch.window] += np.float32(density) * patch.cover


def box(left: float, top: float, right: float, bottom: float) -> FloatArray:
    """Polygon of an upright rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def disk(center: Sequence[float] | FloatArray, radius: float, stretch: float = 1.0, points: int = 32) -> FloatArray:
    """Polygon of an ellipse: half width ``radius``, half height ``radius * stretch``."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.asarray(center, np.float64) + radius * np.stack([np.cos(angle), stretch * np.sin(angle)], axis=1)


def smooth(knots: Sequence[Sequence[float]] | FloatArray, step: float, closed: bool = False) -> FloatArray:
    """Points about ``step`` apart on the cubic spline through ``knots`` (n, 2); every knot is one of the points."""
    nodes = np.asarray(knots, np.float64)
    if closed:
        nodes = np.concatenate([nodes, nodes[:1]])
    chord = np.hypot(*np.diff(nodes, axis=0).T)
    time = np.concatenate([[0], np.cumsum(np.sqrt(chord))])  # centripetal: no loops between uneven knots
    count = np.maximum(np.ceil(chord / step), 1).astype(int)
    at = np.concatenate([np.linspace(a, b, n, endpoint=False) for a, b, n in zip(time, time[1:], count, strict=False)])
    at = at if closed else np.append(at, time[-1])
    return np.asarray(CubicSpline(time, nodes, bc_type="periodic" if closed else "natural")(at))


def wander(
    rng: np.random.Generator, start: FloatArray, heading: float, length: float, step: float, bend: float
) -> FloatArray:
    """A smooth random walk from ``start``: the heading changes by about ``bend`` radians over its ``length``."""
    count = max(int(length / step), 8)
    turn = np.interp(np.linspace(0, 5, count), np.arange(6), rng.normal(0, bend / count, 6))
    angle = heading + np.cumsum(turn)
    steps = step * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def field(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Picture:
    """A smooth random field of (height, width), values about N(0, 1), with ``cells`` bumps along the longer side."""
    scale = cells / max(shape)
    coarse = rng.standard_normal((max(int(shape[0] * scale), 2), max(int(shape[1] * scale), 2)), dtype=np.float32)
    return enlarge(coarse, shape)


def enlarge(picture: Picture, shape: tuple[int, int]) -> Picture:
    """Resample to (height, width), both pictures filling the same area."""
    image = Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.array(image, np.float32)


def blur(picture: Picture, sigma: float) -> Picture:
    """Gaussian blur, the border repeated."""
    return np.asarray(gaussian_filter(picture, sigma, mode="nearest", truncate=3.0))


def to_bytes(picture: Picture) -> npt.NDArray[np.uint8]:
    """Values 0..1 as 8-bit grey levels, rounded and cut."""
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)
