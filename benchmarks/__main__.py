"""Print the benchmark's table: ``python -m benchmarks [--quick] [--only codec|training] [--peer FOLDER]``."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from benchmarks import codec, training
from benchmarks.timing import table
from trigpoint.training import fast_precision


def main(arguments: Sequence[str] | None = None) -> str:
    """Measure, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed of trigpoint, as ratios.")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to see that it works; numbers mean nothing")
    parser.add_argument("--only", choices=["codec", "training"], help="one part")
    parser.add_argument("--peer", metavar="FOLDER", help="where landmarker was installed with pip install --target")
    chosen = parser.parse_args(arguments)
    if chosen.peer:
        sys.path.append(chosen.peer)
    rows = []
    if chosen.only != "training":
        shape = {"size": 48, "batch": 2, "landmarks": 3, "rounds": 1}
        rows += codec.rows(**shape if chosen.quick else {"size": 256, "batch": 8, "landmarks": 19, "rounds": 5})
    if chosen.only != "codec":
        tiny = {"size": 32, "steps": 2, "epochs": 2, "rounds": 1, "batch": 2, "width": 4}
        rows += training.rows(**tiny if chosen.quick else {"size": 128, "steps": 16, "epochs": 4, "rounds": 3})
    if chosen.quick:
        rows = [replace(row, met=None) for row in rows]
    machine = f"torch {torch.__version__}, Python {platform.python_version()}, {torch.get_num_threads()} threads"
    text = f"{table(rows)}\n\n{machine}; training on the CPU in {fast_precision()}."
    if codec.peer() is None and chosen.only != "training":
        text += "\nlandmarker is not installed, so nothing to compare with: pip install --no-deps landmarker"
    if chosen.quick:
        text += "\n--quick: tiny shapes; these numbers mean nothing."
    return text


if __name__ == "__main__":
    print(main())
