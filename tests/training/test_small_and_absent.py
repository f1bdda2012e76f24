"""Trainings on very little, and on devices that are not there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from faults import draw, tiny
from PIL import Image

from trigpoint.config import apply_overrides, parse
from trigpoint.data.input.loading import EpochBatches
from trigpoint.errors import ConfigError
from trigpoint.nn.single import allow_single_values
from trigpoint.recipe import Recipe, SourceRecipe, load_recipe
from trigpoint.synthetic import write_instruments
from trigpoint.training import train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


def small(data: Path, *overrides: str) -> Recipe:
    values = tiny(data, 2).model_dump(mode="json")
    return parse(Recipe, apply_overrides(values, list(overrides)))


ONE_CELL = "method.network={name: res_unet, width: 8, stride: 4}"
LITTLE = {
    "one image": ["data.limit=1", ONE_CELL],
    "batches of one": ["data.limit=2", "train.batch_size=1", ONE_CELL],
    "a last batch of one": ["data.limit=3", "train.batch_size=2", ONE_CELL],
    "one image, unet": ["data.limit=1", "method.network={name: unet, width: 4, depth: 5, kernel: 3}"],
    "one image, encoder": ["data.limit=1", "method.network={name: simple_baseline, encoder: test_resnet, width: 8}"],
}


@pytest.mark.parametrize("case", LITTLE)
def test_a_batch_of_one_image_trains(case: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(small(data, *LITTLE[case]), out=tmp_path / "run", progress=False)
    assert run.epochs_done() == 2
    assert run.history_table()["train_loss"].notna().all()
    assert all(value.isfinite().all() for value in run.load_weights()[0].values() if value.is_floating_point())
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("batch normalisation takes its running statistics there") == 1


def test_instances_of_one_image(tmp_path: Path) -> None:
    folder = write_instruments(tmp_path / "set", 4, size=32)
    table = pd.read_csv(folder / "landmarks.csv", dtype=str)
    images = sorted(table["image"].unique())
    table["split"] = table["image"].map(lambda name: "train" if name == images[0] else "val")
    table["subject"] = table["image"]
    table.to_csv(folder / "landmarks.csv", index=False)
    short = ["train.epochs=1", "data.input.size=32", "train.accelerator=cpu", "data.workers=0"]
    recipe = load_recipe("instances", [f"data.path={folder}", *short])
    assert train(recipe, out=tmp_path / "run", progress=False).epochs_done() == 1


def test_a_source_by_batches_of_one(tmp_path: Path) -> None:
    for i in range(4):
        file = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 40 * i, np.uint8)).save(file)
    values: dict[str, Any] = {
        "data": {"path": str(tmp_path / "set"), "input": {"size": [32, 32]}, "workers": 0},
        "encoder": "test_resnet",
        "train": {"epochs": 1, "batch_size": 1, "accelerator": "cpu"},
    }
    assert train(parse(SourceRecipe, values), out=tmp_path / "run", progress=False).epochs_done() == 1


def test_a_single_value_is_normalised_as_in_evaluation() -> None:
    layer = torch.nn.BatchNorm2d(3)
    with torch.no_grad():
        layer.running_mean += 1  # type: ignore[operator]
    told: list[int] = []
    allow_single_values(layer, lambda: told.append(1))
    for _ in range(2):
        torch.testing.assert_close(layer(torch.ones(1, 3, 1, 1)), torch.zeros(1, 3, 1, 1))
    assert layer.training
    assert len(told) == 1
    assert layer.running_mean.tolist() == [1, 1, 1]  # type: ignore[union-attr]
    other = torch.nn.BatchNorm2d(3)
    many = torch.rand(2, 3, 4, 4)
    layer.reset_running_stats()
    assert torch.equal(layer(many), other(many))
    assert torch.equal(layer.running_var, other.running_var)  # type: ignore[arg-type]


def test_the_least_batch() -> None:
    for count in range(1, 12):
        for size in range(1, 6):
            batches = EpochBatches(count, size, shuffle=True)
            assert batches.least() == min(map(len, batches))
            assert batches.least() >= min(count, math.ceil(size / 2))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("accelerator=gpu", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")),
        pytest.param("accelerator=mps", marks=pytest.mark.skipif(torch.mps.is_available(), reason="has a GPU")),
        "accelerator=tpu",
        "accelerator=abacus",
        "devices=none",
        "strategy=abacus",
    ],
)
def test_a_device_that_is_not_there_is_refused_before_any_work(given: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"train\.{given}: expected devices .*train\.accelerator=auto"):
        train(small(data, f"train.{given}"), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
