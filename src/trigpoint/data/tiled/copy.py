"""A tiled copy of an image, for methods that read only the tiles they need."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data.files import Progress, check_path, refuse_existing
from trigpoint.data.pixels import tiff
from trigpoint.data.pixels.images import BYTES_PER_PIXEL, MAX_PIXELS, ImageData, read_image
from trigpoint.data.tiled.image import TiledImage, is_tiled, open_tiled
from trigpoint.data.tiled.tiff import TiffTiles
from trigpoint.data.tiled.write import write_tiled
from trigpoint.errors import DataError


def tile_image(
    source: str | Path,
    target: str | Path,
    *,
    tile: int = 256,
    overwrite: bool = False,
    fill_missing: bool = False,
    progress: Progress | None = None,
    on_whole: Callable[[ImageData], None] | None = None,
) -> Path:
    """A tiled copy of any image that can be read, see ``write_tiled``; millimetres are kept where the file states them.

    Tiled files, zarr and TIFF in strips are read piece by piece; everything else is decoded whole if the memory of this
    machine holds it, which ``on_whole`` is told with the image. Values stay as they are, except that those of DICOM and
    floating point TIFF are stretched from their range (``ImageData.value_range``) to that of 16 bit.
    """
    file, out = Path(source), Path(target)
    for path in (file, out):
        check_path(path)
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise DataError(f"{out}: expected a name that ends with .tif or .tiff; correct OUT")
    if out.exists() and file.exists() and out.samefile(file):
        raise DataError(f"{out}: expected another file than the one that is read; give OUT another name")
    refuse_existing(out, overwrite)
    with ExitStack() as opened:
        image = _piecewise(file, fill_missing)
        if image is not None:
            opened.enter_context(image)
            size, spacing_mm, step = image.size, image.spacing_mm, image.tiles[0][0]
            bands = (image.read(0, top, 0, step, size[1]) for top in range(0, size[0], step))
            rows = (np.moveaxis(band, 0, -1) for band in bands)
        else:
            whole = read_image(file, max_pixels=_most_pixels())
            if on_whole is not None:
                on_whole(whole)
            size, spacing_mm = (whole.height, whole.width), whole.spacing_mm
            rows = (_stored_values(whole, slice(top, top + tile)) for top in range(0, whole.height, tile))
        return write_tiled(out, size, rows, tile=tile, spacing_mm=spacing_mm, overwrite=overwrite, progress=progress)


def _most_pixels() -> int:
    """Of an image that half the memory of this machine holds, or ``MAX_PIXELS`` where that is more or not known."""
    names = getattr(os, "sysconf_names", {})
    known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else 0
    return max(memory // 2 // BYTES_PER_PIXEL, MAX_PIXELS)


def _piecewise(file: Path, fill_missing: bool) -> TiledImage | None:
    """The image as tiles or as strips of rows; None: it has to be decoded whole."""
    if file.is_dir() or is_tiled(file):
        return open_tiled(file, cache_bytes=0, fill_missing=fill_missing)
    if not file.is_file() or not tiff.is_tiff(file):
        return None
    try:
        return TiledImage(TiffTiles(file, strips=True), cache_bytes=0)
    except DataError:  # a palette, floating point, one huge strip, damage: decoding it whole works or says why not
        return None


def _stored_values(image: ImageData, rows: slice) -> npt.NDArray[Any]:
    """Rows (h, W, C) as they are, or stretched to 16 bit when the type does not say what white is."""
    pixels = np.moveaxis(image.pixels[:, rows], 0, -1)
    black, white = image.value_range
    if pixels.dtype != np.float32 and (black, white) == (0.0, float(np.iinfo(pixels.dtype).max)):
        return pixels
    unit = (pixels.astype(np.float64) - black) / max(white - black, np.finfo(np.float64).tiny)
    return np.asarray(np.rint(unit.clip(0, 1) * np.iinfo(np.uint16).max), np.uint16)
