"""When widths move: once an epoch, or every so many optimizer steps, whatever the number of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trigpoint.config import parse
from trigpoint.recipe import Recipe
from trigpoint.synthetic import write_catheter
from trigpoint.training import train


def recipe(count: int, schedule: dict[str, Any], epochs: int) -> Recipe:
    values = {
        "data": {"path": f"set{count}", "val": "val", "input": {"size": [32, 32], "channels": 1}, "workers": 0},
        "method": {
            "name": "heatmap",
            "network": {"name": "unet", "width": 2, "depth": 1},
            "schedule": {"name": "adaloss", **schedule},
        },
        "train": {"epochs": epochs, "batch_size": 4, "accelerator": "cpu", "threads": 1},
    }
    return parse(Recipe, values)


@pytest.fixture(autouse=True)
def _sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def moves(count: int, schedule: dict[str, Any], epochs: int) -> int:
    """How often the widths moved in a training with so many images in all."""
    write_catheter(
        f"set{count}", count + 2, size=32, seed=1, splits={"train": count / (count + 2), "val": 2 / (count + 2)}
    )
    run = train(recipe(count, schedule, epochs), out=Path(f"run{count}"), progress=False)
    return int(torch.load(run.last, weights_only=True)["schedule"]["epoch"])


@pytest.mark.slow
def test_moves_follow_the_steps_and_not_the_size_of_the_set() -> None:
    assert moves(8, {"every": 3, "rule": "paced"}, epochs=6) == 4  # 12 steps in 6 epochs of 2
    assert moves(24, {"every": 3, "rule": "paced"}, epochs=2) == 4  # 12 steps in 2 epochs of 6
    assert moves(4, {}, epochs=3) == 3


@pytest.mark.slow
def test_a_width_that_cannot_be_reached_is_told_before_training(capfd: pytest.CaptureFixture[str]) -> None:
    moves(8, {"sigma0": 8.0, "sigma_min": 1.0}, epochs=2)
    told = " ".join(capfd.readouterr().err.split())
    assert "cannot fall from sigma0=8 to sigma_min=1" in told
    moves(12, {"sigma0": 8.0, "sigma_min": 7.9, "every": 1}, epochs=8)
    assert "cannot fall" not in capfd.readouterr().err
