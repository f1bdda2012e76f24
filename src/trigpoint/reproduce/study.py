"""What every reproduction shares: the request, its folder, and training runs that are reused once finished."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
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
from trigpoint.data.files import write_bytes, write_text
from trigpoint.errors import ConfigError, RunError, did_you_mean
from trigpoint.landmarks import FloatArray
from trigpoint.methods.base import NotFinite
from trigpoint.metrics import mean_error, median_error, radial_error
from trigpoint.prediction import Predictor
from trigpoint.runs import RunFolder
from trigpoint.training import train

ScaleName = Literal["small", "paper"]
Say = Callable[[str], None]
MARK = "experiment.yaml"
BATCH = (16, 10_000_000)
"""Images, and input pixels, at most, that are predicted at a time."""


def silent(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Request:
    """What to reproduce and where to.

    ``out``: folder for data, runs, figures and tables; the same request there goes on where it stopped. ``seeds``: of
    the runs (None: as many as the experiment takes at this scale). ``data``: the user's dataset, for experiments that
    need one. ``say`` gets a line per finished run; ``progress`` shows a bar within each. ``jobs``: runs at the same
    time, each in a process of one thread when more than 1, which small networks use better than one run all cores.
    ``options``: what else the experiment can be told, as text; ``one_of`` and ``some_of`` read them.
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
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.scale not in get_args(ScaleName):
            raise ConfigError(f"scale: expected {' or '.join(get_args(ScaleName))}, got '{self.scale}'")
        if self.seeds is not None and (not self.seeds or len(set(self.seeds)) != len(self.seeds)):
            raise ConfigError(f"seeds: expected different numbers such as 0,1,2, got {list(self.seeds)}")
        if self.jobs < 1:
            raise ConfigError(f"jobs: expected 1 or more, got {self.jobs}")
        if self.seeds is not None and min(self.seeds) < 0:
            raise ConfigError(f"seeds: expected numbers of 0 or more, got {min(self.seeds)}")

    def refuse_options_but(self, known: Iterable[str]) -> None:
        """Raise ConfigError for an option that is not among ``known``, with the nearest one."""
        names = list(known)
        for key in self.options:
            if not names:
                raise ConfigError(f"{self.name}: expected no options, got {key}={self.options[key]}; leave it out")
            if key not in names:
                raise ConfigError(f"{self.name}: unknown option '{key}'; {did_you_mean(key, names)}")

    def one_of(self, key: str, values: Sequence[str], default: str) -> str:
        """An option that takes one of ``values``. Raises ConfigError with the nearest one.

        >>> Request("x", Path("out"), options={"labels": "junior"}).one_of("labels", ("mean", "junior"), "mean")
        'junior'
        """
        value = self.options.get(key, default)
        if value not in values:
            raise ConfigError(f"{key}: unknown value '{value}'; {did_you_mean(value, values)}")
        return value

    def some_of(self, key: str, values: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
        """An option that takes several of ``values``, joined by commas; in the order of ``values``, each once.

        Raises ConfigError with the nearest one.
        """
        given = [part.strip() for part in self.options[key].split(",")] if key in self.options else list(default)
        for value in given:
            if value not in values:
                raise ConfigError(f"{key}: unknown value '{value}'; {did_you_mean(value, values)}")
        return tuple(value for value in values if value in given)

    def open_folder(self, **more: Any) -> None:
        """Mark ``out`` as this experiment's, and ``more`` facts that its runs depend on.

        Raises RunError when it holds other files or another experiment.
        """
        mark = self.out / MARK
        facts = {
            "experiment": self.name,
            "scale": self.scale,
            "data": None if self.data is None else str(self.data.resolve()),
            **more,
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
    """One training run: a recipe of the package with overrides {dotted key: value}, and its seed.

    With ``data.landmarks`` among the overrides it is measured on these landmarks.
    """

    name: str
    recipe: str
    overrides: Mapping[str, Any]
    seed: int

    @property
    def folder(self) -> str:
        """Name of the run folder."""
        return f"{self.name}-seed{self.seed}"

    def part_of(self, test: LandmarkDataset) -> LandmarkDataset:
        """The test images with the landmarks that this run finds."""
        names: Sequence[str] | None = self.overrides.get("data.landmarks")
        return test if names is None else test.pick(names)

    def dotted(self, data: Path) -> list[str]:
        """The overrides as ``train`` takes them; JSON is YAML."""
        values = {**self.overrides, "data.path": str(data.resolve()), "seed": self.seed}
        return [f"{key}={json.dumps(value)}" for key, value in values.items()]


@dataclass(frozen=True)
class Outcome:
    """A finished run and its errors on the test images.

    ``points`` (N, K, 2) predicted and ``errors`` (N, K) in original pixels, NaN = not annotated (all NaN when the run
    broke off before its first validation); K counts the landmarks of the run; ``history`` is its ``metrics.csv``;
    ``note`` says what went wrong.
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
    part = job.part_of(test)
    history = run.history_table() if run.metrics.is_file() else _no_history(part)
    if run.weights.is_file():
        points = predicted(run, part)
        errors = radial_error(points, part.points)
    else:
        points = np.full((len(part), len(part.landmarks), 2), np.nan)
        errors = np.full(points.shape[:2], np.nan)
    return Outcome(job, run, points, errors, history, note)


def predicted(run: RunFolder, test: LandmarkDataset) -> FloatArray:
    """Points (N, K, 2) of a run on the test images, original pixels."""

    def compute() -> FloatArray:
        predictor = Predictor.load(run)
        return predictor.predict(test, batch_size=batch_of(predictor.recipe.data.input.size)).points

    return kept(run, [str(sample.image) for sample in test.samples], compute)


def batch_of(size: tuple[int, int]) -> int:
    """How many images of this input size are predicted at a time.

    >>> batch_of((256, 256)), batch_of((2400, 1935))
    (16, 2)
    """
    most, pixels = BATCH
    return max(1, min(most, pixels // math.prod(size)))


def kept(run: RunFolder, key: Sequence[str], compute: Callable[[], FloatArray]) -> FloatArray:
    """What was computed with the weights of a run, from a file in its folder where that is there already.

    The file is named by the weights, the recipe and ``key``, so what depends on anything else belongs into ``key``.
    """
    digest = hashlib.sha256(run.weights.read_bytes() + run.config.read_bytes())
    digest.update("\0".join(key).encode())
    file = run.folder / "measured" / f"{digest.hexdigest()[:20]}.npy"
    if not file.is_file():
        stream = io.BytesIO()
        np.save(stream, compute(), allow_pickle=False)
        write_bytes(file, stream.getvalue(), overwrite=True)
    values: FloatArray = np.load(file, allow_pickle=False)
    return values


def with_seeds(jobs: Sequence[Job], seeds: Sequence[int]) -> list[Job]:
    """Every job once per seed, one seed after the other."""
    return [replace(job, seed=seed) for seed in seeds for job in jobs]


def _columns(names: Sequence[str]) -> list[str]:
    return [f"sigma_{name}" for name in names]


def _no_history(test: LandmarkDataset) -> pd.DataFrame:
    columns = ["epoch", "minutes", "train_loss", "val_mre_px", *_columns(test.landmarks.names)]
    return pd.DataFrame(columns=columns, dtype=float)
