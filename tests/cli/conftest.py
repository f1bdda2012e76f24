"""A small drawn dataset, a recipe that trains in a second, and the real entry of the command line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from cli_entry import call

from trigpoint.synthetic import write_catheter, write_instruments

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
INSTANCES = """
data: {input: {size: [48, 64]}, workers: 0, val_share: 0.5}
method: {name: instances, network: {name: unet, width: 4, depth: 2}}
train: {epochs: 2, batch_size: 4, accelerator: cpu}
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
    assert re.search(r"^best validation      MRE \d+\.\d\d px \(epoch [123] of 3\)$", result.stdout, re.MULTILINE)
    return run


@pytest.fixture(scope="session")
def instances_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that finds instruments in 48 x 64, and its images; neither is changed by a test."""
    folder = tmp_path_factory.mktemp("instances")
    data = write_instruments(folder / "data", 8, size=(48, 64))
    table = pd.read_csv(data / "landmarks.csv", dtype=str)
    table.drop(columns="split").to_csv(data / "landmarks.csv", index=False)
    (folder / "tiny.yaml").write_text(INSTANCES)
    result = call("train", folder / "tiny.yaml", f"data.path={data}", "--out", folder / "run", "--quiet")
    assert result.exit_code == 0, result.output
    best = r"^best validation      F1 \d\.\d{3}( at \d+\.\d\d px)? \(epoch [12] of 2\)$"
    assert re.search(best, result.stdout, re.MULTILINE), result.stdout
    return folder / "run", data / "images"
