"""What the tests of the labelling page share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_browser import CHROMIUM, FLAGS, playwright
from label_sets import draw


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, one with an umlaut and a space in its name."""
    for seed, name in enumerate(("a.png", "b.png", "ä ö.png")):
        draw(tmp_path / "photos" / name, seed=seed)
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
