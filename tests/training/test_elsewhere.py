"""A finished run gives the same points wherever it is loaded: another folder, process, number of threads or device."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from faults import draw, tiny

import trigpoint as tp
from trigpoint.data import LandmarkDataset
from trigpoint.evaluation.verify import SAME, verify
from trigpoint.export.export import validation_images
from trigpoint.landmarks import FloatArray
from trigpoint.runs import RunFolder

NEAR = 1e-3  # px
NEAR_ON_GPU = 0.02  # whose convolutions round to 10 bits (TF32)
DEVICES = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS device")),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return tp.train(tiny(data, 3), out=tmp_path_factory.mktemp("runs") / "run", progress=False)


def points(run: RunFolder, data: Path, device: str = "cpu") -> FloatArray:
    predictor = tp.Predictor.load(run, device=device)
    return predictor.predict(LandmarkDataset.load(data)).points


def test_a_moved_folder_in_another_process_of_more_threads(run: RunFolder, data: Path, tmp_path: Path) -> None:
    here = points(run, data)
    away = tmp_path / "another machine"
    shutil.copytree(run.folder, away / "run")
    shutil.copytree(data / "images", away / "images")
    for file in (away / "run").rglob("*"):
        file.chmod(0o555 if file.is_dir() else 0o444)
    command = [sys.executable, "-m", "trigpoint", "predict", "run", "images", "--out", "found.csv", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}
    ended = subprocess.run(command, cwd=away, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = pd.read_csv(away / "found.csv").set_index("image").sort_index()
    names = [sample.image.name for sample in LandmarkDataset.load(data).samples]
    there = found.loc[names, ["tip_x", "tip_y"]].to_numpy()[:, None]
    assert np.abs(there - here).max() <= NEAR


@pytest.mark.parametrize("device", DEVICES)
def test_another_device(device: str, run: RunFolder, data: Path) -> None:
    assert np.abs(points(run, data, device) - points(run, data)).max() <= (NEAR if device == "cpu" else NEAR_ON_GPU)


def test_data_given_from_another_working_folder_are_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained as ``data`` in one folder, verified and exported in another."""
    shutil.copytree(data, tmp_path / "project" / "data")
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    recipe = tiny(Path("data"), 1)
    tp.train(recipe, out="runs/one", progress=False)
    monkeypatch.chdir(tmp_path / "else")
    run = RunFolder(Path("../project/runs/one"))
    assert Path(str(run.located().data.path)).resolve() == tmp_path / "project" / "data"
    assert {check.what: check.outcome for check in verify(run.folder)}["data"] == SAME
    assert validation_images(run)
    (tmp_path / "else" / "data").mkdir()  # what is there counts first
    assert run.located().data.path == "data"
