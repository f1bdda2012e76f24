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

_SMALL, _LARGE = 512, 1536  # pixels of the longer side of a picture, where whole factors reach that
_MANY = 30  # landmarks that small crosses leave more of the image visible of
_NUMBERED = 40  # landmarks whose numbers still find room; a key says what they mean
_LINE, _GAP = 18, 10  # pixels of the key: a row, and around it
_FONTS = ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf", "NotoSans-Regular.ttf")  # with more than Latin letters


def draw_points(
    pixels: npt.NDArray[Any], points: FloatArray, window: tuple[float, float] | None = None, names: Sequence[str] = ()
) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3) of a frame with a cross at each of the ``points`` (N, K, 2), (x, y); NaN = none.

    ``pixels`` are those of an image or a frame, brought to 8 bits by ``as_displayed``, also by its ``window``. Each
    landmark has its colour, the same in every frame; a dark edge keeps the cross visible on any ground. Up to 12
    landmarks are labelled with their ``names``, if these are given, and up to 40 with their numbers from 1.

    >>> drawn = draw_points(np.zeros((32, 32, 3), np.uint8), np.array([[[10.0, 20.0]]]))
    >>> drawn.shape, bool(drawn[20, 10].any()), bool(drawn[0].any())
    ((32, 32, 3), True, False)
    """
    image = Image.fromarray(as_displayed(pixels, window)).convert("RGB")
    brush = ImageDraw.Draw(image)
    width = max(1, round(min(image.size) / 240))
    arm = (2 if points.shape[1] > _MANY else 3 if points.shape[1] > NAMED else 4) * width
    places = [
        (k, round(float(points[n, k, 0])), round(float(points[n, k, 1])))
        for n, k in np.argwhere(_known(points)).tolist()
    ]
    for k, x, y in places:
        for colour, more in (("#000000", 2), (colour_of(k), 0)):
            brush.line([(x - arm, y - arm), (x + arm, y + arm)], fill=colour, width=width + more)
            brush.line([(x - arm, y + arm), (x + arm, y - arm)], fill=colour, width=width + more)
    if len(names) <= NAMED:
        for k, x, y in places:
            if k < len(names):
                _write(brush, names[k], (x, y), arm, image.width)
    elif len(names) <= _NUMBERED:
        _number(brush, places, arm, image.size)
    return np.array(image)


def draw_image(
    pixels: npt.NDArray[Any], points: FloatArray, window: tuple[float, float] | None = None, names: Sequence[str] = ()
) -> npt.NDArray[np.uint8]:
    """As ``draw_points``, in a picture of a size to look at: small images are enlarged and large ones reduced by a
    whole factor. Where points have numbers, a key of their names stands below.

    >>> [draw_image(np.zeros((side, 40), np.uint8), np.zeros((0, 1, 2))).shape[0] for side in (100, 700, 4000)]
    [600, 700, 1334]
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
    drawn = draw_points(np.asarray(image), points, names=names)
    return np.concatenate([drawn, _key(names, image.width)]) if NAMED < len(names) <= _NUMBERED else drawn


def _key(names: Sequence[str], width: int) -> npt.NDArray[np.uint8]:
    """What the numbers mean, in columns, (H, width, 3)."""
    fonts = [_font(_LINE - 6, name.isascii()) for name in names]
    column = max(font.getlength(name) for font, name in zip(fonts, names, strict=True)) + 3 * _GAP
    columns = max(1, int((width - _GAP) // column))
    rows = -(-len(names) // columns)
    key = Image.new("RGB", (width, rows * _LINE + 2 * _GAP), "#16191D")
    brush = ImageDraw.Draw(key)
    for k, (name, font) in enumerate(zip(names, fonts, strict=True)):
        x, y = _GAP + (k // rows) * column, _GAP + (k % rows + 0.75) * _LINE
        brush.text((x + 1.6 * _GAP, y), str(k + 1), font=_font(_LINE - 6, True), anchor="rs", fill=colour_of(k))
        brush.text((x + 2.2 * _GAP, y), name, font=font, anchor="ls", fill="#FFFFFF")
    return np.array(key)


def _known(points: FloatArray) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(-1))


def _write(brush: ImageDraw.ImageDraw, text: str, point: tuple[int, int], arm: int, width: int) -> None:
    """A name beside a point, to its left near the right border."""
    size = max(11, 2 * arm)
    inward = point[0] <= 0.75 * width
    place = (point[0] + (1.5 * arm if inward else -1.5 * arm), point[1] - arm)
    look: dict[str, Any] = {"fill": "#FFFFFF", "stroke_width": max(1, arm // 8), "stroke_fill": "#000000"}
    brush.text(place, text, font=_font(size, text.isascii()), anchor="ls" if inward else "rs", **look)


def _number(
    brush: ImageDraw.ImageDraw, places: Sequence[tuple[int, int, int]], arm: int, image: tuple[int, int]
) -> None:
    """The numbers of landmarks, from 1, beside their ``places`` (landmark, x, y): on the side away from the others near
    them, where the most room is."""
    size = max(11, round(1.7 * arm))
    font = _font(size, True)
    at = np.array([place[1:] for place in places], np.float64).reshape(-1, 2)
    for (k, *_), point in zip(places, at, strict=True):
        apart = point - at
        far = np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1.0)
        away = (apart / far**3).sum(0) + np.array([1e-9, 0.0])  # as charges push one another
        away *= (arm + 0.8 * size) / np.linalg.norm(away)
        x, y = np.clip(point + away, size, np.array(image) - size)
        brush.text((x, y), str(k + 1), font=font, anchor="mm", fill=colour_of(k), stroke_width=1, stroke_fill="#000000")


@lru_cache(maxsize=16)
def _font(size: int, plain: bool) -> Any:
    """Pillow's own font, which has Latin letters; of other names one of the system, where there is one."""
    for name in () if plain else _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)
