"""Points drawn into the pixels of a frame: fast enough for a video, and of the frame's own size."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from trigpoint.landmarks import FloatArray
from trigpoint.report import style
from trigpoint.report.overlays import as_displayed

_COLOURS = (style.PREDICTED, "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#FFFFFF")  # on dark and on light


def draw_points(
    pixels: npt.NDArray[Any], points: FloatArray, window: tuple[float, float] | None = None
) -> npt.NDArray[np.uint8]:
    """A picture (H, W, 3) of a frame with a cross at each of the ``points`` (N, K, 2), (x, y); NaN = none.

    ``pixels`` are those of an image or a frame, brought to 8 bits by ``as_displayed``, also by its ``window``. Each
    landmark has its colour, the same in every frame; a dark edge keeps the cross visible on any ground.

    >>> drawn = draw_points(np.zeros((32, 32, 3), np.uint8), np.array([[[10.0, 20.0]]]))
    >>> drawn.shape, bool(drawn[20, 10].any()), bool(drawn[0].any())
    ((32, 32, 3), True, False)
    """
    image = Image.fromarray(as_displayed(pixels, window)).convert("RGB")
    brush = ImageDraw.Draw(image)
    width = max(1, round(min(image.size) / 240))
    arm = 4 * width
    for n, k in np.argwhere(np.isfinite(points).all(-1)).tolist():
        x, y = (round(float(value)) for value in points[n, k])
        for colour, more in (("#000000", 2), (_COLOURS[k % len(_COLOURS)], 0)):
            brush.line([(x - arm, y - arm), (x + arm, y + arm)], fill=colour, width=width + more)
            brush.line([(x - arm, y + arm), (x + arm, y - arm)], fill=colour, width=width + more)
    return np.array(image)
