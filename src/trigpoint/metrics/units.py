"""Numbers and lengths as all metrics take them; the part of them that predicting without PyTorch needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray

if TYPE_CHECKING:
    import torch

    ArrayLike = npt.ArrayLike | torch.Tensor
else:
    ArrayLike = Any


def as_array(values: ArrayLike) -> FloatArray:
    """Float64 array of anything array-like; a tensor is detached and brought to the CPU."""
    if hasattr(values, "detach"):  # of a tensor, whatever its type: NumPy knows no bfloat16
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def to_millimetres(values: ArrayLike, spacing_mm: ArrayLike) -> FloatArray:
    """Points (N, K, 2) or errors (N, ...) in pixels times the spacing of their image, mm per pixel.

    ``spacing_mm`` is (N,), or (N, 2) for x and y. Raises DataError for a spacing that is not positive and finite:
    millimetres are never guessed; and for errors, which have no direction, where x and y differ: see
    ``radial_error_mm``.

    >>> to_millimetres([[10.0, 20.0]], [0.1]).tolist()
    [[1.0, 2.0]]
    """
    v = as_array(values)
    sides = spacing_sides(spacing_mm, len(v) if v.ndim else 0)
    if v.ndim == 3 and v.shape[2] == 2:
        return v * sides[:, None, :]
    oblong = np.flatnonzero(sides[:, 0] != sides[:, 1])
    if oblong.size:
        raise DataError(
            f"spacing_mm of image {int(oblong[0])}: expected one number for errors, which have no direction, got "
            f"{sides[oblong[0]].tolist()}; take radial_error_mm of the points"
        )
    return v * sides[:, 0].reshape(-1, *[1] * (v.ndim - 1))


def spacing_sides(spacing_mm: ArrayLike, count: int) -> FloatArray:
    """Millimetres per pixel (N, 2) in x and y of ``count`` images, from (N,) or (N, 2).

    Raises DataError for another shape and for what is not positive and finite.
    """
    spacing = as_array(spacing_mm)
    check_lengths(spacing[:, 0] if spacing.ndim == 2 and spacing.shape[1] == 2 else spacing, count, "spacing_mm")
    sides = np.repeat(spacing[:, None], 2, axis=1) if spacing.ndim == 1 else spacing
    bad = np.flatnonzero(~((sides > 0) & np.isfinite(sides)).all(axis=1))
    if bad.size:
        got = spacing[bad[0]].tolist()
        raise DataError(
            f"spacing_mm of image {int(bad[0])}: expected mm per pixel above 0, got {got}; "
            "state it in dataset.yaml or in the table's column spacing_mm, or report pixels"
        )
    return sides


def check_lengths(per_image: FloatArray, count: int, what: str) -> None:
    """Raise DataError unless ``per_image`` is (``count``,)."""
    if per_image.shape != (count,):
        raise DataError(f"{what}: expected one number for each of {count} images, got {per_image.shape}")
