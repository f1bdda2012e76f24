"""Photographs that are stored lying down and turned upright by their EXIF orientation, which many tools do not know."""

import warnings
from pathlib import Path

import PIL.Image

from trigpoint.data.files import open_file

_ORIENTATION = 274  # the EXIF tag


def is_turned(image: Path) -> bool:
    """Whether a JPEG is shown otherwise than it is stored; False for other files. Only the header is read.

    >>> is_turned(Path("missing.jpg"))
    False
    """
    if image.suffix.lower() not in (".jpg", ".jpeg"):
        return False
    try:
        with warnings.catch_warnings(), open_file(image) as stream:
            warnings.simplefilter("ignore")  # about its size, which is checked where it is decoded
            return int(PIL.Image.open(stream, formats=("JPEG",)).getexif().get(_ORIENTATION, 1)) not in (0, 1)
    except Exception:  # told where the image is decoded
        return False
