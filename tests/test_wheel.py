"""The wheel holds all that the package reads besides its code, nothing else, and works where it is unpacked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import trigpoint
from trigpoint.config import read_yaml
from trigpoint.recipes import recipe_names

ROOT = Path(__file__).parents[1]
PACKAGE = "src/trigpoint/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by hatchling itself, as pip would, without the environment that pip downloads for it."""
    building = pytest.importorskip("hatchling.builders.wheel")
    target = tmp_path_factory.mktemp("wheel")
    (built,) = building.WheelBuilder(str(ROOT)).build(directory=str(target), versions=["standard"])
    return Path(built)


def tracked() -> set[str]:
    """Files of the package that git knows."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", PACKAGE]
    try:
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs git, to know which files belong to the package")
    if done.returncode != 0 or not done.stdout:
        pytest.skip("not a checkout: git does not know which files belong to the package")
    return {f"trigpoint/{name.removeprefix(PACKAGE)}" for name in done.stdout.split("\0") if name}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(about).decode()
        licences = [name for name in archive.namelist() if "/licenses/" in name]
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    files = tracked()
    assert held == files, f"missing: {sorted(files - held)}; not of the package: {sorted(held - files)}"
    kinds = {PurePosixPath(name).suffix for name in held} - {".py"}
    assert {".yaml", ".html", ".js", ".css", ".txt", ".gz", ".typed"} <= kinds  # recipes, studies, pages, licences
    for folder in {str(PurePosixPath(name).parent) for name in held if "/vendor/" in name}:
        assert any("LICENSE" in name for name in held if name.startswith(folder)), f"{folder}: no licence"
    assert all(sizes[name] == (ROOT / "src" / name).stat().st_size for name in held)
    assert licences == [f"trigpoint-{trigpoint.__version__}.dist-info/licenses/LICENSE"]
    assert f"\nVersion: {trigpoint.__version__}\n" in metadata


BOTH = """
import runpy, sys
for words in (["--version"], ["recipes"]):
    sys.argv = ["trigpoint", *words]
    try:
        runpy.run_module("trigpoint", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        assert not ended.code, ended.code
import trigpoint
print(trigpoint.__file__)
"""


def test_the_unpacked_wheel_works_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    unpacked, empty = tmp_path / "unpacked", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", BOTH], cwd=empty, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"trigpoint {trigpoint.__version__}" in done.stdout
    assert not [name for name in recipe_names() if name not in done.stdout]
    assert done.stdout.rstrip().endswith(str(unpacked / "trigpoint" / "__init__.py"))  # not the checkout
    assert not list(empty.iterdir())


@pytest.mark.soak
def test_the_wheel_installs_into_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With the packages of an index, as users do; without a network it is left out."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=True)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(python), *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    if run("-m", "pip", "download", "--quiet", "--no-deps", "--dest", "probe", "typer").returncode:
        pytest.skip("no package index can be reached")
    done = run("-m", "pip", "install", "--quiet", str(wheel))
    assert done.returncode == 0, done.stderr
    assert f"trigpoint {trigpoint.__version__}" in run("-m", "trigpoint", "--version").stdout
    listed = run("-m", "trigpoint", "recipes")
    assert listed.returncode == 0, listed.stderr
    assert "fast" in listed.stdout
    refused = run("-m", "trigpoint", "train", "fast", "--out", "run")
    assert refused.returncode == 2
    assert "trigpoint[train]" in refused.stderr  # says what is missing, and how to get it
    assert "Traceback" not in refused.stderr


def test_every_file_names_the_same_version() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["version"] == trigpoint.__version__
    newest = re.search(r"^## (\S+?),", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == trigpoint.__version__


def test_the_citation_names_the_papers() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what its schema asks for
    papers = {paper["url"].rsplit("/", 1)[1] for paper in citation["references"]}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert papers == set(re.findall(r"arxiv\.org/abs/([\d.]+)", readme))
    assert all(paper["authors"] and paper["title"] for paper in citation["references"])
