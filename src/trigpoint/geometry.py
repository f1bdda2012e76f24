"""Coordinates: the only file that holds a stride conversion, a half pixel or an affine matrix.

A point is (x, y), x right, y down, and the centre of the top-left pixel is (0, 0); an image W pixels wide therefore
extends from -0.5 to W - 0.5. Everything below follows from that one sentence:

- ``to_grid`` / ``from_grid`` between pixels and the cells of a map ``stride`` times coarser
- ``Affine`` maps points; ``fit`` makes the one from an image to a network's input
- ``Displacement`` is a smooth elastic deformation that maps points exactly, both ways
- ``resample`` / ``warp`` move the pixels of an image by the same maps, in one resampling
- ``flip_points`` / ``flip_maps`` for predictions on mirrored images
- ``halve`` / ``glimpse_points`` / ``sample_points``: the levels of a pyramid and square glimpses of them
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from trigpoint.errors import ConfigError, DataError

FloatArray = npt.NDArray[np.float64]
Points = TypeVar("Points", npt.NDArray[Any], torch.Tensor)
FitMode = Literal["letterbox", "crop", "stretch"]

_FOLD_LIMIT = 1.0  # a displacement whose slope reaches this may fold the image over itself
_TOLERANCE = 1e-6  # px, where the fixed-point iteration stops

PYRAMID_TAPS = (0.0020444, 0.0718655, 0.4260901, 0.4260901, 0.0718655, 0.0020444)
"""Weights of the pixels -2.5 to 2.5 away from the middle of a coarser one: a Gaussian of sd sqrt(2 ln 2) / (pi / 2) =
0.7496, as the official code of the foveated pyramid has it, but centred between two pixels and not on every second."""


def to_grid(points: Points, stride: float) -> Points:
    """Pixels to cells of a map ``stride`` times coarser; any shape, arrays and tensors alike.

    The two share their left edge at -0.5, not their first centre.

    >>> to_grid(np.array([1.5, 5.5]), 4).tolist()
    [0.0, 1.0]
    """
    return (points + 0.5) / stride - 0.5


def from_grid(points: Points, stride: float) -> Points:
    """Cells of a map ``stride`` times coarser to pixels; the inverse of ``to_grid``.

    >>> from_grid(np.array([0.0, 1.0]), 4).tolist()
    [1.5, 5.5]
    """
    return (points + 0.5) * stride - 0.5


def pixel_centers(n: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> torch.Tensor:
    """Coordinates (n,) of the pixel centres along an axis of ``n`` pixels: 0 .. n - 1."""
    return torch.arange(n, dtype=dtype or torch.get_default_dtype(), device=device)


def inside(points: Points, size: tuple[int, int]) -> Points:
    """Whether points (..., 2) lie within an image of ``size`` (H, W), edges included: bool (...); NaN does not.

    >>> inside(np.array([[-0.5, 3.0], [8.0, 1.0], [np.nan, 1.0]]), (4, 8)).tolist()
    [True, False, False]
    """
    height, width = size
    x, y = points[..., 0], points[..., 1]
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def center(size: tuple[int, int]) -> tuple[float, float]:
    """The (x, y) of the middle of an image of ``size`` (H, W)."""
    return (size[1] - 1) / 2, (size[0] - 1) / 2


@dataclass(frozen=True, eq=False)
class Affine:
    """An affine map of (x, y) points, float64. ``a @ b`` does ``b`` first; ``b.then(a)`` is the same map.

    ``matrix`` is (2, 3), or (3, 3) with last row 0 0 1, and is kept as (2, 3). Raises ConfigError for another shape,
    a value that is not finite, or a map that cannot be inverted.

    >>> move = Affine.shift(1, 0).then(Affine.scale_about((0, 0), 2))
    >>> move.apply(np.array([3.0, 1.0])).tolist()
    [8.0, 2.0]
    """

    matrix: FloatArray

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape == (3, 3) and np.array_equal(matrix[2], (0.0, 0.0, 1.0)):
            matrix = matrix[:2]
        if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
            raise ConfigError(f"affine matrix: expected 2 x 3 finite numbers, got {np.asarray(self.matrix).tolist()}")
        if np.linalg.det(matrix[:, :2]) == 0:
            raise ConfigError(f"affine matrix: expected one with an inverse, got {matrix.tolist()}")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> Affine:
        """The map that changes nothing."""
        return cls(np.eye(2, 3))

    @classmethod
    def shift(cls, dx: float, dy: float) -> Affine:
        """Move by (dx, dy) pixels."""
        return cls(np.array([[1, 0, dx], [0, 1, dy]]))

    @classmethod
    def scale_about(cls, about: Sequence[float], factor: float | tuple[float, float]) -> Affine:
        """Enlarge by ``factor``, or (factor x, factor y), leaving the point ``about`` in place."""
        fx, fy = factor if isinstance(factor, tuple) else (factor, factor)
        return cls(np.array([[fx, 0, (1 - fx) * about[0]], [0, fy, (1 - fy) * about[1]]]))

    @classmethod
    def rotation(cls, about: Sequence[float], degrees: float) -> Affine:
        """Turn about a point; positive turns x towards y, which is clockwise as seen on the screen."""
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        x, y = about
        return cls(np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y]]))

    @classmethod
    def flip(cls, width: int) -> Affine:
        """Mirror an image of ``width`` pixels left to right: x becomes width - 1 - x."""
        return cls(np.array([[-1, 0, width - 1], [0, 1, 0]]))

    @property
    def scale(self) -> float:
        """How many output pixels one input pixel becomes: the geometric mean over all directions."""
        return float(math.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def apply(self, points: Points) -> Points:
        """Map points (..., 2); a floating point tensor keeps its dtype and device, NaN stays NaN."""
        if isinstance(points, torch.Tensor):
            dtype = points.dtype if points.is_floating_point() else torch.float64
            return map_points(torch.tensor(self.matrix, dtype=dtype, device=points.device), points)
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])

    def inverse(self) -> Affine:
        """The map back."""
        linear = np.linalg.inv(self.matrix[:, :2])
        return Affine(np.column_stack([linear, -linear @ self.matrix[:, 2]]))

    def __matmul__(self, first: Affine) -> Affine:
        linear = self.matrix[:, :2] @ first.matrix[:, :2]
        return Affine(np.column_stack([linear, self.matrix[:, :2] @ first.matrix[:, 2] + self.matrix[:, 2]]))

    def then(self, following: Affine) -> Affine:
        """This map first, ``following`` after it."""
        return following @ self


def map_points(matrices: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Map points (*B, ..., 2) by affine matrices (*B, 2, 3), as in ``Batch.to_original`` and ``Batch.points``.

    The result has the wider of the two dtypes, so float64 matrices give float64 points.
    """
    dtype = torch.promote_types(matrices.dtype, points.dtype)
    matrices, points = matrices.to(dtype), points.to(dtype)
    lead = matrices.shape[:-2]
    matrices = matrices.reshape(*lead, *(1,) * (points.dim() - 1 - len(lead)), 2, 3)
    return (matrices[..., :2] * points[..., None, :]).sum(-1) + matrices[..., 2]


def fit(size: tuple[int, int], input_size: tuple[int, int], mode: FitMode = "letterbox") -> Affine:
    """The map from an image of ``size`` (H, W) to a network input of ``input_size`` (h, w), both centred.

    ``letterbox`` keeps the aspect ratio and shows the whole image (padded), ``crop`` keeps it and fills the input
    (the rest is cut off), ``stretch`` maps extent on extent, each axis with its own scale.

    >>> fit((100, 200), (50, 50), "stretch").apply(np.array([[-0.5, -0.5], [199.5, 99.5]])).tolist()
    [[-0.5, -0.5], [49.5, 49.5]]
    """
    (height, width), (h, w) = size, input_size
    if min(height, width, h, w) < 1:
        raise DataError(f"expected image and input of at least 1 x 1 pixel, got {size} and {input_size}")
    scales = {"letterbox": min(h / height, w / width), "crop": max(h / height, w / width)}
    if mode == "stretch":
        factor = (w / width, h / height)
    elif mode in scales:
        factor = (scales[mode], scales[mode])
    else:
        raise ConfigError(f"fit: expected letterbox, crop or stretch, got {mode!r}; correct input.fit")
    (x, y), (to_x, to_y) = center(size), center(input_size)
    return Affine.scale_about((x, y), factor).then(Affine.shift(to_x - x, to_y - y))


@dataclass(frozen=True, eq=False)
class Displacement:
    """A smooth elastic deformation: the pixel at q shows what stood at q + d(q) before it.

    d is a uniform cubic B-spline over ``nodes`` (2, rows, columns), the x and y parts in pixels, ``spacing`` pixels
    apart; beyond ``size`` (H, W) it continues with its border values. Image and points use the same closed form, so
    nothing is lost between them. Raises ConfigError when the field is so steep that it could fold.
    """

    nodes: FloatArray
    spacing: float
    size: tuple[int, int]

    def __post_init__(self) -> None:
        rows, columns = (_node_count(n, self.spacing) for n in self.size)
        if self.nodes.shape != (2, rows, columns):
            raise ConfigError(f"displacement nodes: expected shape {(2, rows, columns)}, got {self.nodes.shape}")
        steep = max(sum(np.abs(np.diff(part, axis=axis)).max() for axis in (0, 1)) for part in self.nodes)
        if steep >= _FOLD_LIMIT * self.spacing:
            raise ConfigError(
                f"displacement: expected nodes to differ by less than their spacing of {self.spacing:g} px, got a sum "
                f"of differences of {steep:g} px, which could fold the image; lower the amplitude or widen the spacing"
            )

    @classmethod
    def random(cls, size: tuple[int, int], amplitude: float, spacing: float, rng: np.random.Generator) -> Displacement:
        """Nodes uniform in +-``amplitude`` px, so no pixel moves further than that along x or y.

        ``spacing`` above 4 x ``amplitude`` can never fold.
        """
        shape = (2, _node_count(size[0], spacing), _node_count(size[1], spacing))
        return cls(rng.uniform(-amplitude, amplitude, shape), spacing, size)

    @property
    def reach(self) -> float:
        """An upper bound of the displacement along x or y, in pixels."""
        return float(np.abs(self.nodes).max())

    def dense(self) -> FloatArray:
        """d at every pixel centre: (2, H, W), x part first."""
        height, width = self.size
        return np.asarray(self._basis(np.arange(height), 0) @ self.nodes @ self._basis(np.arange(width), 1).T)

    def source(self, points: npt.NDArray[Any]) -> FloatArray:
        """Where the content at points (..., 2) of the deformed image stood before: q + d(q)."""
        flat = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        x, y = self._basis(flat[:, 0], 1), self._basis(flat[:, 1], 0)
        return np.asarray(flat + np.einsum("ni,cij,nj->nc", y, self.nodes, x)).reshape(np.shape(points))

    def push(self, points: npt.NDArray[Any]) -> FloatArray:
        """Where the content at points (..., 2) goes: the inverse of ``source``, to 1e-5 px. NaN stays NaN.

        Fixed-point iteration q <- p - d(q), which contracts because d is less steep than 1.
        """
        target = np.asarray(points, dtype=np.float64)
        moved = target
        for _ in range(1000):
            following = target - (self.source(moved) - moved)
            step = np.abs(following - moved)
            moved = following
            if not np.any(step > _TOLERANCE):
                break
        return moved

    def _basis(self, coordinates: npt.NDArray[Any], axis: int) -> FloatArray:
        """Weights (n, nodes) of the cubic B-spline at coordinates (n,) along an axis."""
        at = np.clip(coordinates, 0, self.size[axis] - 1) / self.spacing + 1  # node 1 stands on pixel 0
        r = np.abs(at[:, None] - np.arange(_node_count(self.size[axis], self.spacing)))
        return np.where(r < 1, 2 / 3 - r**2 + r**3 / 2, np.where(r < 2, (2 - r) ** 3 / 6, 0.0))


def _node_count(n: int, spacing: float) -> int:
    return int((n - 1) / spacing) + 4


def resample(
    image: torch.Tensor, to_input: Affine, input_size: tuple[int, int], displacement: Displacement | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Show ``image`` (C, H, W) through ``to_input`` and then ``displacement``, with a single resampling.

    Returns float32 values (C, h, w) in the units of the image, continued beyond its edge, and a bool mask (h, w) of
    the pixels that lie within its extent. When the map shrinks, whole blocks of pixels are averaged first (against
    aliasing), and the position of their centres is part of the map.
    """
    if image.dim() != 3 or image.shape[1] < 1 or image.shape[2] < 1:
        raise DataError(f"expected an image of shape (channels, height, width), got {tuple(image.shape)}")
    if displacement is not None and displacement.size != input_size:
        raise ConfigError(f"displacement: expected one of the input's size {input_size}, got {displacement.size}")
    size = (int(image.shape[1]), int(image.shape[2]))
    if displacement is None and size == input_size and np.array_equal(to_input.matrix, np.eye(2, 3)):
        return image.to(torch.float32), torch.ones(size, dtype=torch.bool, device=image.device)  # nothing to resample
    back = to_input.inverse()
    points = _source_points(back, input_size, displacement, image.device)
    mask = inside(points, size)
    (left, right), (top, bottom), block = _region(size, back, input_size, displacement)
    values = _block_mean(image[:, top:bottom, left:right], block)
    # grid_sample counts from -1 at the left edge to 1 at the right edge of the averaged region
    extent = points.new_tensor([values.shape[2] * block[0], values.shape[1] * block[1]])
    grid = (points - points.new_tensor([left - 0.5, top - 0.5])) * (2 / extent) - 1
    return F.grid_sample(values[None], grid[None], padding_mode="border", align_corners=False)[0], mask


def warp(
    image: torch.Tensor,
    to_input: Affine,
    input_size: tuple[int, int],
    displacement: Displacement | None = None,
    fill: float | Literal["edge"] = 0.0,
) -> torch.Tensor:
    """``resample`` with everything beyond the image set to ``fill``, or continued from its edge: float32 (C, h, w).

    >>> image = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4)
    >>> warp(image, fit((4, 4), (2, 2)), (2, 2)).tolist()
    [[[2.5, 4.5], [10.5, 12.5]]]
    """
    values, mask = resample(image, to_input, input_size, displacement)
    return values if fill == "edge" else values.masked_fill(~mask, fill)


def _source_points(
    back: Affine, input_size: tuple[int, int], displacement: Displacement | None, device: torch.device
) -> torch.Tensor:
    """Image pixel (h, w, 2) that each input pixel shows."""
    x = pixel_centers(input_size[1], torch.float32, device)[None, :]
    y = pixel_centers(input_size[0], torch.float32, device)[:, None]
    if displacement is not None:
        dx, dy = torch.from_numpy(displacement.dense()).to(x)
        x, y = x + dx, y + dy
    (a, b, c), (d, e, f) = back.matrix.tolist()
    return torch.stack([a * x + (b * y + c), d * x + (e * y + f)], dim=-1)


def _region(
    size: tuple[int, int], back: Affine, input_size: tuple[int, int], displacement: Displacement | None
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """The columns and rows (start, stop) that the input can show, and the block (x, y) to average before sampling."""
    reach = displacement.reach if displacement is not None else 0.0
    low, (right, bottom) = -0.5 - reach, (input_size[1] - 0.5 + reach, input_size[0] - 0.5 + reach)
    corners = back.apply(np.array([[low, low], [right, low], [low, bottom], [right, bottom]]))
    forward = back.inverse().matrix[:, :2]
    spans, blocks = [], []
    for axis, length in enumerate((size[1], size[0])):
        # rounded, so that what is left to bilinear sampling shrinks by less than 1.5
        block = max(1, math.floor(1 / float(np.hypot(*forward[:, axis])) + 0.5))
        block = min(block, length)
        start = math.floor(float(corners[:, axis].min())) - 2 * block
        stop = math.ceil(float(corners[:, axis].max())) + 2 * block
        start = min(max(start, 0), length - 1)
        stop = min(max(stop, start + 1), length)
        spans.append((start, stop))
        blocks.append(block)
    return spans[0], spans[1], (blocks[0], blocks[1])


def _block_mean(image: torch.Tensor, block: tuple[int, int]) -> torch.Tensor:
    """Means (C, ceil(H / y), ceil(W / x)) of blocks, the edge repeated to fill the last ones; float32.

    Sums of strided slices: for 8-bit images faster than pooling, which has to make them all float first.
    """
    if block == (1, 1):
        return image.to(torch.float32)
    total = image.to(torch.int32) if image.dtype == torch.uint16 else image  # torch does not add uint16
    for dim, n in ((1, block[1]), (2, block[0])):
        if n == 1:
            continue
        short = -total.shape[dim] % n
        if short:
            edge = total.narrow(dim, total.shape[dim] - 1, 1)
            total = torch.cat([total, *[edge] * short], dim)
        wide = torch.float32 if total.is_floating_point() or dim == 2 else torch.int32
        part = (slice(None),) * dim
        parts = [total[(*part, slice(i, None, n))] for i in range(n)]
        total = parts[0].to(wide, copy=True)
        for other in parts[1:]:
            total += other
    return total.to(torch.float32) / (block[0] * block[1])


def flip_points(points: Points, width: int, permutation: Sequence[int] | None = None) -> Points:
    """Points (..., K, 2) of the mirrored image; ``permutation`` (``LandmarkSet.flip_permutation``) swaps the pairs.

    >>> flip_points(np.array([[0.0, 5.0], [9.0, 6.0]]), 10, [1, 0]).tolist()
    [[0.0, 6.0], [9.0, 5.0]]
    """
    if permutation is not None:
        points = points[..., list(permutation), :]
    return Affine.flip(width).apply(points)


def flip_maps(maps: torch.Tensor, permutation: Sequence[int] | None = None) -> torch.Tensor:
    """Maps (..., K, H, W) of the mirrored image; mirrors a map of any stride that divides the input's width."""
    mirrored = maps.flip(-1)
    return mirrored if permutation is None else mirrored[..., list(permutation), :, :]


def halve(image: torch.Tensor) -> torch.Tensor:
    """The next coarser level (B, C, ceil(H / 2), ceil(W / 2)) of a pyramid, smoothed by ``PYRAMID_TAPS``; 0 outside.

    Its cell i is centred on the middle of the pixels 2 i and 2 i + 1, which is what ``to_grid(..., 2)`` says.

    >>> halve(torch.ones(1, 1, 16, 16))[0, 0, 4, 4].item()
    1.0
    """
    far, near, middle = PYRAMID_TAPS[:3]
    for axis in (-2, -1):  # rows first: they lie apart in memory, and half of them go
        n = int(image.shape[axis])
        cells = (n + 1) // 2
        padded = F.pad(image, (2, 2 + n % 2) if axis == -1 else (0, 0, 2, 2 + n % 2))
        last = 2 * cells - 1
        if axis == -2:
            tap = [padded[..., i : i + last : 2, :] for i in range(6)]
        else:
            tap = [padded[..., i : i + last : 2] for i in range(6)]
        image = (tap[2] + tap[3]).mul(middle).add(tap[1] + tap[4], alpha=near).add(tap[0] + tap[5], alpha=far)
    return image


def glimpse_points(centers: torch.Tensor, side: int, stride: float, linear: torch.Tensor | None = None) -> torch.Tensor:
    """Where the pixels of square glimpses lie on a level of ``stride``: (..., side, side, 2), pixels of that level.

    ``centers`` (..., 2) in image pixels. The glimpse shows the level pixel by pixel, or, with ``linear`` (..., 2, 2),
    turned and scaled: the pixel o glimpse pixels away from the middle shows what is ``linear`` @ o from the centre.
    """
    along = pixel_centers(side, centers.dtype, centers.device) - (side - 1) / 2
    offsets = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)
    if linear is not None:
        offsets = torch.einsum("...ij,yxj->...yxi", linear, offsets)
    return to_grid(centers, stride)[..., None, None, :] + offsets


def sample_points(maps: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Values (B, C, ...) of maps (B, C, H, W) at points (B, ..., 2) in their pixels: bilinear, 0 outside.

    Differentiable by both.

    >>> maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    >>> sample_points(maps, torch.tensor([[[0.5, 0.0], [1.0, 0.5], [9.0, 9.0]]]))
    tensor([[[0.5000, 2.5000, 0.0000]]])
    """
    size = points.new_tensor([maps.shape[-1], maps.shape[-2]])
    # grid_sample counts from -1 at the left edge to 1 at the right edge
    grid = ((points + 0.5) * (2 / size) - 1).reshape(points.shape[0], 1, -1, 2)
    values = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
    return values.reshape(*maps.shape[:2], *points.shape[1:-1])
