"""The one engine behind all studies: trains what a study varies, or takes up what is there, measures and tabulates it.

An analysis is a subclass of ``Experiment`` with the data, tables and claims of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.experiments.findings import Claim, Findings, Row, Table, between, finite_mean, judged, spread
from trigpoint.experiments.measures import MEASURES, Errors, Job, Outcome, figure_of
from trigpoint.experiments.study import ClaimSpec, Request, Study, TableSpec, TimeUp
from trigpoint.experiments.task import Task, Until, check_launcher, launched
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error, radial_error
from trigpoint.metrics.paired import difference
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter, write_instruments, write_radiographs
from trigpoint.synthetic.folder import MARK, height_width

LISTED = 6  # runs that a message names
DRAWINGS: Mapping[str, Callable[..., Path]] = {
    "catheter": write_catheter,
    "radiograph": write_radiographs,
    "instrument": write_instruments,
}


class Experiment:
    """A study as it is asked for; ``prepare`` sets ``folder``, the dataset that is trained on, and ``test``.

    ``values`` and ``labels`` are those of the study and its scale, ``options`` what the user chose, ``marks`` facts
    that the runs depend on, ``runs`` the outcomes by setting, ``warnings`` what a reader of the numbers has to know.
    Raises ConfigError for a scale or options that the study has not.
    """

    folder: Path
    test: LandmarkDataset
    split = "test"
    unit = "px"  # of errors
    names: Sequence[str] | None = None  # landmarks that are looked for; None: all
    measures_points = True

    def __init__(self, study: Study, request: Request) -> None:
        self.study, self.request = study, request
        self.options = request.chosen(study.choices)
        drawn = "drawn" in study.scales and request.data is None and request.scale == "small"
        name = "drawn" if drawn else request.scale
        if name not in study.scales:
            raise ConfigError(f"{study.name}: no scale '{name}'; {did_you_mean(name, study.scales)}")
        self.scale = study.scales[name]
        self.seeds = request.seeds or self.scale.seeds
        self.values: dict[str, Any] = {**study.values, **self.scale.values}
        self.labels = {**study.labels, **self.scale.labels}
        self.marks: dict[str, Any] = {}
        self.runs: dict[str, list[Outcome]] = {}
        self.warnings: list[str] = []
        self._constants: dict[tuple[str, ...], float] = {}

    def run(self) -> Findings:
        """Train, measure, and write tables, figures and claims into ``request.out``."""
        check_launcher(self.request)
        self.prepare()
        outcomes = self.measured(self.jobs())
        for outcome in outcomes:
            self.runs.setdefault(outcome.job.name, []).append(outcome)
        facts = self.facts()
        title, setting = (self.filled(text, facts) for text in (self.study.title, self.study.setting))
        summaries = [self.summary(outcome) for outcome in outcomes]
        found = Findings(title, setting, self.tables(), self.claims(), self.warnings, summaries, self.figures())
        found.write(self.request.out)
        return found

    # -- what an analysis replaces ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Take the user's dataset, or draw one; a dataset that will not do is refused before anything is written."""
        if self.request.data is None and self.scale.draw is not None:
            self.request.open_folder(**self.marks)
            self.folder = self.draw()
        else:
            self.folder = self.user_data()
        self.test = LandmarkDataset.load(self.folder, self.split, self.names)
        self.check()
        self.request.open_folder(**self.marks)

    def check(self) -> None:
        """Refuse a dataset that the analysis cannot use."""

    def jobs(self) -> list[Job]:
        """Every setting with every seed, but those of ``first_seed_only`` with the first."""
        settings, once = self.scale.settings(), (*self.study.first_seed_only, *self.scale.first_seed_only)
        return [
            Job(name, self.scale.recipe, overrides, seed)
            for seed in self.seeds
            for name, overrides in settings.items()
            if seed == self.seeds[0] or not matching([name], once)
        ]

    def facts(self) -> dict[str, Any]:
        """What ``title``, ``setting`` and notes may name."""
        drawn = self.scale.draw or {}
        counts = drawn.get("images")
        return {
            **drawn,
            **(counts if isinstance(counts, dict) else {}),
            **self.values,
            **self.options,
            "name": self.study.name,
            "scale": self.request.scale,
            "about": self.scale.about,
            "seeds": ", ".join(map(str, self.seeds)),
            "first_seed": self.seeds[0],
            "dataset": self.test.name,
            "count": len(self.test),
        }

    def tables(self) -> list[Table]:
        """Those that the study states."""
        return [self.table(spec, self.runs) for spec in self.study.tables]

    def claims(self) -> list[Claim]:
        """Those that the study states."""
        return [self.claim(spec) for spec in self.study.claims]

    def figures(self) -> dict[str, Figure]:
        """Those that the study states, a line for each setting."""
        drawn = {}
        for name, spec in self.study.figures.items():
            shown = {self.label(setting): self.runs[setting] for setting in matching(self.runs, spec.runs)}
            drawn[name] = figure_of(spec.kind, spec.title, shown)
        return drawn

    def summary(self, run: Outcome) -> Row:
        """What ``results.json`` keeps of a run."""
        return run.summary()

    @cached_property
    def errors(self) -> Mapping[str, Errors]:
        """What claims compare, by setting."""
        return {name: [run.errors for run in runs] for name, runs in self.runs.items()}

    def constant_of(self, setting: str) -> float:
        """The error of always answering with the mean training position where a setting predicts."""
        return self.runs[setting][0].constant

    # -- what analyses use ------------------------------------------------------------------------------------------

    def user_data(self) -> Path:
        """The user's dataset; raises ConfigError that says which one the study needs."""
        if self.request.data is None:
            needs = self.study.needs or f"a dataset at scale {self.request.scale}, got none; give --data FOLDER"
            raise ConfigError(f"{self.study.name}: expected {needs}")
        return self.request.data

    def draw(self, name: str = "data") -> Path:
        """The folder ``out/name`` with the drawn set of this scale, which is drawn unless it is there complete."""
        options, folder = dict(self.scale.draw or {}), self.request.out / name
        kind, images, size = (options.pop(key, None) for key in ("kind", "images", "size"))
        if kind not in DRAWINGS or images is None or size is None:
            wanted = f"kind ({', '.join(DRAWINGS)}), images and size"
            raise ConfigError(f"{self.study.name}: draw: expected {wanted}, got {self.scale.draw}")
        count, size = images, height_width(size if isinstance(size, int) else tuple(size))
        if isinstance(images, dict):
            count = sum(images.values())
            options["splits"] = {split: number / count for split, number in images.items()}
        same = {"count": count, "size": list(size), **{key: options[key] for key in ("splits",) if key in options}}
        mark = read_yaml(folder / MARK) if (folder / MARK).is_file() else {}
        if "sha256" in mark and all(mark[key] == value for key, value in same.items()):  # its digests are written last
            return folder
        self.request.say(f"drawing {count} images ({kind}) of {size[0]} x {size[1]} pixels")
        return DRAWINGS[kind](folder, count, size=size, seed=0, **options)

    def measured(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Train every job in ``out/runs`` (finished ones are only read) and measure it on the test images.

        Raises TimeUp, naming what is left, where the minutes of the request were not enough.
        """
        test = self.test if self.measures_points else None
        alone = self.request.launcher == "local" and (self.request.jobs or 1) == 1
        runs, bar = self.request.out / "runs", alone and self.request.progress
        tasks = [Task(job, self.folder, runs / job.folder, test, bar) for job in jobs]
        outcomes, left = list[Outcome](), list[str]()
        names, begin = [job.folder for job in jobs], Until(self.request.until)
        for job, done in zip(jobs, launched(self.request, begin, tasks, names), strict=True):
            if done is None:
                left.append(job.folder)
                continue
            outcome = self.outcome(job, *done)
            outcomes.append(outcome)
            found = f"test MRE {outcome.mre:.2f} px after" if self.measures_points else "trained in"
            ending = f"; {outcome.note}" if outcome.note else ""
            self.request.say(f"[{len(outcomes)}/{len(jobs)}] {job.folder}: {found} {outcome.minutes:.1f} min{ending}")
        if left:
            more = f" and {len(left) - LISTED} more" if len(left) > LISTED else ""
            raise TimeUp(
                f"{self.study.name}: {len(outcomes)} of {len(jobs)} runs are done, and the {self.request.minutes:g} "
                f"minutes are over; left are {', '.join(left[:LISTED])}{more}"
            )
        return outcomes

    def outcome(self, job: Job, found: FloatArray | None, note: str) -> Outcome:
        """A run that ``work`` has trained, with its errors; without points it has none."""
        run, test = RunFolder(self.request.out / "runs" / job.folder), job.own(self.test)
        columns = ["epoch", "minutes", "train_loss", "val_mre_px", *(f"sigma_{name}" for name in test.landmarks.names)]
        none = pd.DataFrame(columns=columns, dtype=float)
        history = run.history_table() if run.metrics.is_file() else none
        points = np.full(test.points.shape, np.nan) if found is None else found
        errors = points[..., 0] if found is None else radial_error(points, test.points)
        return Outcome(job, run, points, errors, history, note, self.constant(test), test)

    def constant(self, test: LandmarkDataset) -> float:
        """Mean error of always answering with the mean training position, px, for the landmarks of ``test``."""
        names = test.landmarks.names
        if names not in self._constants:
            middle = np.broadcast_to(self.mean_position(names), test.points.shape)
            self._constants[names] = mean_error(radial_error(middle, test.points))
        return self._constants[names]

    def mean_position(self, names: Sequence[str]) -> FloatArray:
        """Mean (K, 2) of the points of the training images."""
        return np.asarray(np.nanmean(self.training(names).points, axis=0))

    def training(self, names: Sequence[str] | None = None) -> LandmarkDataset:
        """The training images, not opened."""
        return LandmarkDataset.load(self.folder, "train", names, check_images=False)

    def label(self, setting: str) -> str:
        """A setting in words: its own label, or that of its last factor."""
        ending = [key for key in self.labels if setting.endswith(f"-{key}")]
        return self.labels.get(setting, self.labels[max(ending, key=len)] if ending else setting)

    def note(self, key: str, **facts: Any) -> str:
        """A note of the study, with its facts."""
        return self.filled(self.study.notes[key], facts)

    def filled(self, text: str, facts: Mapping[str, Any]) -> str:
        """``text`` with its {names} of facts; raises ConfigError for an unknown one."""
        try:
            return text.format_map(facts)
        except KeyError as error:
            name = str(error.args[0])
            raise ConfigError(f"{self.study.name}: unknown fact '{{{name}}}'; {did_you_mean(name, facts)}") from None

    def table(self, spec: TableSpec, runs: Mapping[str, Sequence[Outcome]]) -> Table:
        """A row for each setting, mean ± sd over its seeds."""
        rows, facts = list[Row](), self.facts()
        for name in matching(runs, spec.runs):
            row = {spec.first: self.label(name)}
            for heading, column in spec.columns.items():
                limit = float(self.filled(f"{{{column.at}}}", facts)) if isinstance(column.at, str) else column.at
                numbers = [MEASURES[column.measure](run, limit) for run in runs[name]]
                row[self.filled(heading, facts)] = spread(numbers, column.digits)
            rows.append(row)
        return Table(spec.title, rows, self.filled(spec.note, facts))

    @cached_property
    def subjects(self) -> Sequence[str]:
        """Subjects (N,) of the test images."""
        return self.test.groups

    def means(self, setting: str) -> list[float]:
        """Mean error of each seed; NaN without predictions."""
        return [mean_error(errors, missing="ignore") for errors in self.errors[setting]]

    def mean(self, setting: str) -> float:
        """Mean error over the seeds; infinite when one has none."""
        return finite_mean(self.means(setting))

    def validation(self, setting: str) -> float:
        """Mean validation error over the seeds, of the weights that were kept; infinite when one has none."""
        return finite_mean([run.val_mre for run in self.runs[setting]])

    def obstacle(self, name: str, error: float, constant: float) -> str:
        """That what is no better than a constant answer cannot be compared, or an empty text."""
        found = f"{name} has {error:.2f} {self.unit}, the mean training position {constant:.2f} {self.unit}"
        return "" if error < constant else found

    def obstacles(self, *settings: str) -> list[str]:
        """``obstacle`` of every setting."""
        return [self.obstacle(name, self.mean(name), self.constant_of(name)) for name in settings]

    def claim(self, spec: ClaimSpec) -> Claim:
        """Ours against the best of the others; the difference is paired by image and landmark."""
        ours, others = (matching(self.errors, wanted) for wanted in (spec.ours, spec.than))
        if not (ours and others):
            return Claim(spec.text, None, f"not run: {' or '.join(spec.than if ours else spec.ours)}")
        pair = ours[0] if len(ours) == 1 else min(ours, key=self.validation), min(others, key=self.mean)
        mine, theirs = (self.errors[name] for name in pair)
        if mine[0].shape != theirs[0].shape:
            return Claim(spec.text, None, f"{pair[0]} and {pair[1]} do not find the same landmarks")
        gap, bounds = difference(mine, theirs, self.subjects)
        other, unit = self.mean(pair[1]), self.unit
        most = (spec.factor - 1) * other + spec.more
        holds = bounds[1] < most if spec.sure else gap <= most if most else gap < 0
        means = " against ".join(f"{spread(self.means(name))} {unit} ({name})" for name in pair)
        share = f", {100 * gap / other:+.1f} %" if other else ""
        numbers = f"{means}, difference {gap:+.2f} {unit}{share} (95 % {between(bounds)} {unit})"
        return judged(spec.text, bool(holds), numbers, self.obstacles(*pair))


def matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Names that match one of the patterns, in their order."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
