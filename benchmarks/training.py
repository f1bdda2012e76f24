"""What training costs over the network alone: the time of a step, and the share of it spent waiting for data.

A run of ``trigpoint.train`` on drawn catheter frames tells both by its own ``metrics.csv``: the minutes of each epoch,
waiting for data, augmentation, targets, loss, schedule, averaged weights and records included, validation not. The bare
step is the same network with the same optimizer, batch, precision and threads on tensors that lie ready.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.timing import Row, seconds
from trigpoint.methods import build_method
from trigpoint.recipe import Recipe
from trigpoint.synthetic import write_catheter
from trigpoint.training.landmarks import train
from trigpoint.training.optimizers import fast_precision, make_optimizers
from trigpoint.training.subsets import dataset_of

STEP_TARGET, WAIT_TARGET = 1.10, 0.05
AUGMENT = {"rotation": 15, "scale": [0.87, 1.15], "shift": 0.05, "brightness": 0.2, "contrast": 0.2}


@dataclass(frozen=True)
class Case:
    """A method, with what training adds to its step."""

    name: str
    batch: int
    method: dict[str, Any]
    train: dict[str, Any]


CASES = (
    Case("paper: U-Net, mse, Adaloss", 8, {"network": {"name": "unet"}, "loss": "mse", "schedule": "adaloss"}, {}),
    Case(
        "small machine: ResU-Net, kl, averaged weights, clipping",
        16,
        {
            "network": {"name": "res_unet"},
            "loss": "kl",
            "decoder": "soft_argmax",
            "schedule": {"name": "exponential", "sigma0": 4, "sigma_min": 1},
        },
        {"ema": 0.99, "clip": 5.0},
    ),
    Case(
        "planned: EfficientNet-lite0 U-Net, kl, averaged weights, clipping",
        4,
        {
            "network": {"name": "timm_unet", "encoder": "tf_efficientnet_lite0", "widths": [128, 64, 64, 32, 16]},
            "loss": {"name": "kl", "coordinate": 1.0},
            "decoder": "soft_argmax",
            "schedule": {"name": "fixed", "sigma0": 1.0},
        },
        {"ema": 0.99, "clip": 5.0, "optimizer": {"name": "adamw", "lr": 0.002, "weight_decay": 0.01}},
    ),
)


def rows(
    size: int, steps: int, epochs: int, rounds: int, batch: int | None = None, width: int | None = None
) -> list[Row]:
    """Step and wait of each case on ``steps`` batches of frames; ``batch`` and ``width`` replace the case's own."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, case in enumerate(CASES):
            case = case if batch is None else replace(case, batch=batch)
            share = 1 / (steps + 1)  # one batch to validate on
            data = root / f"set {number}"
            write_catheter(data, case.batch * (steps + 1), size=size, splits={"train": 1 - share, "val": share})
            recipe = _recipe(case, data, size, epochs, width)
            pairs = [_round(recipe, root / f"run {number} {i}") for i in range(rounds)]
            ours, bare, wait = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(step / alone for step, alone, _ in pairs)
            shape = f"{case.name}, {case.batch} x {size} x {size}"
            found.append(
                Row(
                    f"training step ({shape})",
                    f"{ours * 1e3:.0f} ms",
                    f"bare step: {bare * 1e3:.0f} ms",
                    f"{ratio:.2f} x",
                    f"<= {STEP_TARGET:.2f} x",
                    ratio <= STEP_TARGET,
                )
            )
            aim = f"< {WAIT_TARGET:.0%}"
            found.append(Row(f"waiting for data ({case.name})", "", "", f"{wait:.1%}", aim, wait < WAIT_TARGET))
    return found


def _recipe(case: Case, data: Path, size: int, epochs: int, width: int | None) -> Recipe:
    network = dict(case.method["network"])
    if width is not None:
        network |= {"widths": [width] * len(network["widths"])} if "widths" in network else {"width": width}
    values = {
        "name": "benchmark",
        "data": {"path": str(data), "input": {"size": [size, size]}, "augment": AUGMENT, "cache": True},
        "method": {"name": "heatmap", **case.method, "network": network},
        "train": {"epochs": epochs, "batch_size": case.batch, "precision": "auto", "accelerator": "cpu", **case.train},
    }
    return Recipe.model_validate(values)


def _round(recipe: Recipe, out: Path) -> tuple[float, float, float]:
    """Seconds of our step, seconds of the bare step measured right before and after, share of waiting."""
    before = _bare_step(recipe)
    history = train(recipe, out=out, progress=False).history_table()
    after = _bare_step(recipe)
    settled = history.iloc[1:]  # the first epoch starts the workers and compiles kernels
    took = (history["minutes"].diff() * 60 / history["step"].diff()).iloc[1:]
    return float(took.median()), (before + after) / 2, float(settled["data_wait_share"].median())


def _bare_step(recipe: Recipe, calls: int = 8) -> float:
    """Median seconds of forward, backward and optimizer step on tensors that lie ready."""
    landmarks, batch = dataset_of(recipe).landmarks, recipe.train.batch_size
    method = build_method(recipe, landmarks)
    network = method.network.train()
    height, width = recipe.data.input.size
    images = torch.randn(batch, recipe.data.input.channels, height, width)
    images = images.contiguous(memory_format=torch.channels_last)
    target = method.codec.encode(torch.rand(batch, len(landmarks), 2) * min(height, width), 2.0)
    optimizer = make_optimizers(recipe.train, list(network.parameters()), 1000)["optimizer"]
    mixed = fast_precision() == "bf16-mixed"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext():
            output = network(images)
        torch.autograd.backward(functional.mse_loss(output.float(), target))
        optimizer.step()

    for _ in range(3):
        step()
    return statistics.median(seconds(step) for _ in range(calls))
