"""Coordinates: the only package that holds a stride conversion, a half pixel or an affine matrix.

A point is (x, y), x right, y down, and the centre of the top-left pixel is (0, 0); an image W pixels wide therefore
extends from -0.5 to W - 0.5. Everything here follows from that one sentence:

- ``points``: ``to_grid`` / ``from_grid`` between pixels and the cells of a map ``stride`` times coarser;
  ``from_corner`` / ``to_corner`` for tools that count from a pixel's corner; ``Affine`` maps points, ``fit`` makes the
  one from an image to a network's input
- ``elastic``: ``Displacement``, a smooth deformation that maps points exactly, both ways
- ``images``: ``resample`` / ``warp`` move the pixels of an image by the same maps, in one resampling
- ``graph``: ``fit`` and ``resample`` as nodes of a graph, for export
- ``glimpses``: ``halve``, ``glimpse_points``, ``sample_points``: the levels of a pyramid and square glimpses of them
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trigpoint.geometry.elastic import Displacement
from trigpoint.geometry.points import (
    Affine,
    FitMode,
    Points,
    center,
    fit,
    from_corner,
    from_grid,
    inside,
    map_points,
    pixel_centers,
    to_corner,
    to_grid,
)
from trigpoint.imports import lazy

if TYPE_CHECKING:
    from trigpoint.geometry.glimpses import PYRAMID_TAPS, glimpse_points, halve, sample_points
    from trigpoint.geometry.images import resample, warp

__all__ = [
    "PYRAMID_TAPS",
    "Affine",
    "Displacement",
    "FitMode",
    "Points",
    "center",
    "fit",
    "from_corner",
    "from_grid",
    "glimpse_points",
    "halve",
    "inside",
    "map_points",
    "pixel_centers",
    "resample",
    "sample_points",
    "to_corner",
    "to_grid",
    "warp",
]

__getattr__ = lazy(  # points need no PyTorch
    __name__,
    {
        "trigpoint.geometry.glimpses": ("PYRAMID_TAPS", "glimpse_points", "halve", "sample_points"),
        "trigpoint.geometry.images": ("resample", "warp"),
    },
)
