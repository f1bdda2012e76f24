"""Proposals near a corrected one move along, in the page as in ``Together.moved``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from label_browser import NEEDED, Page
from label_sets import draw, open_project, served

from trigpoint.app import predictions
from trigpoint.metrics.together import Together, corrections

NAMES = ["brow", "eye", "nose", "mouth", "chin"]
GUESSES = np.array([[100.0, 80.0], [110.0, 100.0], [128.0, 130.0], [126.0, 160.0], [120.0, 200.0]])
HOW = Together(0.4, 0.1)
WORKER = f"""
import json, sys
print(json.dumps({{"landmarks": {json.dumps(NAMES)}, "together": TOGETHER}}), flush=True)
for line in sys.stdin:
    rows = [[[x, y, 0.5, 0.25] for x, y in {GUESSES.tolist()}]]
    print(json.dumps({{"id": json.loads(line)["id"], "rows": rows}}), flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An image, and a run whose process answers at once."""
    draw(tmp_path / "photos" / "a.png", (256, 256))
    started(monkeypatch, HOW)
    return tmp_path / "photos"


def started(monkeypatch: pytest.MonkeyPatch, together: Together | None) -> None:
    said = None if together is None else together._asdict()

    def popen(command: list[str], **options: Any) -> Any:
        return subprocess.Popen([sys.executable, "-c", WORKER.replace("TOGETHER", repr(said))], **options)

    monkeypatch.setattr(predictions, "subprocess", SimpleNamespace(Popen=popen, PIPE=-1))


def open_of(page: Page) -> dict[str, list[float]]:
    """What is proposed, original pixels."""
    found = page.run("return window.trigpoint.proposals.open;")
    return {name: place[:2] for name, place in found}


def drag(page: Page, name: str, by: tuple[float, float]) -> None:
    """A proposal by the mouse, by so many CSS pixels."""
    box = page.page.locator("#osd").bounding_box()
    at = page.run(f"const [x, y] = window.trigpoint.proposals.proposed('{name}'); return viewer.toScreen(x, y);")
    x, y = box["x"] + at["x"], box["y"] + at["y"]
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + by[0] / 2, y + by[1] / 2)
    page.page.mouse.move(x + by[0], y + by[1])
    page.page.mouse.up()
    page.saved()


@NEEDED
def test_the_page_moves_them_as_the_numbers_say(browser: Any, folder: Path, tmp_path: Path) -> None:
    project = open_project(folder, ",".join(NAMES))
    with served(project, runs=[tmp_path]) as address:
        page = Page(browser, address)
        page.wait("window.trigpoint.proposals.open.length === 5")
        assert list(open_of(page).values()) == GUESSES.tolist()
        corrected = np.full((5, 2), np.nan)
        for name, by in (("nose", (30, 18)), ("brow", (-14, 9))):
            k = NAMES.index(name)
            before = open_of(page)[name]
            drag(page, name, by)
            corrected[k] = project.entries[0].state.rows[0].marks[name][:2]
            assert np.abs(corrected[k] - before).max() > 2  # it was dragged, and did not begin elsewhere
            expected = HOW.moved(GUESSES, corrected)
            left = open_of(page)
            assert set(left) == {NAMES[i] for i in range(5) if np.isnan(corrected[i, 0])}
            for other, place in left.items():
                assert np.allclose(place, expected[NAMES.index(other)], atol=0.01)  # saved with three decimals
                assert np.abs(np.array(place) - GUESSES[NAMES.index(other)]).max() > 0.1
        page.page.keyboard.press("Control+z")
        page.wait("window.trigpoint.proposals.open.length === 4")
        corrected[0] = np.nan
        for other, place in open_of(page).items():
            assert np.allclose(place, HOW.moved(GUESSES, corrected)[NAMES.index(other)], atol=0.01)
        page.page.keyboard.press("y")
        page.saved()
        marks = project.entries[0].state.rows[0].marks
        stored = np.array([marks[name][:2] for name in NAMES])
        assert np.allclose(stored, HOW.moved(GUESSES, corrected), atol=0.01)
        page.close()


@NEEDED
def test_where_errors_do_not_go_together_nothing_moves(
    browser: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch, None)
    with served(open_project(folder, ",".join(NAMES)), runs=[tmp_path]) as address:
        page = Page(browser, address)
        page.wait("window.trigpoint.proposals.open.length === 5")
        drag(page, "nose", (30, 18))
        assert open_of(page) == {name: list(GUESSES[k]) for k, name in enumerate(NAMES) if name != "nose"}
        page.close()


@NEEDED
def test_many_landmarks_move_at_once(browser: Any, folder: Path, tmp_path: Path) -> None:
    """The most that there may be: a moment of a drag takes no longer than two frames."""
    with served(open_project(folder, ",".join(NAMES)), runs=[tmp_path]) as address:
        page = Page(browser, address)
        page.wait("window.trigpoint.proposals.open.length === 5")
        took = page.page.evaluate(
            """async () => {
              const { moved } = await import("/page/together.js");
              const names = Array.from({ length: 200 }, (_, k) => `p${k}`);
              const guesses = Object.fromEntries(names.map((name, k) => [name, [k % 20, k / 20, 1, null]]));
              const marks = Object.fromEntries(names.slice(0, 100).map((name, k) => [name, [(k % 20) + 1, k / 20, 2]]));
              const times = [];
              for (let i = 0; i < 9; i += 1) {
                const start = performance.now();
                moved(guesses, marks, { length: 0.4, alone: 0.1 });
                times.push(performance.now() - start);
              }
              return times.sort((a, b) => a - b)[4];
            }"""
        )
        assert took < 500  # some 20 where the machine does nothing else
        page.close()


def test_moved_and_fitted() -> None:
    """Shared errors are found to go together and save corrections; independent ones are left alone."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 200, (24, 2))
    root = np.linalg.cholesky(Together(0.8, 0.1).correlation(places) + 1e-9 * np.eye(24))
    truth = np.repeat(places[None], 12, 0)
    shared = truth + 6 * np.einsum("kj,njd->nkd", root, rng.standard_normal((12, 24, 2)))
    found = Together.fit(shared, truth)
    assert found is not None
    assert found.length >= 0.4
    assert Together.fit(truth + 6 * rng.standard_normal(truth.shape), truth) is None
    assert Together.fit(shared[:4], truth[:4]) is None  # 96 errors
    holes = shared.copy()
    holes[:, 5] = np.nan
    assert Together.fit(holes, truth) is not None
    corrected = np.full((24, 2), np.nan)
    corrected[3] = places[3]
    moved = found.moved(holes[0], corrected)
    assert np.isnan(moved[5]).all()
    assert moved[3].tolist() == places[3].tolist()
    one_by_one = corrections(found, shared[0], places, 5.0)
    corrected[:] = np.where(one_by_one[:, None], places, np.nan)
    assert 0 < one_by_one.sum() < corrections(None, shared[0], places, 5.0).sum()
    assert np.linalg.norm(found.moved(shared[0], corrected) - places, axis=1).max() <= 5.0  # none is left to correct
    corrected[:] = places
    assert np.allclose(found.moved(shared[0], corrected), places)
    began = time.perf_counter()
    many = rng.uniform(0, 500, (30, 200, 2))
    Together.fit(many + rng.standard_normal(many.shape), many)
    assert time.perf_counter() - began < 60  # 2 where the machine does nothing else
