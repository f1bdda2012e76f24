"""What the parts of the foveated pyramid are worth: glimpse steps in training and in prediction, features, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import ConfigError
from trigpoint.experiments.engine import Experiment, Runs
from trigpoint.experiments.findings import Claim, Table, judged, spread
from trigpoint.experiments.isbi2015 import STEPS
from trigpoint.experiments.measures import Job
from trigpoint.experiments.task import predicted
from trigpoint.landmarks import LandmarkSet
from trigpoint.metrics import mean_error, radial_error
from trigpoint.nn.pyramid import level_count
from trigpoint.report.style import dress, legend, line_style, new_figure
from trigpoint.synthetic.radiograph import LANDMARKS

TRAINED = (1, 3, 10)
"""Glimpse steps per batch that are compared."""
BASE = 3
"""Steps per batch of the settings that vary something else."""
CLOSE = 1.02  # times the error after the most steps


@dataclass(frozen=True)
class Sweep:
    """Test MRE in px of each seed by setting and number of steps in prediction; ``levels`` is the most, ``start`` the
    error of the mean training position."""

    errors: Mapping[str, Mapping[int, Sequence[float]]]
    levels: int
    start: float

    def mean(self, setting: str, steps: int) -> float:
        """Mean over the seeds; infinite when one has none."""
        value = float(np.mean(self.errors[setting][steps]))
        return value if np.isfinite(value) else float("inf")


class Ablation(Experiment):
    """On drawn radiographs with exact truth, or on a dataset of the user's."""

    def prepare(self) -> None:
        """The canvas (H, W) that holds every image, the landmarks that are looked for, and the levels there are."""
        given, data = self.options["landmarks"], self.request.data
        canvas, marks, default = self._canvas(LandmarkDataset.load(data) if data is not None else None)
        self.names = default if given is None else [name.strip() for name in given.split(",")]
        for name in self.names:
            marks.index(name)
        split = self.options["split"] or "test"
        facts = {"split": split, "landmarks": self.names}
        if data is None:
            self.request.open_folder(**facts)
        self.folder = self.draw("data") if data is None else data
        self.test = LandmarkDataset.load(self.folder, split, self.names)
        self.training = len(LandmarkDataset.load(self.folder, "train", self.names, check_images=False))
        self.request.open_folder(**facts)
        self.canvas = canvas
        self.levels = level_count(canvas, self.scale.recipe["method"].get("glimpse", 64))

    def _canvas(self, data: LandmarkDataset | None) -> tuple[tuple[int, int], LandmarkSet, list[str]]:
        drawn = self.values["drawn_landmarks"]
        if data is None:
            if self.options["split"]:
                raise ConfigError("split: expected only with --data, the drawn images have a test split; leave it out")
            side = (self.scale.draw or {})["size"]
            return (side, side), LANDMARKS, list(drawn)
        sizes = [image_size(sample.image) for sample in data.samples]
        canvas = (max(height for height, _ in sizes), max(width for _, width in sizes))
        return canvas, data.landmarks, list(data.landmarks.names[: len(drawn)])

    def jobs(self) -> list[Job]:
        common = {
            "data.input.size": list(self.canvas),
            "data.landmarks": self.names,
            "data.cache": True,
            "method.levels": self.levels,
        }
        found = []
        for seed in self.seeds:
            for key, changed in settings(self.levels).items():
                steps = changed.get("method.train_iterations", BASE)
                epochs = max(1, round(self.values["steps"] / steps))
                # validated once, at the end: the settings have different numbers of epochs to choose from
                length = {"method.train_iterations": steps, "train.epochs": epochs, "train.val_every": epochs}
                found.append(Job(key, self.scale.recipe, {**common, **length, **changed}, seed))
        return found

    def facts(self, runs: Runs) -> dict[str, Any]:
        data = self.request.data
        source = "Drawn radiographs" if data is None else f"Images of {data.name}"
        height, width = self.canvas
        more = {"source": source, "height": height, "width": width, "training": self.training}
        return {**super().facts(runs), **more, "landmarks": ", ".join(self.names)}

    def tables(self, runs: Runs) -> list[Table]:
        errors: dict[str, dict[int, list[float]]] = {}
        for name, outcomes in runs.items():
            row = errors.setdefault(name, {count: [] for count in STEPS})
            for outcome in outcomes:
                known = outcome.run.weights.is_file()
                points = predicted(outcome.run, self.test, STEPS) if known else [outcome.points] * len(STEPS)
                for count, at in zip(STEPS, points, strict=True):
                    row[count].append(mean_error(radial_error(at, self.test.points)) if known else float("nan"))
        self.sweep = Sweep(errors, self.levels, self.constant(self.test))
        rows: list[dict[str, Any]] = [
            {"training": label(key, self.levels), **{_steps(n): spread(values) for n, values in each.items()}}
            for key, each in errors.items()
        ]
        rows.append({"training": f"no step, the mean training position: {self.sweep.start:.2f} px"})
        return [Table("Error after a number of glimpse steps in prediction", rows, self.note("steps"))]

    def claims(self, runs: Runs) -> list[Claim]:
        return ablation_claims(self.sweep)

    def figures(self, runs: Runs) -> dict[str, Figure]:
        figure = new_figure(8.2, 4.4)
        axes = figure.subplots()
        for i, (key, errors) in enumerate(self.sweep.errors.items()):
            means = [float(np.mean(values)) for values in errors.values()]
            axes.plot(list(errors), means, marker="o", markersize=3.5, label=label(key, self.levels), **line_style(i))
        axes.set_yscale("log")
        axes.set_xticks(STEPS)
        about = "Error against the number of glimpse steps"
        dress(axes, "glimpse steps in prediction", "mean radial error (px, log scale)", about)
        legend(axes, len(self.sweep.errors), beside=True)
        return {"steps": figure}


def settings(levels: int) -> dict[str, dict[str, Any]]:
    """What each setting changes, by its name in folder names.

    >>> list(settings(3))
    ['looks1', 'looks3', 'looks10', 'flatten', 'levels1', 'levels2']
    """
    varied: dict[str, dict[str, Any]] = {f"looks{n}": {"method.train_iterations": n} for n in TRAINED}
    varied["flatten"] = {"method.features": "flatten"}
    return varied | {f"levels{n}": {"method.levels": n} for n in range(1, levels)}


def label(setting: str, levels: int) -> str:
    """Name of a setting as the table shows it.

    >>> label("looks3", 4), label("levels1", 4)
    ('3 steps per batch, spatialised features, 4 levels', '3 steps per batch, spatialised features, 1 level')
    """
    steps = int(setting.removeprefix("looks")) if setting.startswith("looks") else BASE
    used = int(setting.removeprefix("levels")) if setting.startswith("levels") else levels
    features = "flattened maps" if setting == "flatten" else "spatialised features"
    return f"{_steps(steps)} per batch, {features}, {used} level{'' if used == 1 else 's'}"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def ablation_claims(sweep: Sweep) -> list[Claim]:
    """What is said of the foveated pyramid, on the mean over the seeds; settings have to beat the mean position."""
    most, base = STEPS[-1], f"looks{BASE}"

    def claim(text: str, holds: bool | None, numbers: str, *settings: str) -> Claim:
        bad = [name for name in settings if not sweep.mean(name, most) < sweep.start]
        reason = f"{', '.join(bad)} no better than the mean training position, {sweep.start:.2f} px" if bad else ""
        return judged(text, holds, numbers, [reason])

    def shown(setting: str, steps: int = most) -> str:
        return f"{spread(sweep.errors[setting][steps])} px"

    by_steps = {n: sweep.mean(f"looks{n}", most) for n in TRAINED}
    three, ten = sweep.mean("looks10", 3), sweep.mean("looks10", most)
    ours, flat = sweep.mean(base, most), sweep.mean("flatten", most)
    fewer = [f"levels{n}" for n in range(1, sweep.levels)]
    levels = [*fewer, base]
    return [
        claim(
            "10 glimpse steps per batch are the best in training, at the same number of optimizer steps",
            all(by_steps[10] < by_steps[n] for n in TRAINED if n != 10),
            "; ".join(f"{n}: {shown(f'looks{n}')}" for n in TRAINED),
            "looks10",
        ),
        claim(
            f"3 glimpse steps are enough in prediction (error at most {CLOSE - 1:.0%} above that of {most})",
            bool(np.isfinite(ten) and three <= CLOSE * ten),
            f"trained with 10: {shown('looks10', 3)} after 3, {shown('looks10')} after {most}",
            "looks10",
        ),
        claim(
            "Spatialised features err less than flattened maps",
            ours < flat,
            f"{shown(base)} against {shown('flatten')} after {most} glimpse steps",
            base,
        ),
        claim(
            "All levels err less than any fewer",
            all(ours < sweep.mean(name, most) for name in fewer) if fewer else None,
            "; ".join(f"{n}: {shown(name)}" for n, name in enumerate(levels, 1)) + f" after {most} glimpse steps",
            base,
        ),
    ]
