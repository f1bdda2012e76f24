"""The scripts of the labelling page and of the exported page, with what both share: their types, names and lengths."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trigpoint.report.page import SHARED

PAGES = {room: SHARED.parents[1] / room / "page" for room in ("app", "export")}
NPM = {"npm_config_prefer_offline": "true", "npm_config_fetch_retries": "0", "npm_config_fetch_timeout": "20000"}
OPTIONS = "--noEmit --allowJs --checkJs --strict --target es2022 --module es2022 --moduleResolution bundler"


def own(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".js", ".ts", ".css", ".html"))


def test_types(tmp_path: Path) -> None:
    """Each page with the shared scripts beside its own, as they are sent."""
    if found := shutil.which("tsc"):
        tool = [found]
    elif shutil.which("npx"):
        tool = ["npx", "--yes", "--package", "typescript@5.9", "tsc"]
    else:
        pytest.skip("needs tsc, or npx of node")
    for room, page in PAGES.items():
        (tmp_path / room).mkdir()
        for file in [*own(page), *own(SHARED)]:
            shutil.copy(file, tmp_path / room)
    files = [str(file) for file in sorted(tmp_path.glob("*/*s")) if file.suffix in (".js", ".ts")]
    command = [*tool, *OPTIONS.split(), "--lib", "es2023,dom,dom.iterable", *files]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | NPM)
    if "npm error" in done.stderr:
        pytest.skip(f"npm could not fetch typescript: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stdout


def test_a_page_has_no_file_of_the_shared_names() -> None:
    shared = {file.name for file in own(SHARED)}
    assert shared == {"colours.js", "dom.js", "frame.css", "pen.js"}
    for page in PAGES.values():
        assert not shared & {file.name for file in own(page)}
        imports = re.findall(
            r'from "\./([a-z]+\.js)"', "\n".join(file.read_text("utf-8") for file in page.glob("*.js"))
        )
        assert {"colours.js", "dom.js", "pen.js"} <= set(imports) <= shared | {file.name for file in own(page)}


def test_shared_files_are_short_and_name_no_address() -> None:
    for file in own(SHARED):
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 100, file.name
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text), file.name
