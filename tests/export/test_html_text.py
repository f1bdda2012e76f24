"""The text of a page that holds a detector: whole, reaching for nothing, and its scripts in order. Needs no browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from pathlib import Path

import pytest
from page_models import NAMES, a_predictor, draw

from trigpoint.errors import ConfigError, DataError
from trigpoint.export import export_html, publishing
from trigpoint.export import html as pages
from trigpoint.export.export import Checked, checked_model
from trigpoint.export.publishing import page_of_predictor
from trigpoint.export.writing import about_of
from trigpoint.prediction.exported import ExportedPredictor

OWN = sorted(file for file in pages.PAGE.iterdir() if file.suffix in (".js", ".css", ".html"))
NAME = '<b>heads</b> & "co"'


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Checked]:
    folder = tmp_path_factory.mktemp("model")
    return checked_model(a_predictor(), folder / "a.html", draw(folder))


@pytest.fixture(scope="module")
def model(checked: tuple[bytes, Checked]) -> bytes:
    return checked[0]


@pytest.fixture(scope="module")
def text(model: bytes) -> str:
    return pages.page_text(model, about_of(model), NAME)


def part(text: str, name: str) -> str:
    found = re.search(rf'<script id="{name}" type="[a-z/]+" data-length="(\d+)">([^<]*)</script>', text)
    assert found is not None
    assert int(found[1]) == len(found[2])
    return found[2]


def test_the_model_is_in_the_page(text: str, model: bytes) -> None:
    inside = gzip.decompress(base64.b64decode(part(text, "model")))
    assert inside == model
    assert ExportedPredictor.of(inside, "page", "cpu").landmarks.names == NAMES
    assert gzip.decompress(base64.b64decode(part(text, "wasm")))[:4] == b"\0asm"
    assert text == pages.page_text(model, about_of(model), NAME)  # the same bytes each time


def test_the_policy_lets_nothing_out(text: str) -> None:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    assert found.start() < text.index("<script")
    policy = dict(one.split(" ", 1) for one in found[1].split("; "))
    assert policy["default-src"] == "'none'"
    assert set(policy) & {"connect-src", "frame-src", "font-src", "media-src"} == set()
    for sources in policy.values():
        assert set(sources.split()) <= {"'none'", "'wasm-unsafe-eval'", "blob:", "data:"} | {
            one for one in sources.split() if one.startswith("'sha256-")
        }
    for key, tag in (("script-src", '<script type="module">'), ("style-src", "<style>")):
        start = text.index(tag) + len(tag)
        inside = text[start : text.index("</", start)]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[key]


def test_names_are_no_html(text: str) -> None:
    assert NAME not in text
    assert f"<h1>{html.escape(NAME)}</h1>" in text
    about = json.loads(part(text, "about"))
    assert about["name"] == NAME
    assert about["landmarks"] == list(NAMES)
    assert dict(about["facts"])["Not learned"] == "never"


CARD = """# heads: a model that finds 3 landmarks

- **Finds**: tip, <b>elbow</b>

## Measured on

12 images of 9 subjects,
120 x 90 pixels:

- mean radial error: 1.25 px

## Not for

- decisions that nobody checks {name}
"""


def test_the_model_card_is_in_the_page(model: bytes, text: str) -> None:
    made = pages.page_text(model, about_of(model) | {"card": CARD}, NAME)
    found = re.search(r'<section id="card"[^>]*>(.*?)</section>', made, re.DOTALL)
    assert found is not None
    assert found[1] == (
        "<h3>heads: a model that finds 3 landmarks</h3><ul><li><b>Finds</b>: tip, &lt;b&gt;elbow&lt;/b&gt;</li></ul>"
        "<h4>Measured on</h4><p>12 images of 9 subjects, 120 x 90 pixels:</p>"
        "<ul><li>mean radial error: 1.25 px</li></ul>"
        "<h4>Not for</h4><ul><li>decisions that nobody checks {name}</li></ul>"
    )
    assert "This detector has no model card" in text  # of a file that was made without a run


def test_ids_are_there_once(text: str) -> None:
    ids = re.findall(
        r' id="([^"]+)"', re.sub(r"<script[^>]*module.*?</script>|<style>.*?</style>", "", text, flags=re.DOTALL)
    )
    assert {"card", "unlike", "flag"} <= set(ids)
    assert len(ids) == len(set(ids))


def test_own_files_name_no_address() -> None:
    for file in OWN:
        source = file.read_text(encoding="utf-8")
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", source), file.name
        assert "</script" not in source or file.suffix == ".html"
        assert len(source.splitlines()) <= 400


def test_scripts_share_no_name_and_keep_no_import() -> None:
    for names in (pages.MAIN, pages.WORKER):
        script = pages._joined(names)
        assert not re.findall(r"^(?:import|export)\b", script, re.MULTILINE)
        declared = re.findall(r"^(?:async )?(?:class|const|function|let) ([A-Za-z0-9]+)", script, re.MULTILINE)
        assert len(declared) == len(set(declared))
        listed = {f"./{name}.js" for name in names}
        for name in names:
            assert set(re.findall(r'from "(.*)"', pages._read(f"{name}.js"))) <= listed


def test_the_runtime_is_what_is_said_and_keeps_its_licence(text: str) -> None:
    version = pages.RUNTIME.split()[1]
    assert f"ONNX Runtime Web v{version}" in (pages.VENDOR / "ort.wasm.bundle.min.mjs").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in text
    assert b"License" in gzip.decompress(base64.b64decode(part(text, "notices-packed")))


def test_a_model_too_large_for_a_page(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST", 1_000_000)
    with pytest.raises(ConfigError, match=r"at most 1 MB, .*try --precision float16 or int8, or --to onnx"):
        pages.page_text(model, about_of(model), NAME)


def test_without_a_browser_it_says_so(
    checked: tuple[bytes, Checked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "checked_model", lambda *given, **options: checked)  # translated once
    monkeypatch.setattr(publishing, "chromium", lambda: ("", "no Chromium was found"))
    made = page_of_predictor(a_predictor(), tmp_path / "a.html", draw(tmp_path))
    assert made.file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert made.browser is None
    assert made.untried == "no Chromium was found"


def test_names_and_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.html"):
        export_html(tmp_path, tmp_path / "a.htm")
    (tmp_path / "a.html").write_text("")
    with pytest.raises(DataError, match=r"a\.html"):
        export_html(tmp_path, tmp_path / "a.html")
