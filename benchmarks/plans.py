"""Is a plan as good as the recipe made for a set? ``python -m benchmarks plans``: sets that the package draws, each
learned by its own recipe, then by a plan that gets the minutes which the recipe took.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

import trigpoint as tp
from trigpoint.report import markdown_table
from trigpoint.synthetic import write_catheter, write_instruments, write_radiographs

SHARES = {"train": 0.65, "val": 0.15, "test": 0.2}
LEAST = 2.0  # minutes that a plan gets where the recipe took less: a part of them goes by with looking at the set
CORNERS = ("anterior_nasal_spine", "upper_incisor", "lower_incisor")


@dataclass(frozen=True)
class Kind:
    """A drawn set, the recipe made for it, and the landmarks that both learn (none: all)."""

    draw: Callable[..., Path]
    images: int
    recipe: str
    landmarks: tuple[str, ...] = ()


KINDS = {
    "catheter": Kind(partial(write_catheter, size=64), 1000, "demo"),
    "radiograph": Kind(partial(write_radiographs, size=(2048, 1664)), 80, "demo-foveated", CORNERS),
    "instrument": Kind(partial(write_instruments, size=(192, 256)), 300, "instances"),
}


def measured(name: str, folder: Path, images: int | None, seed: int, epochs: int | None) -> list[dict[str, str]]:
    """The rows of a kind, recipe and plan, whose difference is paired by image."""
    kind = KINDS[name]
    data = kind.draw(folder / "data", images or kind.images, splits=SHARES, seed=seed)
    told = [f"seed={seed}", *([f"data.landmarks=[{','.join(kind.landmarks)}]"] if kind.landmarks else [])]
    begin = time.monotonic()
    lasting = [] if epochs is None else [f"train.epochs={epochs}"]
    recipe = tp.train(kind.recipe, [f"data.path={data}", *told, *lasting], folder / kind.recipe, progress=False)
    between = time.monotonic()
    plan = tp.train(data, told, folder / "plan", progress=False, minutes=max((between - begin) / 60, LEAST))
    minutes = [(between - begin) / 60, (time.monotonic() - between) / 60]
    rows = tp.compare([recipe, plan], data).rows()
    return [
        {"set": name, "trained by": row.pop("run"), "minutes": f"{taken:.1f}", **_one_heading(row)}
        for row, taken in zip(rows, minutes, strict=True)
    ]


def _one_heading(row: dict[str, str]) -> dict[str, str]:
    """The measure under one heading whatever it is called, so that all sets fit one table."""
    (heading, value), *others = row.items()
    return {"measured": f"{heading} {value}", **dict(others)}


def main(arguments: Sequence[str]) -> str:
    """Measure, and return the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks plans", description="Is a plan as good as the recipe made for a set?"
    )
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path("runs/plans"), help="folder for sets and runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, help="fewer, to see that it works; the numbers mean nothing then")
    parser.add_argument("--epochs", type=int, help="of the recipes, to see that it works")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    rows = []
    for name in chosen.kinds:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += measured(name, chosen.out / f"{name}-{chosen.seed}", chosen.images, chosen.seed, chosen.epochs)
    return markdown_table(rows)
