"""Images too large for memory: tiled (OME-)TIFF and zarr, of which only the tiles that are needed are read.

- ``image``: ``open_tiled`` gives a ``TiledImage``, read by regions
- ``store``, ``tiff``, ``zarr``: the tiles of a file, by format
- ``pyramid``: ``LazyPyramid``, the glimpses of such an image, as the foveated methods take them
- ``reduced``: the whole of such an image, smaller
- ``write``: a pyramidal tiled TIFF from strips of rows; ``copy``: from any image (``trigpoint data tile``)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trigpoint.data.tiled.image import StoredLevel, TiledImage, is_tiled, open_tiled
from trigpoint.data.tiled.store import REMEDY
from trigpoint.imports import lazy

if TYPE_CHECKING:
    from trigpoint.data.tiled.copy import tile_image
    from trigpoint.data.tiled.write import halve_edge, write_tiled

__all__ = ["REMEDY", "StoredLevel", "TiledImage", "halve_edge", "is_tiled", "open_tiled", "tile_image", "write_tiled"]

__getattr__ = lazy(  # reading needs no PyTorch
    __name__,
    {
        "trigpoint.data.tiled.copy": ("tile_image",),
        "trigpoint.data.tiled.write": ("halve_edge", "write_tiled"),
    },
)
