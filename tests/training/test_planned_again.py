"""Trainings that are planned anew from the weights of a run, and those that leave a part of a set out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from trigpoint.config import apply_overrides, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.training import folds
from trigpoint.training.planning import can_continue
from trigpoint.training.planning.continuing import continued


def run_of(folder: Path, method: str) -> Path:
    """What is left of a run: its recipe."""
    folder.mkdir()
    recipe = load_recipe({"name": "a", "data": {"path": "x", "input": {"channels": 1}}, "method": method})
    (folder / "config.yaml").write_text(to_yaml(recipe))
    return folder


def test_method_and_channels_are_those_of_the_run(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "heatmap")
    assert can_continue(RunFolder(run))
    taken = apply_overrides({}, continued([f"train.init={run}", "seed=3"]), Recipe)
    before = yaml.safe_load((run / "config.yaml").read_text())
    assert taken["method"] == before["method"]
    assert taken["data"]["input"]["channels"] == 1
    assert (taken["seed"], taken["train"]["init"]) == (3, str(run))
    given = [f"train.init={run}", "method.name=heatmap"]
    assert continued(given) == given  # who names a method has chosen
    colour = apply_overrides({}, continued([f"train.init={run}", "data.input.channels=3"]), Recipe)
    assert colour["data"]["input"]["channels"] == 3
    assert continued(["seed=3"]) == ["seed=3"]


def test_runs_that_nothing_can_begin_from_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "template")
    assert not can_continue(RunFolder(run))
    with pytest.raises(ConfigError, match="expected a run whose network gives a map per landmark"):
        continued([f"train.init={run}"])
    with pytest.raises(ConfigError, match="got none at"):
        continued([f"train.init={tmp_path / 'none'}"])


def test_each_run_leaves_other_subjects_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write_radiographs(tmp_path / "data", 8, (56, 48), 0, {"train": 0.5, "test": 0.5})
    table = pd.read_csv(place / "landmarks.csv")
    table["subject"] = [f"s{i // 2}" for i in range(8)]
    table.to_csv(place / "landmarks.csv", index=False)
    data = LandmarkDataset.load(place)
    learned: list[set[str]] = []

    def train(folder: Path, out: Path, progress: bool, minutes: float) -> None:
        own = LandmarkDataset.load(folder)
        assert (own.splits(), minutes, progress) == ({}, 2.0, False)
        learned.append({own.image_name(sample) for sample in own.samples})

    monkeypatch.setattr(folds, "train", train)
    told: list[str] = []
    runs = folds.fold_runs(data, 2, 2.0, tmp_path / "out", told.append)
    assert [run.name for run in runs] == ["run-1", "run-2"]
    names = {data.image_name(sample) for sample in data.samples}
    assert learned[0] | learned[1] == names
    assert not learned[0] & learned[1]  # of two, what one leaves out is what the other learns
    subject = {data.image_name(sample): sample.subject for sample in data.samples}
    parts = [{subject[name] for name in part} for part in learned]
    assert not parts[0] & parts[1]
    assert np.abs(len(learned[0]) - len(learned[1])) == 0
    assert "fold 2 of 2: learns from 4 of 8 rows" in told[1]
    with pytest.raises(DataError, match="expected 9 subjects or more"):
        folds.fold_runs(data, 9, 2.0, tmp_path / "out")
