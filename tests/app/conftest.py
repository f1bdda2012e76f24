"""What the tests of the labelling page share."""

from __future__ import annotations

from pathlib import Path

import pytest
from label_sets import draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, one with an umlaut and a space in its name."""
    for seed, name in enumerate(("a.png", "b.png", "ä ö.png")):
        draw(tmp_path / "photos" / name, seed=seed)
    return tmp_path / "photos"
