"""A smooth elastic deformation in closed form, so that image and points lose nothing between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import ConfigError

FloatArray = npt.NDArray[np.float64]

_FOLD_LIMIT = 1.0  # a displacement whose slope reaches this may fold the image over itself
_TOLERANCE = 1e-6  # px, where the fixed-point iteration stops


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
