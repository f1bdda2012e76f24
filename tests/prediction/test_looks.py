"""Images that look alike are near each other, whatever their exposure."""

from __future__ import annotations

import numpy as np
import pytest

from trigpoint.data.pixels.images import ImageData
from trigpoint.nn.pretrained import at_hand
from trigpoint.prediction.looks import NUMBERS, Looks


@pytest.mark.skipif(not at_hand("lite0"), reason="needs the weights lite0")
def test_brightness_counts_less_than_what_is_seen() -> None:
    rows, columns = np.mgrid[:96, :96]
    disc = np.where(np.hypot(rows - 40, columns - 50) < 25, 180.0, 40.0)
    lines = np.where(columns // 8 % 2, 180.0, 40.0)
    images = [ImageData(np.clip(one, 0, 255).astype(np.uint8)[None]) for one in (disc, 0.7 * disc + 20, lines)]
    assert Looks.known()
    found = Looks().of(images)
    assert found.shape == (3, NUMBERS)
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.linalg.norm(found[0] - found[1]) < 0.6 * np.linalg.norm(found[0] - found[2])
