"""How many planted faults ``trigpoint data audit`` shows first.

    python -m benchmarks audit --data FACES                    # by shapes alone
    python -m benchmarks audit --data FACES --folds 2 --minutes 10

In 2 % of the images one fault is planted: a point shifted by ``--shift`` pixels in any direction, a point swapped with
its nearest neighbour, or a pair of left and right landmarks swapped. The share of these images among the first 4 % of
the list is printed, for each seed. Faults that the set has of its own come first as well; ``--set-aside`` leaves out
the images that are first in the list before anything is planted. With ``--folds`` detectors
that have learned from the other images look at each one; they learn from labels with shifts of the first seed, for what
is planted in 2 % of the images hardly changes what they find.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import trigpoint as tp
from trigpoint.data.quality.audit import audit
from trigpoint.errors import ConfigError
from trigpoint.landmarks import FloatArray
from trigpoint.prediction.unseen import unseen_points
from trigpoint.report import markdown_table
from trigpoint.synthetic import write_radiographs
from trigpoint.training.folds import fold_runs

KINDS = ("left and right", "neighbours", "shifts")
PLANTED, REVIEWED, GOAL = 0.02, 0.04, 0.95


def plant(data: tp.LandmarkDataset, kind: str, shift: float, seed: int) -> tuple[tp.LandmarkDataset, list[int]]:
    """The same set with a fault in 2 % of its rows, and these rows."""
    rng, samples = np.random.default_rng(seed), list(data.samples)
    pairs = [(data.landmarks.index(a), data.landmarks.index(b)) for a, b in data.landmarks.pairs]
    rows = rng.choice(len(samples), max(1, round(PLANTED * len(samples))), replace=False).tolist()
    for row in rows:
        points, known = samples[row].points.copy(), np.flatnonzero(samples[row].visibility > 0)
        if kind == "shifts":
            turn = rng.uniform(0, 2 * np.pi)
            points[rng.choice(known)] += shift * np.array([np.cos(turn), np.sin(turn)])
        elif kind == "neighbours":
            one = rng.choice(known)
            others = known[known != one]
            other = others[np.argmin(np.linalg.norm(points[others] - points[one], axis=1))]
            points[[one, other]] = points[[other, one]]
        else:
            seen = [pair for pair in pairs if set(pair) <= {*known.tolist()}]
            a, b = seen[rng.integers(len(seen))]
            points[[a, b]] = points[[b, a]]
        samples[row] = replace(samples[row], points=points)
    return replace(data, samples=samples), rows


def share(data: tp.LandmarkDataset, rows: Sequence[int], found: FloatArray | None) -> float:
    """The share of these rows among the first 4 % of the list."""
    suspects = audit(data, found).suspects
    first = {one.row for one in suspects[: round(REVIEWED * len(data.samples))]}
    return len(first & {*rows}) / len(rows)


def main(arguments: Sequence[str]) -> str:
    """Plant and look, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks audit", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="a labelled set; none: drawn radiographs")
    parser.add_argument("--split", default="train", help="the subset whose labels are looked at; all: every image")
    parser.add_argument("--images", type=int, help="how many; default: all, or 150 drawn ones")
    parser.add_argument("--shift", type=float, default=8.0, help="pixels that a point is shifted by")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, help="detectors that look at what they have not learned from")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each of their trainings")
    parser.add_argument("--set-aside", action="store_true", help="leave out what is first before anything is planted")
    parser.add_argument("--out", type=Path, help="folder of the trainings, to go on from; none: a temporary one")
    given = parser.parse_args(arguments)
    if given.folds is not None and given.folds < 2:
        raise ConfigError(f"--folds: expected at least 2, got {given.folds}; leave it out to look at shapes alone")
    with tempfile.TemporaryDirectory() as spare:
        out = given.out or Path(spare)
        data = _set(given.data, given.split, given.images, out)
        data = _without_own(data) if given.set_aside else data
        found = None
        if given.folds is not None:
            taught = plant(data, "shifts", given.shift, given.seeds[0])[0]
            runs = fold_runs(taught, given.folds, given.minutes, out, lambda text: print(text, file=sys.stderr))
            found = unseen_points(runs, data)[0]
        return _table(data, found, given.shift, given.seeds)


def _table(data: tp.LandmarkDataset, found: FloatArray | None, shift: float, seeds: Sequence[int]) -> str:
    table: list[dict[str, object]] = []
    for kind in KINDS if data.landmarks.pairs else KINDS[1:]:
        row: dict[str, object] = {"planted": kind if kind != "shifts" else f"shifts of {shift:g} px"}
        for name, points in {"shapes alone": None, **({} if found is None else {"with detectors": found})}.items():
            shares = [share(*plant(data, kind, shift, seed), points) for seed in seeds]
            row[name] = ", ".join(f"{one:.0%}" for one in shares)
            row[f"{name}, mean"] = f"{np.mean(shares):.0%}"
        table.append(row)
    off = "" if found is None else f", detectors off by {_off(data, found):.2f} px on average"
    return (
        f"{markdown_table(table)}\n\n{len(data.samples)} images, seeds {', '.join(map(str, seeds))}; share of "
        f"{PLANTED:.0%} planted among the first {REVIEWED:.0%} (goal: {GOAL:.0%}){off}."
    )


def _without_own(data: tp.LandmarkDataset) -> tp.LandmarkDataset:
    """The set without the first of its own list, which may be as wrong as what will be planted."""
    first = {one.row for one in audit(data).suspects[: round(REVIEWED * len(data.samples))]}
    return data.subset([row for row in range(len(data.samples)) if row not in first])


def _off(data: tp.LandmarkDataset, found: FloatArray) -> float:
    seen = data.visibility > 0
    return float(np.nanmean(np.linalg.norm(found - data.points, axis=-1)[seen]))


def _set(data: Path | None, split: str, images: int | None, out: Path) -> tp.LandmarkDataset:
    if data is None:
        folder = out / "truth"
        folder = folder if folder.exists() else write_radiographs(folder, images or 150, (112, 96), 0, {"train": 1.0})
        return tp.LandmarkDataset.load(folder)
    found = tp.LandmarkDataset.load(data, None if split == "all" else split, check_images=False)
    return found if images is None else found.limit(images, 0, across=True)
