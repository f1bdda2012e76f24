"""What the parts of the foveated pyramid are worth: glimpse steps in training and in prediction, features, levels."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import ConfigError, counted
from trigpoint.experiments.engine import Experiment
from trigpoint.experiments.findings import Table, spread
from trigpoint.experiments.isbi2015 import STEPS
from trigpoint.experiments.measures import Errors, Job
from trigpoint.experiments.task import predicted
from trigpoint.metrics import radial_error
from trigpoint.nn.pyramid import level_count
from trigpoint.report.figures import comparison
from trigpoint.synthetic.anatomy import LANDMARKS
from trigpoint.synthetic.folder import height_width

BASE = 3
"""Steps per batch of the settings that vary something else."""


class Ablation(Experiment):
    """On drawn radiographs with exact truth, or on a dataset of the user's; ``start`` is the mean position's error."""

    names: list[str]

    def prepare(self) -> None:
        """The canvas (H, W) that holds every image, the landmarks that are looked for, and the levels there are."""
        given, split, few = (self.options["landmarks"], self.options["split"], self.values["drawn_landmarks"])
        if self.request.data is None:
            if split:
                raise ConfigError("split: expected only with --data, the drawn images have a test split; leave it out")
            marks, sizes = LANDMARKS, [height_width((self.scale.draw or {})["size"])]
        else:
            whole = LandmarkDataset.load(self.request.data)
            marks, sizes = whole.landmarks, [image_size(sample.image) for sample in whole.samples]
            few = list(marks.names[: len(few)])
        self.canvas = (max(height for height, _ in sizes), max(width for _, width in sizes))
        self.names = few if given is None else [name.strip() for name in given.split(",")]
        for name in self.names:
            marks.index(name)
        self.split = split or "test"
        self.marks = {"split": self.split, "landmarks": self.names}
        super().prepare()
        self.levels = level_count(self.canvas, self.scale.recipe["method"].get("glimpse", 64))
        self.start = self.constant(self.test)

    def jobs(self) -> list[Job]:
        common = {"data.input.size": list(self.canvas), "data.landmarks": self.names, "data.cache": True}
        found = []
        for job in super().jobs():
            steps = job.overrides.get("method.train_iterations", BASE)
            epochs = max(1, round(self.values["steps"] / steps))
            # validated once, at the end: the settings have different numbers of epochs to choose from
            length = {"method.train_iterations": steps, "train.epochs": epochs, "train.val_every": epochs}
            if job.overrides.get("method.levels", 0) < self.levels:
                every = {**common, "method.levels": self.levels, **length}
                found.append(replace(job, overrides={**every, **job.overrides}))
        return found

    def label(self, setting: str) -> str:
        """A setting in words; those with fewer levels have the words of the others at ``BASE`` steps."""
        used = int(setting.removeprefix("levels")) if setting.startswith("levels") else self.levels
        text = self.labels.get(setting, self.labels[f"looks{BASE}"])
        return self.filled(text, {"levels": f"{counted(used, 'level')}"})

    def facts(self) -> dict[str, Any]:
        data, (height, width) = self.request.data, self.canvas
        source = "Drawn radiographs" if data is None else f"Images of {data.name}"
        training = len(self.training(self.names))
        more = {"source": source, "height": height, "width": width, "training": training}
        return {**super().facts(), **more, "landmarks": ", ".join(self.names)}

    @cached_property
    def errors(self) -> Mapping[str, Errors]:
        """By setting and number of steps in prediction, such as ``looks3 after 10``."""
        errors: dict[str, Errors] = {}
        for name, runs in self.runs.items():
            points = [
                predicted(run.run, self.test, STEPS) if run.run.weights.is_file() else [run.points] * len(STEPS)
                for run in runs
            ]
            for i, count in enumerate(STEPS):
                errors[f"{name} after {count}"] = [radial_error(each[i], self.test.points) for each in points]
        return errors

    def constant_of(self, setting: str) -> float:
        return self.start

    def tables(self) -> list[Table]:
        rows = [
            {"training": self.label(name)}
            | {f"{counted(n, 'step')}": spread(self.means(f"{name} after {n}")) for n in STEPS}
            for name in self.runs
        ]
        rows.append({"training": f"no step, the mean training position: {self.start:.2f} px"})
        return [Table("Error after a number of glimpse steps in prediction", rows, self.note("steps"))]

    def figures(self) -> dict[str, Figure]:
        lines = {
            self.label(name): (STEPS, np.transpose([self.means(f"{name} after {n}") for n in STEPS]))
            for name in self.runs
        }
        title = "Error against the number of glimpse steps"
        return {"steps": comparison(lines, title=title, against="glimpse steps in prediction")}
