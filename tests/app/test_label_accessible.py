"""axe-core finds no serious fault in the page: light and dark, wide and narrow, and in its dialogs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from label_browser import NEEDED, Page
from label_sets import open_project, served

from trigpoint.app.state import Row, State

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="of the development group")
pytestmark = NEEDED


def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the elements."""
    found = axe.Axe().run(page.page).response["violations"]
    return [
        f"{one['id']}: {node['target']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_no_serious_fault(browser: Any, photos: Path, scheme: str, width: int) -> None:
    project = open_project(photos, "tip,root,left_eye")
    project.save(1, State(rows=[Row(marks={"tip": (9, 9, 2), "root": "absent"})], doubtful=True, note="dark"), 0)
    with served(project) as address:
        page = Page(browser, address, color_scheme=scheme, viewport={"width": width, "height": 800})
        page.run("store.place(3, 4);")
        page.saved()
        assert not faults(page)
        page.page.keyboard.press("?")
        assert not faults(page)
        page.page.keyboard.press("Escape")
        page.page.locator("#naming-edit").click()  # the header has no room for one where the page is narrow
        page.page.get_by_role("button", name="Take away root").click()
        assert not faults(page)
        page.page.keyboard.press("Escape")
        if width < 700:
            page.page.locator("#list-open").click()
            assert not faults(page)
        page.close()
