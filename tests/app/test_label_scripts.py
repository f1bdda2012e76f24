"""The page's scripts: their length, and that nothing of them comes from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trigpoint.app.server import PAGE
from trigpoint.report.page import SHARED

OWN = [file for file in sorted(PAGE.glob("*")) if file.suffix in (".js", ".css", ".html")]


def test_files_and_functions_are_short() -> None:
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in OWN}
    assert not {name: n for name, n in lengths.items() if n > 400}
    long = []
    for file in PAGE.glob("*.js"):
        start = None
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            opens = re.match(r"(  )?(export )?(async )?(function )?[a-zA-Z]+\(.*\{$", line)
            if opens and not line.startswith("    "):
                start = (number, "  " if line.startswith("  ") else "")
            if start and line == start[1] + "}":
                if number - start[0] > 60:
                    long.append(f"{file.name}, line {start[0]}")
                start = None
    assert not long


def test_the_page_works_without_a_network() -> None:
    for file in OWN:
        found = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", file.read_text(encoding="utf-8"))
        assert not found, f"{file.name}: {found}"
    licence = (PAGE / "vendor" / "openseadragon-LICENSE.txt").read_text(encoding="utf-8")
    assert "Redistribution and use" in licence


LOOKS = """
import { hue } from "./colours.js";
import { corners, outline } from "{}";
const looks = [...Array(100).keys()].map((k) => hue(k) + outline(k, 5));
console.log(JSON.stringify([looks, [...Array(100).keys()].map((k) => corners(k, 5).length)]));
"""


def test_landmarks_look_unlike_each_other(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    for file in (PAGE / "marks.js", SHARED / "colours.js", SHARED / "dom.js"):
        shutil.copy(file, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    script = tmp_path / "looks.js"
    script.write_text(LOOKS.replace("{}", "./marks.js"), encoding="utf-8")
    done = subprocess.run([node, str(script)], capture_output=True, text=True, check=True)
    looks, corners = json.loads(done.stdout)
    assert len(set(looks)) == 100  # twenty colours in five shapes
    assert corners[:11] == [0] * 10 + [4]  # few landmarks are all circles
    assert {look[:7] for look in looks} == {look[:7] for look in looks[:20]}
