"""The exported page of a multi-instance run in a browser; translating it takes longer than all else of the page."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_models import a_predictor, draw

from trigpoint.export import html as pages
from trigpoint.export.browser import NAMES, try_page
from trigpoint.export.export import TOLERANCE, checked_model
from trigpoint.export.writing import about_of

pytest.importorskip("playwright.sync_api")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), "")


@pytest.mark.soak
@pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium of the system: apt-get install chromium")
def test_something_in_one_image_and_nothing_in_another(tmp_path: Path) -> None:
    images = draw(tmp_path, 3)[:2]
    predictor = a_predictor("instances", {"name": "fixed", "sigma0": 3})
    predictor.method.threshold = 0.02  # between the scores of one image and those of the other
    model, _ = checked_model(predictor, Path("b.html"), images[:1])
    several = try_page(pages.page_text(model, about_of(model), "several"), CHROMIUM, predictor, images)
    assert not several.refused
    assert all(one.largest <= TOLERANCE for one in several.found)
    assert [one.moved.size > 0 for one in several.found] == [True, False]
