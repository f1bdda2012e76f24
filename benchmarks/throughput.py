"""Images per second of every method, in training and in prediction, and the share of the time that its networks take.

Training is ``trigpoint.train`` on drawn images: everything of an epoch but validation. The networks' part of it is
their forward passes and everything backward. Prediction begins at files and ends at points.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as everywhere

from benchmarks.timing import Row, seconds
from trigpoint.data import LandmarkDataset
from trigpoint.nn import LandmarkNetwork
from trigpoint.nn.spatialized import GlimpseNetwork
from trigpoint.prediction import Predictor
from trigpoint.recipe import load_recipe
from trigpoint.synthetic import write_catheter, write_instruments, write_radiographs
from trigpoint.training.landmarks import train

GLIMPSES = {"trunk": "small", "unit": "spread", "activation": "leaky_relu", "train_iterations": 2, "train_starts": 1}
MAPS = {"name": "heatmap", "network": {"name": "res_unet", "width": 32}, "schedule": "fixed"}
PLANNED = {
    "name": "heatmap",
    "network": {"name": "timm_unet", "encoder": "tf_efficientnet_lite0", "widths": [128, 64, 64, 32, 16]},
    "loss": {"name": "kl", "coordinate": 1.0},
    "decoder": "soft_argmax",
    "schedule": "fixed",
}
COARSE = {"data": {"input": {"size": [160, 128]}}, "method": MAPS, "train": {"epochs": 1}}
EPOCHS = 3


@dataclass(frozen=True)
class Case:
    """A method, how its images are drawn and their (H, W), and how many are in a batch."""

    name: str
    draw: Callable[..., Path]
    size: tuple[int, int]
    method: dict[str, Any]
    batch: int = 4


CASES = (
    Case("heatmap", write_catheter, (128, 128), MAPS, 16),
    Case("foveated, shared", write_radiographs, (640, 512), {"name": "foveated", "shared": True, **GLIMPSES}),
    Case("foveated, one per landmark", write_radiographs, (640, 512), {"name": "foveated", **GLIMPSES}),
    Case(
        "cascade",
        write_radiographs,
        (640, 512),
        {"name": "cascade", "coarse": COARSE, "fine": {"shared": True, "levels": 3, **GLIMPSES}},
    ),
    Case("instances", write_instruments, (192, 256), {"name": "instances", "network": {"name": "unet", "width": 8}}, 8),
    Case("planned", write_catheter, (256, 256), PLANNED, 4),
)


def rows(batches: int, shrink: int = 1, cases: Sequence[Case] = CASES) -> list[Row]:
    """Two rows for each method, by so many ``batches`` of training images of a ``shrink``-th of the case's size."""
    found = []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            found += _rows(case, Path(folder), batches * case.batch, shrink)
    return found


def _rows(case: Case, root: Path, count: int, shrink: int) -> list[Row]:
    height, width = (side // shrink for side in case.size)
    given = {"size": height} if case.draw is write_catheter else {"size": (height, width)}
    splits = {"train": 0.5, "val": 0.5}
    case.draw(root / "set", 2 * count, splits=splits, **given)
    values: dict[str, Any] = {
        "name": "benchmark",
        "data": {"path": str(root / "set"), "input": {"size": [height, width]}, "cache": True, "workers": 0},
        "method": case.method,
        "train": {"epochs": EPOCHS, "batch_size": case.batch, "precision": "auto", "val_every": EPOCHS},
    }
    device = "GPU" if torch.cuda.is_available() else "CPU"
    what = f"{case.name}, {height} x {width}, {device}"
    with network_seconds(training=True) as spent:
        run = train(load_recipe(values), out=root / "run", progress=False)
        if "coarse" in case.method:  # trained within; its own network is not what is measured
            spent.clear()
            again = {**case.method, "coarse": None, "coarse_run": str(root / "run" / "coarse")}
            run = train(load_recipe({**values, "method": again}), out=root / "again", progress=False)
    history = run.history_table()
    epoch = 60 * statistics.median(history["minutes"].diff().iloc[1:])  # the first one looks for the fastest kernels
    share = sum(spent) / (60 * float(history["minutes"].iloc[-1]))
    learned = Row(f"training ({what})", f"{count / epoch:.3g} images/s", "", f"networks {share:.0%}", "", None)
    predictor, test = Predictor.load(run), LandmarkDataset.load(root / "set", "val")
    predictor.predict(test)
    with network_seconds(training=False) as spent:
        took = seconds(lambda: predictor.predict(test))
    rate, share = len(test) / took, sum(spent) / took
    return [learned, Row(f"prediction ({what})", f"{rate:.3g} images/s", "", f"networks {share:.0%}", "", None)]


@contextmanager
def network_seconds(training: bool) -> Iterator[list[float]]:
    """Seconds of the forward passes of networks, with gradients (and all backward passes) or those without."""
    spent: list[float] = []
    begun: list[float] = []

    def now() -> float:
        if torch.cuda.is_available():  # else what it was told to do would count elsewhere
            torch.cuda.synchronize()
        return time.perf_counter()

    def counts(module: nn.Module) -> bool:
        return isinstance(module, LandmarkNetwork | GlimpseNetwork) and torch.is_grad_enabled() == training

    def begin(module: nn.Module, *_: Any) -> None:
        if counts(module):
            begun.append(now())

    def end(module: nn.Module, *_: Any) -> None:
        if counts(module):
            first = begun.pop()
            if not begun:  # no network within a network
                spent.append(now() - first)

    def backward(tensor: torch.Tensor, *given: Any, **options: Any) -> None:
        start = now()
        plain(tensor, *given, **options)
        spent.append(now() - start)

    plain: Any = torch.Tensor.backward
    hooks = [everywhere.register_module_forward_pre_hook(begin), everywhere.register_module_forward_hook(end)]
    torch.Tensor.backward = backward  # type: ignore[method-assign,assignment]
    try:
        yield spent
    finally:
        torch.Tensor.backward = plain  # type: ignore[method-assign]
        for hook in hooks:
            hook.remove()
