"""Runs that are killed and started again, each in a process of its own, and what has to be the same in the end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from same_runs import TIMES
from trigpoint.config import parse
from trigpoint.methods import FoveatedMethod
from trigpoint.recipe import Recipe, SourceRecipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter
from trigpoint.training import callbacks, train
from warm import Started

ENTRY = Path(__file__).with_name("fault_entry.py")
KILLED = -signal.SIGKILL
LIMIT = 600.0  # seconds for one start, many more than it needs


def draw(folder: Path) -> Path:
    """16 images to learn from, 5 to validate with, 3 to test with, 32 x 32."""
    return Path(shutil.copytree(Path(_drawn().name) / "data", folder))


@cache
def _drawn() -> tempfile.TemporaryDirectory[str]:
    """The folder of the set, drawn once for all tests of this process."""
    place = tempfile.TemporaryDirectory()
    folder = write_catheter(Path(place.name) / "data", 24, size=32, seed=1)
    table = pd.read_csv(folder / "landmarks.csv")
    table["split"] = ["train"] * 16 + ["val"] * 5 + ["test"] * 3
    table.to_csv(folder / "landmarks.csv", index=False)
    return place


def tiny(data: Path, epochs: int = 5, workers: int = 0, **options: Any) -> Recipe:
    """A recipe with everything that has a state: Adaloss, averaged weights, a schedule of the rate, augmentation."""
    train: dict[str, Any] = {"epochs": epochs, "batch_size": 4, "ema": 0.9, "accelerator": "cpu", "threads": 1}
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "path": str(data),
            "input": {"size": [32, 32]},
            "augment": {"rotation": 10, "noise": 0.02},
            "workers": workers,
        },
        "method": {
            "name": "heatmap",
            "network": {"name": "unet", "width": 4, "depth": 2, "kernel": 3},
            "schedule": {"name": "adaloss", "sigma0": 4.0},
        },
        "train": {**train, "lr_schedule": {"name": "cosine"}, **options},
    }
    return parse(Recipe, values)


def start(
    file: Path, out: Path, *overrides: str, launcher: tuple[str, ...] = (), **faults: object
) -> subprocess.CompletedProcess[str]:
    """``trigpoint train`` of a recipe file, with the faults of ``fault_entry`` by their names there."""
    command = (*launcher, ENTRY, "train", file, *overrides, "--out", out, "--quiet")
    return Started(*command, **{key.upper(): value for key, value in faults.items()}).ended(LIMIT)


def draw_missing(folder: Path) -> Path:
    """As ``draw`` with three landmarks, of which 40 % of the training points are missing; each image has some."""
    table = pd.read_csv(draw(folder) / "landmarks.csv")
    rng = np.random.default_rng(3)
    for name, away in (("left", -6), ("right", 6)):
        for axis in "xy":
            table[f"{name}_{axis}"] = (table[f"tip_{axis}"] + away).clip(1, 30)
    for row in rng.permutation(16)[:14]:
        for name in rng.permutation(["tip", "left", "right"])[: 1 + row % 2]:
            table.loc[row, [f"{name}_x", f"{name}_y"]] = np.nan
    table.drop(columns="tip_v", errors="ignore").to_csv(folder / "landmarks.csv", index=False)
    (folder / "dataset.yaml").write_text("name: missing\nimages: images\ntable: landmarks.csv\n")
    return folder


def still() -> None:
    """Networks without batch statistics, and glimpses that begin at the same places in every image."""
    torch.nn.BatchNorm2d = torch.nn.Identity  # type: ignore[assignment, misc]

    def guess(self: FoveatedMethod, truth: torch.Tensor, rng: Any) -> torch.Tensor:
        away = torch.arange(1.0, 1 + self.options.train_starts)[:, None, None]
        middle = truth if self.options.start == "landmark" else self.network.start_mean.to(truth)
        return self.keep_inside((middle + 2 * away).expand(len(truth), -1, -1, -1))

    FoveatedMethod.training_guess = guess  # type: ignore[method-assign]


def stopped(recipe: Recipe | SourceRecipe, out: Path, after: int = 1) -> RunFolder:
    """A run in this process that is stopped after so many epochs; a checkpoint of each is saved."""
    original = callbacks.Recorder.on_train_epoch_end

    def stop(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch + 1 == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "SAVE_EVERY", 0.0)
        patch.setattr(callbacks.Recorder, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out=out, progress=False)
    return RunFolder(out)


def assert_near(run: RunFolder, other: RunFolder, tolerance: float = 1e-5, weights: float = 1e-5) -> None:
    """Losses, errors, widths and what moved them agree: the sums were made in another order.

    So do weights, with a tolerance of their own: Adam divides what rounding leaves of a gradient of 0 by its size.
    """
    tables = [each.history_table().drop(columns=TIMES) for each in (run, other)]
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=tolerance, atol=tolerance)
    one, two = (torch.load(each.last, weights_only=True).get("schedule", {}) for each in (run, other))
    assert one.get("epoch") == two.get("epoch")
    assert not one or float(one["sigma"].min()) < 4, "the width has not moved, nothing is compared"
    for name in one.keys() & {"sigma", "history", "variance"}:
        torch.testing.assert_close(one[name], two[name], rtol=tolerance, atol=tolerance)
    kept = [each.load_weights()[0] for each in (run, other)]
    for name in kept[0]:
        torch.testing.assert_close(kept[0][name], kept[1][name], rtol=weights, atol=weights, msg=name)
