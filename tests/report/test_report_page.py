"""The report in a browser: pictures are enlarged by mouse and by keys, on wide and narrow screens, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trigpoint.landmarks import LandmarkSet
from trigpoint.report import Picture, render_html
from trigpoint.report.figures import ced_plot
from trigpoint.report.overlays import Shown
from trigpoint.report.views import Gallery, detail_view, image_view

playwright = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium of the system: apt-get install chromium")
MARKS = LandmarkSet(tuple(f"mark {k}" for k in range(14)), skeleton=(("mark 0", "mark 5"),))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(0)
    pixels, points = rng.integers(0, 99, (300, 240), dtype=np.uint8), rng.uniform(40, 200, (14, 2))
    shown = Shown(points, points + 3, range(14))
    whole = image_view("a.png", "mean error 4.24 px", pixels, shown, MARKS, [(points, False)], "http://127.0.0.1/?a")
    near = detail_view("4.24 px in a.png", pixels, points[:2], MARKS, 0)
    curve, images = Picture("Curve", ced_plot({"a": [1.0, 2.0]}, 3.0)), Gallery("Worst", [whole] * 3, "", "label")
    figures: list[Picture | Gallery] = [curve, images, Gallery("Worst landmarks", [near], details=True)]
    page = tmp_path_factory.mktemp("page") / "report.html"
    page.write_text(render_html({"mre_px": 4.0}, figures))
    return page.as_uri()


@pytest.fixture(scope="module", params=[(1280, "light"), (400, "dark")], ids=["wide", "narrow"])
def page(request: pytest.FixtureRequest, report: str) -> Iterator[Any]:
    width, scheme = request.param
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page, fetched = context.new_page(), list[str]()
        page.on("request", lambda asked: fetched.append(asked.url))
        page.goto(report)
        yield page
        assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
        browser.close()


@pytest.mark.parametrize("kind", [".gallery:not(.details)", ".details", ".room:has(img)"])
def test_enter_enlarges_and_escape_brings_back(page: Any, kind: str) -> None:
    zoom = page.locator(f"{kind} .zoom").first
    zoom.focus()
    before = zoom.bounding_box()
    at = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    assert page.locator(":popover-open").count() == 1
    fits = zoom.bounding_box()
    assert fits["width"] > before["width"]
    assert fits["x"] >= 0
    assert fits["x"] + fits["width"] <= page.viewport_size["width"]
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).visibility") == "hidden"
    page.keyboard.press("Escape")
    assert page.locator(":popover-open").count() == 0
    assert zoom.evaluate("one => one === document.activeElement")
    assert zoom.bounding_box() == before
    assert page.evaluate("scrollY") == at


def test_numbers_and_their_key_are_there_once_it_is_enlarged(page: Any) -> None:
    view = page.locator(".gallery:not(.details) .pop").first
    label, key = view.locator("text").first, view.locator(".key li")
    assert not label.is_visible()
    view.locator(".zoom").click()
    assert label.is_visible()
    assert label.text_content() == "1"
    assert key.count() == 14
    assert key.nth(13).text_content() == "14 mark 13"
    fitted = view.locator(".zoom").bounding_box()["width"]
    view.locator("input").check()
    assert view.locator(".zoom").bounding_box()["width"] == pytest.approx(2 * fitted, abs=2)
    view.get_by_text("Close").click()
    assert page.locator(":popover-open").count() == 0


def test_the_keyboard_stays_within_what_is_enlarged(page: Any) -> None:
    zoom = page.locator(".gallery .zoom").first
    zoom.focus()
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("Tab")
        outside = "document.activeElement !== document.body && !document.activeElement.closest(':popover-open')"
        assert not page.evaluate(outside)
    page.keyboard.press("Escape")


def test_points_lie_over_the_pixels_that_they_are_of(page: Any) -> None:
    """A ring that is drawn in shares of the picture is where the share says, small and enlarged."""
    view = page.locator(".gallery:not(.details) .pop").first
    ring, picture = view.locator("circle").first, view.locator("svg.view")
    share = float(ring.get_attribute("cx").rstrip("%")) / 100
    for press in ("", "Enter"):
        if press:
            view.locator(".zoom").focus()
            page.keyboard.press(press)
        inner, outer = ring.bounding_box(), picture.bounding_box()
        middle = inner["x"] + inner["width"] / 2 - outer["x"]
        assert middle == pytest.approx(share * outer["width"], abs=1)
        ratio = outer["height"] / outer["width"]
        assert ratio == pytest.approx(300 / 240, abs=0.02)
    page.keyboard.press("Escape")


def test_nothing_is_wider_than_the_screen(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
