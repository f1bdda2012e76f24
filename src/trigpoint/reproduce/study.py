"""What every reproduction shares: the request, its folder, and training runs that are reused once finished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.errors import ConfigError, RunError
from trigpoint.inference import Predictor
from trigpoint.landmarks import FloatArray
from trigpoint.methods.base import NotFinite
from trigpoint.metrics import mean_error, median_error, radial_error
from trigpoint.runs import RunFolder
from trigpoint.training import train

ScaleName = Literal["small", "paper"]
Say = Callable[[str], None]
MARK = "experiment.yaml"


def silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Request:
    """What to reproduce and where to.

    ``out``: folder for data, runs, figures and tables; the same request there goes on where it stopped. ``seeds``: of
    the runs (None: as many as the experiment takes at this scale). ``data``: the user's dataset, for experiments that
    need one. ``say`` gets a line per finished run; ``progress`` shows a bar within each. ``jobs``: runs at the same
    time, each in a process of one thread when more than 1, which small networks use better than one run all cores.
    Raises ConfigError for an unknown scale or bad seeds.
    """

    name: str
    out: Path
    scale: ScaleName = "small"
    seeds: tuple[int, ...] | None = None
    data: Path | None = None
    say: Say = silent
    progress: bool = False
    jobs: int = 1

    def __post_init__(self) -> None:
        if self.scale not in get_args(ScaleName):
            raise ConfigError(f"scale: expected {' or '.join(get_args(ScaleName))}, got '{self.scale}'")
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) != len(self.seeds)):
            raise ConfigError(f"seeds: expected different numbers such as 0,1,2, got {list(self.seeds)}")
        if self.jobs < 1:
            raise ConfigError(f"jobs: expected 1 or more, got {self.jobs}")
        if self.seeds is not None and min(self.seeds) < 0:
            raise ConfigError(f"seeds: expected numbers of 0 or more, got {min(self.seeds)}")

    def open_folder(self) -> None:
        """Mark ``out`` as this experiment's. Raises RunError when it holds other files or another experiment."""
        mark = self.out / MARK
        facts = {
            "experiment": self.name,
            "scale": self.scale,
            "data": None if self.data is None else str(self.data.resolve()),
        }
        if self.out.exists() and not self.out.is_dir():
            raise RunError(f"{self.out}: expected a folder to write to, got a file; give another --out")
        if mark.is_file():
            for key, value in read_yaml(mark).items():
                if facts.get(key) != value:
                    raise RunError(
                        f"{self.out}: holds a reproduction with {key} {value}, not {facts.get(key)}; give another --out"
                    )
            return
        if self.out.exists() and any(self.out.iterdir()):
            raise RunError(
                f"{self.out}: expected a new folder or a reproduction to go on with, got other files; "
                "give another --out"
            )
        write_text(mark, to_yaml(facts))


@dataclass(frozen=True)
class Job:
    """One training run: a recipe of the package with overrides {dotted key: value}, and its seed."""

    name: str
    recipe: str
    overrides: Mapping[str, Any]
    seed: int

    @property
    def folder(self) -> str:
        """Name of the run folder."""
        return f"{self.name}-seed{self.seed}"

    def dotted(self, data: Path) -> list[str]:
        """The overrides as ``train`` takes them; JSON is YAML."""
        values = {**self.overrides, "data.path": str(data.resolve()), "seed": self.seed}
        return [f"{key}={json.dumps(value)}" for key, value in values.items()]


@dataclass(frozen=True)
class Outcome:
    """A finished run and its errors on the test images.

    ``points`` (N, K, 2) predicted and ``errors`` (N, K) in original pixels, NaN = not annotated (all NaN when the run
    broke off before its first validation); ``history`` is its ``metrics.csv``; ``note`` says what went wrong.
    """

    job: Job
    run: RunFolder
    points: FloatArray
    errors: FloatArray
    history: pd.DataFrame
    note: str = ""

    @cached_property
    def mre(self) -> float:
        """Mean error on the test images, px; NaN without weights."""
        return mean_error(self.errors)

    @property
    def val_mre(self) -> float:
        """Mean error on the validation images in the epoch that was kept, px."""
        return float(self.history["val_mre_px"].min())

    @property
    def last_val_mre(self) -> float:
        """Mean error on the validation images after the last epoch, px."""
        known = self.history["val_mre_px"].dropna()
        return float(known.iloc[-1]) if len(known) else float("nan")

    @property
    def epochs(self) -> list[int]:
        """Numbers of the epochs, from 0."""
        return [int(epoch) for epoch in self.history["epoch"]]

    def sigma(self, names: Sequence[str] | None = None) -> FloatArray:
        """Widths (E, K) that each epoch trained with, heatmap px; of all landmarks or of ``names``."""
        columns = [c for c in self.history if str(c).startswith("sigma_")] if names is None else _columns(names)
        return np.asarray(self.history[columns], dtype=np.float64)

    @property
    def minutes(self) -> float:
        """Minutes of training, validation not counted."""
        return float(self.history["minutes"].max())

    def summary(self) -> dict[str, Any]:
        """What ``results.json`` keeps of it."""
        widths = self.sigma()
        return {
            "run": self.run.folder.name,
            "setting": self.job.name,
            "seed": self.job.seed,
            "test_mre_px": self.mre,
            "test_median_px": median_error(self.errors),
            "val_mre_px": self.val_mre,
            "last_val_mre_px": self.last_val_mre,
            "epochs": len(self.history),
            "minutes": self.minutes,
            "sigma_last": float(widths[-1].mean()) if widths.size else float("nan"),
            "sigma_least": float(widths.min()) if widths.size else float("nan"),
            "note": self.note,
        }


def run_jobs(request: Request, jobs: Sequence[Job], data: Path, test: LandmarkDataset) -> list[Outcome]:
    """Train every job in ``out/runs`` (finished ones are only read) and measure it on ``test``."""
    outcomes = []
    for number, outcome in enumerate(_outcomes(request, jobs, data, test), start=1):
        outcomes.append(outcome)
        ending = f"; {outcome.note}" if outcome.note else ""
        found = f"test MRE {outcome.mre:.2f} px after {outcome.minutes:.1f} min"
        request.say(f"[{number}/{len(jobs)}] {outcome.job.folder}: {found}{ending}")
    return outcomes


def _outcomes(request: Request, jobs: Sequence[Job], data: Path, test: LandmarkDataset) -> Iterator[Outcome]:
    """Outcomes in the order of the jobs, from this process or from several."""
    if request.jobs == 1:
        yield from (run_job(request, job, data, test) for job in jobs)
        return
    alone = replace(request, say=silent, progress=False)
    with ProcessPoolExecutor(
        request.jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(run_job, repeat(alone), jobs, repeat(data), repeat(test))


def run_job(request: Request, job: Job, data: Path, test: LandmarkDataset) -> Outcome:
    """One run. A loss that is not finite is a result, noted in the outcome, and no error."""
    folder, note = request.out / "runs" / job.folder, ""
    try:
        run = train(job.recipe, job.dotted(data), out=folder, progress=request.progress)
    except RunError as error:
        if not isinstance(error.__context__, NotFinite):
            raise
        run, note = RunFolder(folder), "the training loss became infinite or NaN"
    history = run.history_table() if run.metrics.is_file() else _no_history(test)
    if run.weights.is_file():
        points = Predictor.load(run).predict(test).points
        errors = radial_error(points, test.points)
    else:
        points = np.full((len(test), len(test.landmarks), 2), np.nan)
        errors = np.full(points.shape[:2], np.nan)
    return Outcome(job, run, points, errors, history, note)


def with_seeds(jobs: Sequence[Job], seeds: Sequence[int]) -> list[Job]:
    """Every job once per seed, one seed after the other."""
    return [replace(job, seed=seed) for seed in seeds for job in jobs]


def _columns(names: Sequence[str]) -> list[str]:
    return [f"sigma_{name}" for name in names]


def _no_history(test: LandmarkDataset) -> pd.DataFrame:
    columns = ["epoch", "minutes", "train_loss", "val_mre_px", *_columns(test.landmarks.names)]
    return pd.DataFrame(columns=columns, dtype=float)
