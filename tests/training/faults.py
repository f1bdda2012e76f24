"""Runs that are killed and started again, each in a process of its own, and what has to be the same in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from trigpoint.config import parse
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter

ENTRY = Path(__file__).with_name("fault_entry.py")
KILLED = -signal.SIGKILL
TIMES = ["minutes", "data_wait_share"]
LIMIT = 600.0  # seconds for one start, many more than it needs


def draw(folder: Path) -> Path:
    """16 images to learn from, 5 to validate with, 3 to test with, 32 x 32."""
    write_catheter(folder, 24, size=32, seed=1)
    table = pd.read_csv(folder / "landmarks.csv")
    table["split"] = ["train"] * 16 + ["val"] * 5 + ["test"] * 3
    table.to_csv(folder / "landmarks.csv", index=False)
    return folder


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
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment |= {key.upper(): str(value) for key, value in faults.items()}
    command = [sys.executable, *launcher, str(ENTRY), "train", str(file), *overrides, "--out", str(out), "--quiet"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


def table_of(run: RunFolder) -> str:
    """``metrics.csv`` without the columns of times, every digit."""
    frame = pd.read_csv(run.metrics, dtype=str)
    return frame.drop(columns=TIMES).to_csv(index=False)


def assert_same(run: RunFolder, other: RunFolder) -> None:
    """Both runs have the same weights, metrics and state, bit by bit, and nothing half written."""
    (weights, note), (others, other_note) = run.load_weights(), other.load_weights()
    assert note == other_note  # not byte by byte: safetensors writes the entries of its note in any order
    _assert_equal(weights, others, "weights")
    assert table_of(run) == table_of(other)
    assert run.landmarks.read_bytes() == other.landmarks.read_bytes()
    one, two = (torch.load(each.last, weights_only=True) for each in (run, other))
    for key in ("state_dict", "schedule", "optimizer_states", "lr_schedulers"):
        _assert_equal(one[key], two[key], key)
    assert (one["epoch"], one["global_step"]) == (two["epoch"], two["global_step"])
    assert [path.name for each in (run, other) for path in each.folder.iterdir() if path.name.endswith(".part")] == []


def _assert_equal(one: Any, two: Any, where: str) -> None:
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True, msg=where)
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            _assert_equal(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for i, (a, b) in enumerate(zip(one, two, strict=True)):
            _assert_equal(a, b, f"{where}[{i}]")
    else:
        assert one == two, where


def assert_near(run: RunFolder, other: RunFolder, tolerance: float = 1e-5) -> None:
    """Losses, errors, widths and what moved them agree: the sums were made in another order."""
    tables = [each.history_table().drop(columns=TIMES) for each in (run, other)]
    pd.testing.assert_frame_equal(tables[0], tables[1], rtol=tolerance, atol=tolerance)
    one, two = (torch.load(each.last, weights_only=True)["schedule"] for each in (run, other))
    assert one["epoch"] == two["epoch"]
    assert float(one["sigma"]) < 4, "the width has not moved, nothing is compared"
    for name in ("sigma", "history", "variance"):
        torch.testing.assert_close(one[name], two[name], rtol=tolerance, atol=tolerance)
    weights = [each.load_weights()[0] for each in (run, other)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4)
