"""What the parts of the foveated pyramid are worth: glimpse steps in training and in prediction, features, levels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import ConfigError
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Claim, Row, Table, judged, spread
from trigpoint.experiments.isbi2015 import STEPS
from trigpoint.experiments.measures import Job, finite_mean
from trigpoint.experiments.task import predicted
from trigpoint.metrics import mean_error, radial_error
from trigpoint.nn.pyramid import level_count
from trigpoint.report.figures import comparison
from trigpoint.synthetic.folder import height_width
from trigpoint.synthetic.radiograph import LANDMARKS

TRAINED = (1, 3, 10)
"""Glimpse steps per batch that are compared."""
BASE = 3
"""Steps per batch of the settings that vary something else."""
CLOSE = 1.02  # times the error after the most steps


class Ablation(Experiment):
    """On drawn radiographs with exact truth, or on a dataset of the user's."""

    names: Sequence[str]

    def prepare(self) -> None:
        """The canvas (H, W) that holds every image, the landmarks that are looked for, and the levels there are."""
        given, data, few = self.options["landmarks"], self.request.data, self.values["drawn_landmarks"]
        if data is None and self.options["split"]:
            raise ConfigError("split: expected only with --data, the drawn images have a test split; leave it out")
        if data is None:
            marks, default, sizes = LANDMARKS, few, [height_width((self.scale.draw or {})["size"])]
        else:
            whole = LandmarkDataset.load(data)
            marks, sizes = whole.landmarks, [image_size(sample.image) for sample in whole.samples]
            default = list(marks.names[: len(few)])
        self.canvas = (max(height for height, _ in sizes), max(width for _, width in sizes))
        self.names = default if given is None else [name.strip() for name in given.split(",")]
        for name in self.names:
            marks.index(name)
        self.split = self.options["split"] or "test"
        self.marks = {"split": self.split, "landmarks": self.names}
        super().prepare()
        self.levels = level_count(self.canvas, self.scale.recipe["method"].get("glimpse", 64))

    def jobs(self) -> list[Job]:
        common = {"data.input.size": list(self.canvas), "data.landmarks": self.names, "data.cache": True}
        found = []
        for job in super().jobs():
            levels, steps = (job.overrides.get(f"method.{key}", 0) for key in ("levels", "train_iterations"))
            epochs = max(1, round(self.values["steps"] / (steps or BASE)))
            # validated once, at the end: the settings have different numbers of epochs to choose from
            length = {"method.train_iterations": steps or BASE, "train.epochs": epochs, "train.val_every": epochs}
            if levels < self.levels:
                every = {**common, "method.levels": self.levels, **length}
                found.append(replace(job, overrides={**every, **job.overrides}))
        return found

    def label(self, setting: str) -> str:
        """A setting in words; those with fewer levels have the words of the others at ``BASE`` steps."""
        used = int(setting.removeprefix("levels")) if setting.startswith("levels") else self.levels
        text = self.labels.get(setting, self.labels[f"looks{BASE}"])
        return self.filled(text, {"levels": f"{used} level{'' if used == 1 else 's'}"})

    def facts(self) -> dict[str, Any]:
        data, (height, width) = self.request.data, self.canvas
        source = "Drawn radiographs" if data is None else f"Images of {data.name}"
        training = len(self.training(self.names))
        more = {"source": source, "height": height, "width": width, "training": training}
        return {**super().facts(), **more, "landmarks": ", ".join(self.names)}

    @cached_property
    def errors(self) -> Mapping[str, Mapping[int, Sequence[float]]]:
        """Test MRE in px of each seed by setting and number of steps in prediction."""
        errors: dict[str, dict[int, list[float]]] = {}
        for name, outcomes in self.runs.items():
            row = errors.setdefault(name, {count: [] for count in STEPS})
            for outcome in outcomes:
                known = outcome.run.weights.is_file()
                points = predicted(outcome.run, self.test, STEPS) if known else [outcome.points] * len(STEPS)
                for count, at in zip(STEPS, points, strict=True):
                    row[count].append(mean_error(radial_error(at, self.test.points)) if known else float("nan"))
        return errors

    @cached_property
    def start(self) -> float:
        """The error of the mean training position."""
        return self.constant(self.test)

    def tables(self) -> list[Table]:
        rows: list[Row] = [
            {"training": self.label(key), **{_steps(n): spread(values) for n, values in each.items()}}
            for key, each in self.errors.items()
        ]
        rows.append({"training": f"no step, the mean training position: {self.start:.2f} px"})
        return [Table("Error after a number of glimpse steps in prediction", rows, self.note("steps"))]

    def figures(self) -> dict[str, Figure]:
        lines = {self.label(key): (STEPS, np.transpose(list(each.values()))) for key, each in self.errors.items()}
        title = "Error against the number of glimpse steps"
        return {"steps": comparison(lines, title=title, against="glimpse steps in prediction")}

    def mean(self, setting: str, steps: int = STEPS[-1]) -> float:
        """Mean over the seeds; infinite when one has none."""
        return finite_mean(self.errors[setting][steps])

    def shown(self, setting: str, steps: int = STEPS[-1]) -> str:
        """The error over the seeds, as text."""
        return f"{spread(self.errors[setting][steps])} px"

    def claims(self) -> list[Claim]:
        """What is said of the foveated pyramid, on the mean over the seeds; settings have to beat the mean position."""
        most, base, fewer = STEPS[-1], f"looks{BASE}", [f"levels{n}" for n in range(1, self.levels)]
        by_steps, ours = {n: self.mean(f"looks{n}") for n in TRAINED}, self.mean(base)
        ten, spatial = self.shown("looks10"), f"{self.shown(base)} against {self.shown('flatten')}"
        levels = "; ".join(f"{n}: {self.shown(name)}" for n, name in enumerate([*fewer, base], 1))
        all_levels = all(ours < self.mean(name) for name in fewer) if fewer else None
        enough = bool(np.isfinite(by_steps[10]) and self.mean("looks10", 3) <= CLOSE * by_steps[10])
        found = {
            "10 glimpse steps per batch are the best in training, at the same number of optimizer steps": (
                all(by_steps[10] < by_steps[n] for n in TRAINED if n != 10),
                "; ".join(f"{n}: {self.shown(f'looks{n}')}" for n in TRAINED),
                "looks10",
            ),
            f"3 glimpse steps are enough in prediction (error at most {CLOSE - 1:.0%} above that of {most})": (
                enough,
                f"trained with 10: {self.shown('looks10', 3)} after 3, {ten} after {most}",
                "looks10",
            ),
            "Spatialised features err less than flattened maps": (
                ours < self.mean("flatten"),
                f"{spatial} after {most} glimpse steps",
                base,
            ),
            "All levels err less than any fewer": (all_levels, f"{levels} after {most} glimpse steps", base),
        }
        return [judged(text, holds, numbers, [self.obstacle(name)]) for text, (holds, numbers, name) in found.items()]

    def obstacle(self, name: str) -> str:
        """That a setting is no better than a constant answer, or an empty text."""
        better = self.mean(name) < self.start
        return "" if better else f"{name} no better than the mean training position, {self.start:.2f} px"


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
