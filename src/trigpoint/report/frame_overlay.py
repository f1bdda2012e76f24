"""Points drawn into the pixels of an image or a frame: fast enough for a video, and without Matplotlib."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from trigpoint.geometry.points import from_grid, to_grid
from trigpoint.landmarks import FloatArray
from trigpoint.report.displayed import as_displayed
from trigpoint.report.palette import NAMED, colour_of

_SMALL, _LARGE = 512, 1024  # pixels of the longer side of a picture, where whole factors reach that
_MANY = 30  # landmarks that small crosses leave more of the image visible of
_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "NotoSans-Regular.ttf")  # with more than Latin letters


def draw_points(
    pixels: npt.NDArray[Any], points: FloatArray, window: tuple[float, float] | None = None, names: Sequence[str] = ()
) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3) of a frame with a cross at each of the ``points`` (N, K, 2), (x, y); NaN = none.

    ``pixels`` are those of an image or a frame, brought to 8 bits by ``as_displayed``, also by its ``window``. Each
    landmark has its colour, the same in every frame; a dark edge keeps the cross visible on any ground. Up to 12
    landmarks are labelled with their ``names``, if these are given.

    >>> drawn = draw_points(np.zeros((32, 32, 3), np.uint8), np.array([[[10.0, 20.0]]]))
    >>> drawn.shape, bool(drawn[20, 10].any()), bool(drawn[0].any())
    ((32, 32, 3), True, False)
    """
    image = Image.fromarray(as_displayed(pixels, window)).convert("RGB")
    brush = ImageDraw.Draw(image)
    width = max(1, round(min(image.size) / 240))
    arm = (2 if points.shape[1] > _MANY else 4) * width
    places = [(k, *(round(float(value)) for value in points[n, k])) for n, k in np.argwhere(_known(points)).tolist()]
    for k, x, y in places:
        for colour, more in (("#000000", 2), (colour_of(k), 0)):
            brush.line([(x - arm, y - arm), (x + arm, y + arm)], fill=colour, width=width + more)
            brush.line([(x - arm, y + arm), (x + arm, y - arm)], fill=colour, width=width + more)
    for k, x, y in places if len(names) <= NAMED else ():
        if k < len(names):
            _write(brush, names[k], (x, y), arm, image.width)
    return np.array(image)


def draw_image(
    pixels: npt.NDArray[Any], points: FloatArray, window: tuple[float, float] | None = None, names: Sequence[str] = ()
) -> npt.NDArray[np.uint8]:
    """As ``draw_points``, in a picture of a size to look at: small images are enlarged and large ones reduced by a
    whole factor.

    >>> [draw_image(np.zeros((side, 40), np.uint8), np.zeros((0, 1, 2))).shape[0] for side in (100, 700, 4000)]
    [600, 700, 1000]
    """
    image = Image.fromarray(as_displayed(pixels, window)).convert("RGB")
    longer = max(image.size)
    if longer < _SMALL:
        factor = -(-_SMALL // longer)
        image = image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
        points = from_grid(points, factor)
    elif longer > _LARGE:
        factor = -(-longer // _LARGE)
        image, points = image.reduce(factor), to_grid(points, factor)
    return draw_points(np.asarray(image), points, names=names)


def _known(points: FloatArray) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(-1))


def _write(brush: ImageDraw.ImageDraw, text: str, point: tuple[int, int], arm: int, width: int) -> None:
    """A name beside a point, to its left near the right border."""
    size = max(11, 2 * arm)
    inward = point[0] <= 0.75 * width
    place = (point[0] + (1.5 * arm if inward else -1.5 * arm), point[1] - arm)
    look: dict[str, Any] = {"fill": "#FFFFFF", "stroke_width": max(1, arm // 8), "stroke_fill": "#000000"}
    brush.text(place, text, font=_font(size, text.isascii()), anchor="ls" if inward else "rs", **look)


@lru_cache(maxsize=16)
def _font(size: int, plain: bool) -> Any:
    """Pillow's own font, which has Latin letters; of other names one of the system, where there is one."""
    for name in () if plain else _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
