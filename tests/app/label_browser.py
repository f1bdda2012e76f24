"""A window on the labelling page in the system's Chromium."""

from __future__ import annotations

import io
import shutil
import time
from typing import Any

import numpy as np
import PIL.Image
import pytest

playwright = pytest.importorskip("playwright.sync_api")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium of the system: apt-get install chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
WAIT = 60.0  # seconds; a moment where the machine has nothing else to do
LIT = 60.0  # grey value that only what is drawn for a test exceeds
# whether the viewer has heard of the last move (two frames) and draws nothing but the tiles of one level, all loaded
DRAWN = """() => new Promise((tell) => {
  const look = () => {
    const item = window.trigpoint.viewer.osd.world.getItemAt(0);
    const levels = item ? new Set(item.getTilesToDraw().map((drawn) => drawn.tile.level)) : new Set();
    tell(levels.size === 1 && item.getFullyLoaded());
  };
  requestAnimationFrame(() => requestAnimationFrame(look));
})"""


class Page:
    """One window on the page; errors in its console end the test."""

    address = ""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options}
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)
        self.wait("window.trigpoint?.viewer.ready")

    def close(self) -> None:
        self.context.close()
        assert not self.errors

    def wait(self, condition: str) -> None:
        """Until a condition in JavaScript holds; the page's own policy lets no text be run as code in it."""
        until = time.monotonic() + WAIT
        while not self.page.evaluate(f"() => Boolean({condition})"):
            assert time.monotonic() < until, f"{condition} did not come; {self.errors}"
            self.page.wait_for_timeout(20)

    def run(self, code: str) -> Any:
        return self.page.evaluate(f"() => {{ const {{ store, viewer, input, open }} = window.trigpoint; {code} }}")

    def saved(self) -> None:
        self.wait("!window.trigpoint.store.unsaved.size && !window.trigpoint.store.busy")

    def look_at(self, x: float, y: float, zoom: float) -> None:
        """Bring a point near the middle at so many device pixels to an image pixel, with all tiles there."""
        before = None  # a viewer that has just opened may yet fit the picture to its window
        while (now := self._looked_at(x, y, zoom)) != before:
            before = now

    def _looked_at(self, x: float, y: float, zoom: float) -> list[float]:
        self.run(
            f"viewer.zoomTo({zoom}); const w = viewer.picture.width;"
            f"viewer.osd.viewport.panTo(new OpenSeadragon.Point({x} / w, {y} / w), true);"
        )
        self.run("viewer.osd.viewport.zoomSpring.resetTo(viewer.osd.viewport.zoomSpring.target.value);")
        self.wait("window.trigpoint.viewer.item.getFullyLoaded()")
        self.page.wait_for_timeout(120)
        return list(self.run("const { x, y } = viewer.osd.viewport.getCenter(); return [viewer.scale, x, y];"))

    def picture(self, ratio: float) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
        """The viewer as it is seen, and the device pixel of its corner."""
        box = self.page.locator("#osd").bounding_box()
        shot = np.asarray(PIL.Image.open(io.BytesIO(self.page.screenshot(scale="device"))).convert("L"), np.float64)
        left, top, width, height = (round(box[key] * ratio) for key in ("x", "y", "width", "height"))
        return shot[top : top + height, left : left + width], (left, top)

    def steady_picture(self, ratio: float) -> tuple[np.ndarray[Any, Any], tuple[int, int]]:
        """The viewer once it shows a disc and no longer changes: a loaded tile is drawn some moments later."""
        until, before = time.monotonic() + WAIT, None
        while time.monotonic() < until:
            drawn = self.page.evaluate(DRAWN)
            shot, corner = self.picture(ratio)
            if drawn and shot.max() > LIT and before is not None and np.array_equal(shot, before):
                return shot, corner  # a coarse tile that waits for a fine one would lie half a pixel of its own off
            before = shot if drawn else None
            self.page.wait_for_timeout(50)
        raise AssertionError(f"no disc came into view; {self.errors}")
