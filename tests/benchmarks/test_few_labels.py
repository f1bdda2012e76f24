"""The table of what helps where labels are few, on drawn frames of few pixels: its numbers say nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trigpoint.recipe import load_recipe
from trigpoint.synthetic import write_catheter
from trigpoint.training.subsets import dataset_of, divided

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.__main__ import main

from benchmarks import few_labels

SMALL = ["--labels", "6", "--steps", "2", "--batch", "2", "--size", "64", "64", "--seeds", "0"]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "set"
    write_catheter(folder, 24, size=64, splits={"train": 0.75, "val": 0.25})
    return folder


def test_every_setting_is_measured_and_told_apart(frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["as planned", "norms held", "images mixed", "restoring first", "own labels"]
    text = main(["few", str(frames), *SMALL, "--settings", *wanted])
    rows = {cells[1].strip(): cells[2].strip() for cells in (line.split("|") for line in text.splitlines()[2:])}
    assert set(rows) == set(wanted)
    assert all(float(value) > 0 for value in rows.values())
    assert len(set(rows.values())) == len(wanted), rows
    assert capsys.readouterr().err.count("s of processor") == len(wanted)


def test_frozen_stages_stay_as_they_are(frames: Path) -> None:
    options = {"network": {"name": "timm_unet", "encoder": "tf_efficientnet_lite0"}, "loss": "kl"}
    recipe = load_recipe(
        {
            "name": "few",
            "data": {"path": str(frames), "input": {"size": [64, 64]}},
            "method": {"name": "heatmap", "decoder": "soft_argmax", "schedule": "fixed", **options},
            "train": {"batch_size": 2},
        }
    )
    trial = few_labels.Trial(few_labels.Setting("two", frozen=1), recipe, divided(recipe, dataset_of(recipe)), {})
    before = {name: value.clone() for name, value in trial.method.network.encoder.named_parameters()}
    trial.error(2)
    moved = {
        few_labels.stage(name)
        for name, value in trial.method.network.encoder.named_parameters()
        if not torch.equal(value, before[name])
    }
    assert moved == {few_labels.stage(name) for name in before} - {0, 1}


def test_unknown_settings_are_refused(frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["few", str(frames), "--settings", "no such"])
    assert "unknown setting no such" in capsys.readouterr().err


def test_erased_squares_are_zero_and_the_rest_is_kept() -> None:
    images = torch.ones(2, 3, 64, 64)
    found = few_labels.erased(images, np.random.default_rng(0))
    assert 0 < (found == 0).float().mean() < 0.3
    assert (images == 1).all()
