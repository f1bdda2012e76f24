"""A page tried in a browser before it is written: it has to find in images what the run finds, and to ask nobody."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.errors import DataError, RunError
from trigpoint.export.checking import CLEAR, Difference, difference
from trigpoint.landmarks import ImageDetections
from trigpoint.prediction.base import ImagePredictor

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_OPENING, _EACH = 120.0, 120.0  # seconds that the page may take to open, and for each image
_FLAGS = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
_DONE = "() => trigpoint.store.items.filter((one) => one.state !== 'waiting').length"
_RESULTS = """() => trigpoint.store.items.map(({ state, text, rows }) => ({
  state, text, points: rows.map((row) => row.points), scores: rows.map((row) => row.scores) }))"""


@dataclass(frozen=True)
class Trial:
    """What the page found: differences of the images that it reads, what it said of the others, by file, and seconds
    that an image took."""

    found: list[Difference]
    refused: dict[Path, str]
    seconds: float


def chromium() -> tuple[str, str]:
    """The program of a Chromium, and else why there is none."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "", "playwright is not installed; pip install 'trigpoint[browser]'"
    place = next((found for name in NAMES if (found := shutil.which(name))), "")
    return place, "" if place else "no Chromium was found; install one, such as by apt-get install chromium"


def try_page(
    text: str,
    program: str,
    run: ImagePredictor,
    images: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
) -> Trial:
    """Open a page in the Chromium ``program`` without a network, and compare what it finds in ``images`` with a run.

    Raises RunError for a page that does not open or reaches for anything, DataError where it reads none of the images.
    """
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "detector.html"
        page.write_text(text, encoding="utf-8")
        copies = [Path(folder) / f"{index:06d}{image.suffix.lower()}" for index, image in enumerate(images)]
        for image, copy in zip(images, copies, strict=True):  # one folder and names of which none is there twice
            shutil.copyfile(image, copy)
        threshold = None if run.threshold is None else CLEAR * run.threshold
        with ThreadPoolExecutor(1) as beside:  # playwright refuses a thread with an event loop, as that of a notebook
            results, seconds = beside.submit(_results, page, program, copies, threshold, progress).result()
    refused = {image: one["text"] for image, one in zip(images, results, strict=True) if one["state"] != "done"}
    if len(refused) == len(images):
        image, reason = next(iter(refused.items()))
        raise DataError(
            f"export: the page reads none of the images to check it on: {image} {reason} If yours are all so, a page "
            "is of no use to you; else name others: --check IMAGES"
        )
    found, count = [], len(run.landmarks)
    for image, one in zip(images, results, strict=True):
        if image in refused:
            continue
        points = [[(np.nan, np.nan) if point is None else point for point in row] for row in one["points"]]
        scores = np.array(one["scores"], np.float64).reshape(-1, count)
        of_page = ImageDetections(str(image), np.array(points, np.float64).reshape(-1, count, 2), scores)
        of_run = run.predict([image], threshold=threshold).detections[0]
        found.append(difference(f"{image}, in Chromium", of_run, of_page, run.landmarks.names))
    return Trial(found, refused, seconds / max(1, len(images)))


def _results(
    page: Path,
    program: str,
    images: Sequence[Path],
    threshold: float | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[dict[str, Any]], float]:
    """What the page says of each image, and the seconds for all."""
    from playwright.sync_api import Error, sync_playwright

    asked: list[str] = []
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program, args=_FLAGS)
            window = browser.new_context(offline=True).new_page()
            window.on("request", lambda request: asked.append(request.url))
            window.goto(page.as_uri())
            _until(window, lambda: window.evaluate("() => document.body.matches('.ready, .broken')"), _OPENING)
            if window.evaluate("() => document.body.matches('.broken')"):
                raise RunError(f"export: the page does not work in Chromium: {window.inner_text('#notice')}")
            if threshold is not None:
                window.evaluate("(value) => trigpoint.detector.threshold(value)", threshold)
            began = time.monotonic()
            window.set_input_files("#files", list(images))
            _wait(window, len(images), progress)
            results: list[dict[str, Any]] = window.evaluate(_RESULTS)
            seconds = time.monotonic() - began
            browser.close()
    except Error as error:
        raise RunError(f"export: the page could not be tried in {program}: {error.message.splitlines()[0]}") from None
    foreign = [url for url in asked if not url.startswith(("blob:", "data:", page.as_uri()))]
    if foreign:
        raise RunError(f"export: expected a page that asks nobody, got one that asks for {foreign[0]}")
    return results, seconds


def _wait(window: Any, count: int, progress: Callable[[int, int], None] | None) -> None:
    """Until all images are done; the time begins again with each."""
    for done in range(1, count + 1):
        _until(window, lambda done=done: window.evaluate(_DONE) >= done, _EACH)  # type: ignore[misc]
        if progress is not None:
            progress(done, count)
    _until(window, lambda: window.evaluate("() => trigpoint.idle()"), _EACH)


def _until(window: Any, there: Callable[[], bool], seconds: float) -> None:
    """Wait for something; raises RunError where it does not come."""
    limit = time.monotonic() + seconds
    while not there():
        if time.monotonic() > limit:
            said = window.inner_text("#notice") or window.inner_text("#progress")
            raise RunError(f"export: expected the page to work in Chromium, got nothing in {seconds:.0f} s ({said})")
        window.wait_for_timeout(50)
