"""Prediction of many small images by one process and by several: ``python -m benchmarks.many``; README.md."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trigpoint.synthetic import write_catheter

METHOD = "method={name: heatmap, schedule: fixed, network: {name: res_unet, width: 32}}"
FEW = 32
"""Of so many images one is in the call that tells what a start costs."""


@dataclass(frozen=True)
class Measured:
    """A call of ``trigpoint predict``: seconds from its start to its end, those of a call with a ``FEW``-th of the
    images, and the largest of its processes, MB."""

    processes: int
    images: int
    seconds: float
    few: float
    memory: float

    @property
    def rate(self) -> float:
        """Images per second, its start included."""
        return self.images / self.seconds

    @property
    def steady(self) -> float:
        """Images per second without what is the same for any number of images: imports, and loading the model."""
        return (self.images - self.images // FEW) / (self.seconds - self.few)


def prepared(folder: Path, count: int, size: int) -> tuple[Path, Path]:
    """A run, and ``count`` drawn images; those that are there are used."""
    run, data, images = folder / "run", folder / "learn", folder / f"images-{size}-{count}"
    if not (run / "card.md").is_file():
        shutil.rmtree(data, ignore_errors=True)
        write_catheter(data, 60, size=size, seed=1)
        options = [f"data.path={data}", f"data.input.size={size}", "train.epochs=10", METHOD]
        _call(["train", "fast", *options, "--out", str(run), "--quiet"])
    if not (images / "dataset.yaml").is_file():
        shutil.rmtree(images, ignore_errors=True)
        write_catheter(images, count, size=size, seed=2)
    return run, images / "images"


def measure(run: Path, images: Path, count: int, processes: int, out: Path) -> Measured:
    """Predict a few of them, then all, into a table that is thrown away."""
    table, seconds, memory = out / f"by-{processes}.csv", list[float](), 0.0
    options = ["--out", str(table), "--force", "--device", "cpu", "--processes", str(processes)]
    for every in (FEW, 1):
        began = time.perf_counter()
        memory = _call(["predict", str(run), str(images), *options, "--every", str(every), "--block-size", "128"])
        seconds.append(time.perf_counter() - began)
        with table.open(encoding="utf-8") as stream:
            rows = sum(1 for _ in stream) - 1
        if rows != -(-count // every):
            raise SystemExit(f"expected a row for each of {-(-count // every)} images, got {rows}")
    return Measured(processes, count, seconds[1], seconds[0], memory)


def _call(arguments: Sequence[str]) -> float:
    """Run the command line; the largest resident memory of its processes in MB."""
    process = subprocess.Popen([sys.executable, "-m", "trigpoint", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"trigpoint {arguments[0]} ended with {process.returncode}")
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main(arguments: Sequence[str] | None = None) -> str:
    """Measure, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1, help="each number of processes in turn, so many times")
    parser.add_argument("--folder", type=Path, help="keep images and run here, for another call; default: none is kept")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.folder or Path(scratch)
        run, images = prepared(folder, chosen.images, chosen.size)
        head = ("processes", "images", "seconds", "of few", "images/s", "ratio", "images/s after the start", "ratio")
        head = (*head, "largest process, MB", "load before")
        lines = [_row(head), _row(["---"] * len(head))]
        for _ in range(chosen.rounds):
            first = None
            for processes in chosen.processes:
                load = f"{os.getloadavg()[0]:.1f}"
                found = measure(run, images, chosen.images, processes, Path(scratch))
                first = first or found
                numbers = (found.seconds, found.few, found.rate, found.rate / first.rate)
                numbers = (*numbers, found.steady, found.steady / first.steady, found.memory)
                lines.append(_row([processes, found.images, *(f"{number:.4g}" for number in numbers), load]))
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
