"""Pixels as they are shown: 8 bits, grey or colour. Drawing points into them needs NumPy and Pillow, no Matplotlib."""

from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError

ImageArray = npt.NDArray[Any]
_SEEN = 0.02  # of a window that the values fill at least, or all would look black or white


def as_displayed(image: ImageArray, window: tuple[float, float] | None = None) -> npt.NDArray[np.uint8]:
    """Grey (H, W) or colour (H, W, 3), 8 bits; anything else is stretched from its 0.5 to its 99.5 percentile.

    ``window``: what is shown as black and white instead, unless it shows next to nothing of the values.

    >>> as_displayed(np.zeros((3, 4, 5), dtype=np.uint8)).shape
    (4, 5, 3)
    """
    values = np.asarray(image)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3):
        values = np.moveaxis(values, 0, 2)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3) or values.size == 0:
        raise DataError(f"image to draw: expected (H, W), (C, H, W) or (H, W, C), C of 1 or 3, got {np.shape(image)}")
    if values.dtype == np.uint8:
        return values
    low, high = (float(end) for end in np.nanpercentile(values.astype(np.float32), [0.5, 99.5]))
    if window is not None and min(high, window[1]) - max(low, window[0]) > _SEEN * (window[1] - window[0]):
        low, high = window
    elif not high > low:  # less than 1 % of the pixels are not of one value
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    spread = max(high - low, 1e-12)
    stretched = np.clip(np.nan_to_num((values.astype(np.float32) - low) / spread), 0.0, 1.0)
    eight: npt.NDArray[np.uint8] = np.round(255 * stretched).astype(np.uint8)
    return eight
