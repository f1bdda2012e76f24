"""Where the slice of a DICOM file lies in the patient: what turns millimetres of the patient into pixels."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trigpoint.data.pixels.dicom import SPACINGS, read_tags
from trigpoint.errors import DataError


class Placement(NamedTuple):
    """Where a slice lies in the patient: LPS millimetres of the centre of its first pixel, directions, pixel sizes.

    ``right`` and ``down`` are unit vectors of a step along a row and along a column, ``spacing`` millimetres (x, y).
    """

    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    right: tuple[float, float, float] = (1.0, 0.0, 0.0)
    down: tuple[float, float, float] = (0.0, 1.0, 0.0)
    spacing: tuple[float, float] = (1.0, 1.0)
    thickness: float = 1.0


def placement(file: Path) -> Placement:
    """The place of a DICOM image; what it does not state is that of ``Placement()``. Raises DataError."""
    tags = ["ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", *SPACINGS]
    data = read_tags(file, ["Rows", "Columns", *tags], stop_before_pixels=True)

    def numbers(name: str, count: int) -> list[float] | None:
        value = data.get(name)
        if value is None or value == "":
            return None
        try:
            found = [float(part) for part in (value if count > 1 else [value])]
        except (TypeError, ValueError, OverflowError):
            found = []
        if len(found) != count or not all(map(math.isfinite, found)):
            raise DataError(f"{file}: {name}: expected {count} numbers; repair the file")
        return found

    origin = numbers("ImagePositionPatient", 3) or Placement().origin
    turned = numbers("ImageOrientationPatient", 6) or [*Placement().right, *Placement().down]
    right, down = np.array(turned[:3]), np.array(turned[3:])
    if abs(right @ right - 1) > 1e-3 or abs(down @ down - 1) > 1e-3 or abs(right @ down) > 1e-3:
        raise DataError(f"{file}: ImageOrientationPatient: expected two unit vectors at right angles; repair the file")
    sizes = next((found for name in SPACINGS if (found := numbers(name, 2))), [1.0, 1.0])  # rows' distance first
    thickness = (numbers("SliceThickness", 1) or [1.0])[0]
    if min(sizes) <= 0:
        raise DataError(f"{file}: PixelSpacing: expected millimetres above 0; repair the file")
    x, y, z = origin
    return Placement((x, y, z), tuple(right.tolist()), tuple(down.tolist()), (sizes[1], sizes[0]), max(thickness, 0.0))
