"""What all else is made of: arrays, and how many millimetres a pixel is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Widths = Mapping[str, Mapping[str, float]]  # half widths of intervals, by measurement and unit
Spacing = tuple[float, float]  # millimetres per pixel, x and y


def spacing_pair(given: object, where: str = "spacing_mm") -> Spacing | None:
    """Millimetres per pixel (x, y) from one number, or two; None stays None. Raises DataError for anything else.

    >>> spacing_pair(0.1), spacing_pair([0.2, 0.1]), spacing_pair(None)
    ((0.1, 0.1), (0.2, 0.1), None)
    """
    if given is None:
        return None
    plain: Any = given.tolist() if isinstance(given, np.ndarray | np.generic) else given
    values = list(plain) if isinstance(plain, list | tuple) else [plain, plain]
    if len(values) != 2 or not all(_is_length(value) for value in values):
        expected = "expected millimetres per pixel above 0, one number, or two for x and y"
        raise DataError(f"{where}: {expected}, got {given!r:.80}; correct it, or leave it out")
    return float(values[0]), float(values[1])


def plain_spacing(spacing: Spacing | None) -> float | list[float] | None:
    """A spacing as files state it: one number where both are equal.

    >>> plain_spacing((0.1, 0.1)), plain_spacing((0.2, 0.1))
    (0.1, [0.2, 0.1])
    """
    if spacing is None:
        return None
    return spacing[0] if spacing[0] == spacing[1] else list(spacing)


def _is_length(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < np.inf
