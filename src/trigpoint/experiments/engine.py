"""The one engine behind all studies: trains what a study varies, or takes up what is there, measures and tabulates it.

An analysis is a subclass of ``Experiment`` with the data, tables and claims of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.errors import ConfigError, did_you_mean
from trigpoint.experiments.findings import Claim, Findings, Row, Table, spread
from trigpoint.experiments.launch import check_launcher, launched
from trigpoint.experiments.measures import MEASURES, Job, Outcome
from trigpoint.experiments.study import FigureSpec, Request, Study, TableSpec
from trigpoint.experiments.task import Task, work
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import mean_error, radial_error
from trigpoint.report import figures
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_catheter, write_instruments, write_radiographs
from trigpoint.synthetic.folder import MARK, height_width

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
        settings, once = self.scale.settings(), self.study.first_seed_only
        return [
            Job(name, self.scale.recipe, overrides, seed)
            for seed in self.seeds
            for name, overrides in settings.items()
            if seed == self.seeds[0] or not any(fnmatchcase(name, pattern) for pattern in once)
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
        """None, unless the analysis knows some."""
        return []

    def figures(self) -> dict[str, Figure]:
        """Those that the study states."""
        return {name: self.figure(spec) for name, spec in self.study.figures.items()}

    def summary(self, run: Outcome) -> Row:
        """What ``results.json`` keeps of a run."""
        return run.summary()

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
        """Train every job in ``out/runs`` (finished ones are only read) and measure it on the test images."""
        test = self.test if self.measures_points else None
        alone = self.request.launcher == "local" and (self.request.jobs or 1) == 1
        runs, bar = self.request.out / "runs", alone and self.request.progress
        tasks = [Task(job, self.folder, runs / job.folder, test, bar) for job in jobs]
        outcomes = []
        for job, done in zip(jobs, launched(self.request, work, tasks, [job.folder for job in jobs]), strict=True):
            outcome = self.outcome(job, *done)
            outcomes.append(outcome)
            found = f"test MRE {outcome.mre:.2f} px after" if self.measures_points else "trained in"
            ending = f"; {outcome.note}" if outcome.note else ""
            self.request.say(f"[{len(outcomes)}/{len(jobs)}] {job.folder}: {found} {outcome.minutes:.1f} min{ending}")
        return outcomes

    def outcome(self, job: Job, found: FloatArray | None, note: str) -> Outcome:
        """A run that ``work`` has trained, with its errors; without points it has none."""
        run, test = RunFolder(self.request.out / "runs" / job.folder), job.own(self.test)
        history = run.history_table() if run.metrics.is_file() else _no_history(test)
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
        mean: FloatArray = np.nanmean(self.training(names).points, axis=0)
        return mean

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

    def figure(self, spec: FigureSpec) -> Figure:
        """Validation error, widths, distribution of errors, or error against minutes, a line for each setting."""
        patterns = (spec.runs,) if isinstance(spec.runs, str) else spec.runs
        shown = {self.label(name): self.runs[name] for name in matching(self.runs, *patterns)}
        if spec.kind == "validation":
            lines = {name: curves(each) for name, each in shown.items() if any(len(run.history) for run in each)}
            return figures.comparison(lines, title=spec.title)
        if spec.kind == "sigma":
            wide = {f"{name}, seed {run.job.seed}": run.sigma() for name, each in shown.items() for run in each}
            longest = max((len(values) for values in wide.values()), default=0)
            means = {name: padded(values.mean(axis=1), longest).tolist() for name, values in wide.items()}
            return figures.sigma_curves(list(range(longest)), means)
        if spec.kind == "ced":
            errors = {name: np.concatenate([run.errors for run in each]) for name, each in shown.items()}
            top = float(np.nanquantile(np.concatenate([values.ravel() for values in errors.values()]), 0.97))
            return figures.ced_plot(errors, threshold=float(f"{top:.2g}"))
        return figures.time_to_accuracy({name: timed(each[0]) for name, each in shown.items()})


def matching(names: Mapping[str, Any], *patterns: str) -> list[str]:
    """Names that match one of the patterns, in their order."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def curves(runs: Sequence[Outcome]) -> tuple[list[int], FloatArray]:
    """Epochs and validation errors (seeds, E), NaN after a run broke off."""
    longest = max((run.epochs for run in runs), key=len)
    rows = [padded(run.history["val_mre_px"].to_numpy(dtype=np.float64), len(longest)) for run in runs]
    return longest, np.stack(rows)


def timed(run: Outcome) -> tuple[list[float], list[float]]:
    """Minutes and validation errors of the epochs that were validated."""
    known = run.history.dropna(subset="val_mre_px")
    return known["minutes"].to_list(), known["val_mre_px"].to_list()


def padded(values: FloatArray, length: int) -> FloatArray:
    """``values`` with NaN up to ``length``."""
    return np.concatenate([values, np.full(length - len(values), np.nan)])


def _no_history(test: LandmarkDataset) -> pd.DataFrame:
    columns = ["epoch", "minutes", "train_loss", "val_mre_px", *(f"sigma_{name}" for name in test.landmarks.names)]
    return pd.DataFrame(columns=columns, dtype=float)
