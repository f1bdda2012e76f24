"""A small drawn dataset, a recipe that trains in a second, and the real entry of the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_entry import call

from trigpoint.synthetic import write_catheter

RECIPE = """
name: tiny
data:
  input: {size: [32, 32]}
  augment: {rotation: 10}
  workers: 0
method:
  name: heatmap
  network: {name: unet, width: 4, depth: 2, kernel: 3}
  schedule: {name: adaloss, sigma0: 4.0}
train: {epochs: 3, batch_size: 6, ema: 0.9, accelerator: cpu}
"""


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames of 32 x 32, never changed by a test."""
    return write_catheter(tmp_path_factory.mktemp("drawn") / "data", 24, 32)


@pytest.fixture
def data(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the set that a test may damage."""
    return Path(shutil.copytree(drawn, tmp_path / "data"))


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    file.write_text(RECIPE)
    return file


@pytest.fixture(scope="session")
def trained(drawn: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, never changed by a test."""
    run = tmp_path_factory.mktemp("trained") / "run"
    result = call("train", recipe, f"data.path={drawn}", "--out", run, "--quiet")
    assert result.exit_code == 0, result.output
    assert "best validation MRE" in result.stdout
    return run
