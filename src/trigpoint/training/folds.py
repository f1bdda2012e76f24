"""Runs that each learn from all but a part of a set: one of them has not learned from an image, and can judge it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from trigpoint.data import LandmarkDataset
from trigpoint.data.subsets import nested_order
from trigpoint.errors import DataError
from trigpoint.training.landmarks import train


def fold_runs(
    data: LandmarkDataset, folds: int, minutes: float, out: Path, tell: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Train ``folds`` planned runs of so many ``minutes`` below ``out``, each without a part of the subjects.

    Called again after it was stopped, it does what is left. Raises DataError where there are fewer subjects than that.
    """
    groups = list(dict.fromkeys(data.groups))
    if len(groups) < folds:
        raise DataError(f"{data.name}: expected {folds} subjects or more for {folds} folds, got {len(groups)}")
    order = nested_order([(group, group) for group in groups], 0, False)
    part = {groups[i]: at % folds for at, i in enumerate(order)}
    runs = []
    for fold in range(folds):
        own = [i for i, group in enumerate(data.groups) if part[group] != fold]
        samples = [replace(data.samples[i], split="") for i in own]  # who validates is drawn anew
        place, run = out / f"without-{fold + 1}", out / f"run-{fold + 1}"
        if not (place / "dataset.yaml").is_file():
            replace(data, samples=samples).save(place, images="link")
        tell(f"fold {fold + 1} of {folds}: learns from {len(own)} of {len(data)} rows for about {minutes:g} minutes")
        train(place, out=run, progress=False, minutes=minutes)
        runs.append(run)
    return runs
