"""Where points lie: pixels and cells of coarser maps, affine maps, an image fitted into an input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from trigpoint.errors import ConfigError, DataError

FloatArray = npt.NDArray[np.float64]
if TYPE_CHECKING:
    import torch

    Points = TypeVar("Points", npt.NDArray[Any], torch.Tensor)
else:  # arrays need no PyTorch
    Points = TypeVar("Points")
FitMode = Literal["letterbox", "crop", "stretch"]


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


def from_corner(points: Points) -> Points:
    """Points of a tool that has the corner of the top-left pixel at (0, 0), to ours, which has its centre there.

    >>> from_corner(np.array([0.5, 3.0])).tolist()
    [0.0, 2.5]
    """
    return points - 0.5


def to_corner(points: Points) -> Points:
    """Our points as a tool counts them that has the corner of the top-left pixel at (0, 0).

    >>> to_corner(np.array([0.0, 2.5])).tolist()
    [0.5, 3.0]
    """
    return points + 0.5


def pixel_centers(n: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> torch.Tensor:
    """Coordinates (n,) of the pixel centres along an axis of ``n`` pixels: 0 .. n - 1."""
    import torch

    return torch.arange(n, dtype=dtype or torch.get_default_dtype(), device=device)


def inside(points: Points, size: tuple[int, int]) -> Points:
    """Whether points (..., 2) lie within an image of ``size`` (H, W), edges included: bool (...); NaN does not.

    >>> inside(np.array([[-0.5, 3.0], [8.0, 1.0], [np.nan, 1.0]]), (4, 8)).tolist()
    [True, False, False]
    """
    return within(points[..., 0], points[..., 1], size)


def within(x: Points, y: Points, size: tuple[int, int]) -> Points:
    """``inside`` for x and y of the same shape (...), each by itself: bool (...)."""
    height, width = size
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
        if matrix.shape != (2, 3) or not all(map(math.isfinite, matrix.ravel().tolist())):
            raise ConfigError(f"affine matrix: expected 2 x 3 finite numbers, got {np.asarray(self.matrix).tolist()}")
        if _determinant(matrix) == 0:
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
    def rotation(cls, about: Sequence[float], degrees: float, factor: float = 1.0) -> Affine:
        """Turn about a point and enlarge by ``factor``; positive turns x towards y, clockwise as seen on the screen."""
        c, s = factor * math.cos(math.radians(degrees)), factor * math.sin(math.radians(degrees))
        x, y = about
        return cls(np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y]]))

    @classmethod
    def flip(cls, width: int) -> Affine:
        """Mirror an image of ``width`` pixels left to right: x becomes width - 1 - x."""
        return cls(np.array([[-1, 0, width - 1], [0, 1, 0]]))

    def apply(self, points: Points) -> Points:
        """Map points (..., 2); a floating point tensor keeps its dtype and device, NaN stays NaN."""
        if not isinstance(points, np.ndarray):
            import torch

            dtype = points.dtype if points.is_floating_point() else torch.float64
            return map_points(torch.tensor(self.matrix, dtype=dtype, device=points.device), points)
        return np.asarray(points @ self.matrix[:, :2].T + self.matrix[:, 2])

    @property
    def scale(self) -> float:
        """How many times longer a length becomes, the geometric mean of both axes.

        >>> Affine.scale_about((3, 4), (2.0, 8.0)).scale
        4.0
        """
        return math.sqrt(abs(_determinant(self.matrix)))

    def inverse(self) -> Affine:
        """The map back."""
        return self._inverse

    @cached_property
    def _inverse(self) -> Affine:
        (a, b, c), (d, e, f) = self.matrix.tolist()
        det = a * e - b * d
        return Affine(np.array([[e, -b, b * f - e * c], [-d, a, d * c - a * f]]) / det)

    def __matmul__(self, first: Affine) -> Affine:
        product = self.matrix[:, :2] @ first.matrix
        product[:, 2] += self.matrix[:, 2]
        return Affine(product)

    def then(self, following: Affine) -> Affine:
        """This map first, ``following`` after it."""
        return following @ self


def _determinant(matrix: FloatArray) -> float:
    """Of the linear part of a (2, 3) matrix. Written out: on so few numbers a library call is all overhead."""
    (a, b, _), (d, e, _) = matrix.tolist()
    return float(a * e - b * d)


def map_points(matrices: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Map points (*B, ..., 2) by affine matrices (*B, 2, 3), as in ``Batch.to_original`` and ``Batch.points``.

    The result has the wider of the two dtypes, so float64 matrices give float64 points.
    """
    import torch

    dtype = torch.promote_types(matrices.dtype, points.dtype)
    matrices, points = matrices.to(dtype), points.to(dtype)
    lead = matrices.shape[:-2]
    matrices = matrices.reshape(*lead, *(1,) * (points.dim() - 1 - len(lead)), 2, 3)
    return (matrices[..., :2] * points[..., None, :]).sum(-1) + matrices[..., 2]


def fit(
    size: tuple[int, int],
    input_size: tuple[int, int],
    mode: FitMode = "letterbox",
    region: Sequence[float] | None = None,
) -> Affine:
    """The map from an image of ``size`` (H, W) to a network input of ``input_size`` (h, w), both centred.

    ``letterbox`` keeps the aspect ratio and shows the whole image (padded), ``crop`` keeps it and fills the input
    (the rest is cut off), ``stretch`` maps extent on extent, each axis with its own scale. ``region`` (left, top,
    right, bottom), shares of the image's width and height, takes the place of the whole image; what is beside it shows
    where ``letterbox`` would pad.

    >>> fit((100, 200), (50, 50), "stretch").apply(np.array([[-0.5, -0.5], [199.5, 99.5]])).tolist()
    [[-0.5, -0.5], [49.5, 49.5]]
    >>> fit((100, 200), (50, 50), region=(0.5, 0, 1, 1)).apply(np.array([[99.5, -0.5], [199.5, 99.5]])).tolist()
    [[-0.5, -0.5], [49.5, 49.5]]
    """
    if min(*size, *input_size) < 1:
        raise DataError(f"expected image and input of at least 1 x 1 pixel, got {size} and {input_size}")
    (h, w), (to_x, to_y) = input_size, center(input_size)
    left, top, right, bottom = region or (0.0, 0.0, 1.0, 1.0)
    width, height = (right - left) * size[1], (bottom - top) * size[0]
    x, y = (left + right) / 2 * size[1] - 0.5, (top + bottom) / 2 * size[0] - 0.5
    scales = {"letterbox": min(h / height, w / width), "crop": max(h / height, w / width)}
    if mode == "stretch":
        fx, fy = w / width, h / height
    elif mode in scales:
        fx = fy = scales[mode]
    else:
        raise ConfigError(f"fit: expected letterbox, crop or stretch, got {mode!r}; correct input.fit")
    return Affine(np.array([[fx, 0, to_x - fx * x], [0, fy, to_y - fy * y]]))
