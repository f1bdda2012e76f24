"""The documentation as a site: it is built without a warning, asks no network for anything, and shows every page."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


class Parts(HTMLParser):
    """What a page loads, links to and names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag in FETCHED and FETCHED[tag] in values and values.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(values[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make site`` does; a warning ends it."""
    pytest.importorskip("material")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    target = tmp_path_factory.mktemp("site")
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    keep = Keep(logging.WARNING)
    logging.getLogger("mkdocs").addHandler(keep)
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(target), strict=False))
    finally:
        logging.getLogger("mkdocs").removeHandler(keep)
    assert not said, "\n".join(said)
    return target


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Parts]:
    return {file: Parts(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}


def test_every_page_of_the_documentation_is_in_the_navigation(site: Path, pages: dict[Path, Parts]) -> None:
    listed = set(pages[site / "index.html"].links)
    names = {f"{file.stem}.html" for file in (ROOT / "docs").glob("*.md")} | {"changelog.html", "contributing.html"}
    assert names <= listed, names - listed


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Parts]) -> None:
    for file, page in pages.items():
        for name in page.loaded:
            assert not re.match(r"(\w+:)?//", name), f"{file.name} loads {name}"
            if file.name != "404.html":  # served for any address, so its own are absolute
                assert (file.parent / name.partition("?")[0]).exists(), f"{file.name} loads {name}, which is missing"
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import\s)[\"']?(?:https?:)?//", styles)


def test_links_of_the_pages_lead_to_pages_and_headings(site: Path, pages: dict[Path, Parts]) -> None:
    def lost() -> Iterator[str]:
        for file, page in pages.items():
            for link in page.links:
                name, _, anchor = link.partition("#")
                if "://" in link or link.startswith("mailto:") or file.name == "404.html":
                    continue
                target = (file.parent / name).resolve() if name else file
                if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                    yield f"{file.relative_to(site)}: {link}"

    assert not list(lost())


def test_the_search_knows_the_pages_and_works_without_a_server(site: Path) -> None:
    found: dict[str, Any] = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"].partition("#")[0] for entry in found["docs"]}
    assert {"quickstart.html", "for-orthodontists.html", "files/examples/first_detector.ipynb.html"} <= places
    assert (site / "search" / "search_index.js").exists()  # for pages that are opened as files
    assert 'src="site/iframe-worker.js"' in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "site" / "iframe-worker-LICENSE.txt").exists()
    assert not list(site.rglob("*.py"))
