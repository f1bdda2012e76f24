"""A training that is killed after an epoch and taken up again ends bit for bit as one that was never stopped.

One test for everything that trains: each method, each schedule, cross-task learning with images without labels, and
source models.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import timm
import torch

from same_runs import assert_same
from trigpoint.config import parse
from trigpoint.methods import METHODS
from trigpoint.recipe import Recipe, SourceRecipe
from trigpoint.schedules import SCHEDULES
from trigpoint.synthetic import write_radiographs
from trigpoint.training import fitting, landmarks, train
from trigpoint.training.callbacks import Recorder

SIZE = [48, 40]
ENCODER = "test_resnet"  # timm's smallest
UNET = {"name": "unet", "width": 2, "depth": 1}
GLIMPSES: dict[str, Any] = {"trunk": "small", "glimpse": 16, "levels": 2, "train_iterations": 2, "train_starts": 2}
COARSE: dict[str, Any] = {
    "data": {"input": {"size": [24, 20]}, "workers": 0},
    "method": {"name": "heatmap", "network": UNET},
    "train": {"epochs": 1, "batch_size": 4, "accelerator": "cpu", "threads": 1},
}
WIDTHS: dict[str, dict[str, Any]] = {
    "fixed": {"schedule": {"name": "fixed", "sigma0": 3.0}},
    "adaloss": {"schedule": {"name": "adaloss", "sigma0": 6.0, "window": 2, "freeze_last": 0.0}},
    "learned": {"schedule": "learned", "normalize": "mean"},
}
METHOD: dict[str, dict[str, Any]] = {  # what keeps the suite fast; a method that is not named runs with its defaults
    **{f"schedule {name}": {"network": UNET, "schedule": name, **WIDTHS.get(name, {})} for name in SCHEDULES},
    "paced, every 2 steps": {  # moves do not end with epochs, which have 3 steps
        "network": UNET,
        "schedule": {"name": "adaloss", "sigma0": 6.0, "rule": "paced", "reach": 50.0, "every": 2, "freeze_last": 0.0},
    },
    "heatmap": {"network": UNET},
    "foveated": {**GLIMPSES, "starts": 2},
    "foveated, shared": {"name": "foveated", **GLIMPSES, "shared": True, "conditioning": "embedding"},
    "cascade": {"coarse": COARSE, "fine": GLIMPSES},
    "instances": {"network": UNET, "schedule": {"name": "linear", "sigma0": 5, "sigma_min": 3}},
    "template": {"encoder": ENCODER, "weights": None, "levels": [4, 8]},
    "cross-task": {
        "network": {"name": "simple_baseline", "encoder": ENCODER, "width": 4},
        "schedule": {"name": "fixed", "sigma0": 1.5},
        "transfer": {"source": {"weights": "w.safetensors", "normalize": "image"}, "loss": "both", "weight": 1.0},
    },
}
VARIANTS = ["source model", *dict.fromkeys([*METHOD, *METHODS])]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 14 radiographs, some points of which are missing, and weights for a source."""
    folder = tmp_path_factory.mktemp("place")
    write_radiographs(folder / "heads", 14, size=(56, 48), seed=2)
    table = pd.read_csv(folder / "heads" / "landmarks.csv", dtype=str)
    table.loc[table.index % 4 == 1, ["menton_x", "menton_y", "menton_v"]] = [None, None, "0"]
    table["site"] = ["north" if index % 2 else "south" for index in table.index]  # the classes of the source model
    table.to_csv(folder / "heads" / "landmarks.csv", index=False)
    torch.manual_seed(7)
    model = timm.create_model(ENCODER, num_classes=4, in_chans=1)
    safetensors.torch.save_file(model.state_dict(), folder / "w.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take longer than these trainings and are tested elsewhere."""
    for module in (fitting, landmarks):
        monkeypatch.setattr(module, "save", lambda figure, path: None)


def recipe(variant: str) -> Recipe | SourceRecipe:
    """Three epochs with everything that has a state: averaged weights, a schedule of the rate, augmentation."""
    train: dict[str, Any] = {"epochs": 3, "batch_size": 4, "ema": 0.9, "clip": 5.0, "accelerator": "cpu", "threads": 1}
    train["lr_schedule"] = {"name": "cosine"}
    data: dict[str, Any] = {
        "path": "heads",
        "input": {"size": SIZE},
        "augment": {"rotation": 10, "noise": 0.02},
        "workers": 0,
    }
    if variant == "source model":
        return parse(SourceRecipe, {"encoder": ENCODER, "data": {**data, "column": "site"}, "train": train})
    if variant == "cross-task":
        data |= {"limit": 6, "unlabelled": 2}
    data["landmarks"] = ["sella", "menton"]
    name = variant if variant in METHODS else "heatmap"
    return parse(Recipe, {"data": data, "method": {"name": name, **METHOD.get(variant, {})}, "train": train})


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_and_resumed_is_as_if_never_stopped(
    variant: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    epochs: list[int] = []
    end = Recorder.on_train_epoch_end

    def watch(self: Recorder, trainer: Any, module: Any) -> None:
        end(self, trainer, module)
        if self.run.folder in (whole, killed):  # not that of a stage, which is trained first
            epochs.append(trainer.current_epoch + 1)
            if epochs == [1]:
                shutil.copytree(whole, killed)  # what a kill at this moment leaves

    monkeypatch.setattr(Recorder, "on_train_epoch_end", watch)
    monkeypatch.chdir(place)
    straight = train(recipe(variant), out=whole, progress=False)
    assert epochs == [1, 2, 3]
    resumed = train(recipe(variant), out=killed, progress=False)
    assert epochs == [1, 2, 3, 2, 3]
    assert_same(straight, resumed)
    if variant in ("schedule adaloss", "paced, every 2 steps"):  # by what it learned of all three epochs
        assert (torch.load(resumed.last, weights_only=True)["schedule"]["sigma"] != 6).all()


def test_a_difference_would_be_noticed(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    one, other = (train(recipe("heatmap"), [f"seed={n}"], out=tmp_path / str(n), progress=False) for n in (0, 1))
    with pytest.raises(AssertionError):
        assert_same(one, other)
