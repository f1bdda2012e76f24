"""Print the benchmark's tables: ``python -m benchmarks [throughput | codec | scale | ...] [--quick]``; README.md."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import (
    audit,
    codec,
    coverage,
    domain,
    few_labels,
    foveated,
    instances,
    labelling,
    plans,
    radii,
    throughput,
    training,
    transfer,
)
from benchmarks.scale import scale
from benchmarks.timing import Row, table
from trigpoint.training.optimizers import fast_precision

PARTS = ("throughput", "codec", "instances", "training", "transfer", "foveated")
OWN = {
    "labelling": labelling,
    "audit": audit,
    "coverage": coverage,
    "radii": radii,
    "domain": domain,
    "few": few_labels,
    "plans": plans,
}
"""What has options of its own, and is not about speed."""


def main(arguments: Sequence[str] | None = None) -> str:
    """Measure, and return the text that is printed."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in OWN:
        return OWN[given[0]].main(given[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed of trigpoint, as ratios.")
    parser.add_argument(
        "what",
        nargs="?",
        choices=[*PARTS, "scale", *OWN],
        help=f"one part; none: all but the last {1 + len(OWN)}",
    )
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to see that it works; numbers mean nothing")
    parser.add_argument("--peer", metavar="FOLDER", help="where landmarker was installed with pip install --target")
    parser.add_argument("--size", type=int, default=128, help="training: side of the frames")
    parser.add_argument("--largest", type=int, default=16384, help="scale: largest side in memory")
    parser.add_argument("--lazy", type=int, nargs="*", default=[16384, 32768], help="scale: sides of tiled files")
    parser.add_argument("--trunk", default="resnet34", help="scale: trunk of the network, such as small")
    parser.add_argument("--threads", type=int, default=1, help="scale: threads of each measurement")
    parser.add_argument("--out", type=Path, default=Path("runs/scale"), help="scale: folder for scale.json, scale.png")
    chosen = parser.parse_args(given)
    if chosen.peer:
        sys.path.append(chosen.peer)
    machine = f"torch {torch.__version__}, Python {platform.python_version()}"
    remark = "\n--quick: tiny shapes; these numbers mean nothing." if chosen.quick else ""
    if chosen.what == "scale":
        return f"{_scale(chosen)}\n\n{machine}, threads: {chosen.threads}.{remark}"
    parts = [chosen.what] if chosen.what else PARTS
    text = table(_rows(parts, chosen.quick, chosen.size))
    machine += f", {torch.get_num_threads()} threads; training on the CPU in {fast_precision()}."
    if codec.peer() is None and {"codec", "instances"} & set(parts):
        machine += "\nlandmarker is not installed, so nothing to compare with: pip install --no-deps landmarker"
    return f"{text}\n\n{machine}{remark}"


def _rows(parts: Sequence[str], quick: bool, size: int) -> list[Row]:
    rows = []
    if "throughput" in parts:
        rows += throughput.rows(1, 4, throughput.CASES[:2]) if quick else throughput.rows(4)
    if "codec" in parts:
        shape = {"size": 48, "batch": 2, "landmarks": 3, "rounds": 1}
        rows += codec.rows(**shape if quick else {"size": 256, "batch": 8, "landmarks": 19, "rounds": 5})
    if "instances" in parts:
        rows += instances.rows((96, 128), 2, 2, 1, 4, ("instances",)) if quick else instances.rows((576, 720), 2, 6, 5)
    if "training" in parts:
        tiny = {"size": 32, "steps": 2, "epochs": 2, "rounds": 1, "batch": 2, "width": 4}
        rows += training.rows(**tiny if quick else {"size": size, "steps": 16, "epochs": 4, "rounds": 3})
    if "transfer" in parts:
        small = ("resnet10t", 32, 2, 1, 3, False)
        rows += transfer.rows(*small) if quick else transfer.rows("resnet50", 256, 2, 5)
    if "foveated" in parts:
        rows += foveated.rows((96, 128), 2, 1, ["small"]) if quick else foveated.rows((2400, 1935), 19, 3)
    return [replace(row, met=None) for row in rows] if quick else rows


def _scale(chosen: argparse.Namespace) -> str:
    if chosen.quick:
        return scale([64, 128], [128], chosen.out, trunk="small", width=2, rounds=1)
    sides = [512 * 2**i for i in range(16) if 512 * 2**i <= chosen.largest]
    return scale(
        sides,
        chosen.lazy,
        chosen.out,
        chosen.trunk,
        threads=chosen.threads,
        say=lambda text: print(text, file=sys.stderr),
    )


if __name__ == "__main__":
    print(main())
