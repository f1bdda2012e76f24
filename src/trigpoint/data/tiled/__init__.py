"""Images too large for memory: tiled (OME-)TIFF and zarr, of which only the tiles that are needed are read.

- ``image``: ``open_tiled`` gives a ``TiledImage``, read by regions
- ``store``, ``tiff``, ``zarr``: the tiles of a file, by format
- ``pyramid``: ``LazyPyramid``, the glimpses of such an image, as the foveated methods take them
- ``reduced``: the whole of such an image, smaller
- ``write``: a pyramidal tiled TIFF from strips of rows; ``copy``: from any image (``trigpoint data tile``)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trigpoint.data.tiled.image import StoredLevel, TiledImage, is_tiled, open_tiled
from trigpoint.data.tiled.store import REMEDY

if TYPE_CHECKING:
    from trigpoint.data.tiled.copy import tile_image
    from trigpoint.data.tiled.write import halve_edge, write_tiled

__all__ = ["REMEDY", "StoredLevel", "TiledImage", "halve_edge", "is_tiled", "open_tiled", "tile_image", "write_tiled"]

_HOMES = {
    "tile_image": "trigpoint.data.tiled.copy",
    "halve_edge": "trigpoint.data.tiled.write",
    "write_tiled": "trigpoint.data.tiled.write",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: reading needs no PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
