"""One training of a study and its predictions, as a task; and where tasks are done.

In this process, in several on this machine, or as Slurm jobs through submitit.
"""

import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import write_bytes
from trigpoint.errors import RunError
from trigpoint.experiments.measures import Job
from trigpoint.experiments.study import SLURM, Request
from trigpoint.landmarks import FloatArray
from trigpoint.methods.base import NotFinite
from trigpoint.prediction import Predictor
from trigpoint.prediction.submitting import cancel, check_executor, executor_of, result_of
from trigpoint.recipe import Recipe, SourceRecipe, load_any_recipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
BATCH = (16, 10_000_000)
"""Images, and input pixels, at most, that are predicted at a time."""


@dataclass(frozen=True)
class Task:
    """A job, the dataset it is trained on, where to, the images that it is measured on (None: it is not), and whether
    with a bar."""

    job: Job
    data: Path
    out: Path
    test: LandmarkDataset | None = None
    progress: bool = False

    def recipe(self) -> Recipe | SourceRecipe:
        """The complete recipe; JSON is YAML."""
        values = {**self.job.overrides, "data.path": str(self.data.resolve()), "seed": self.job.seed}
        return load_any_recipe(self.job.recipe, [f"{key}={json.dumps(value)}" for key, value in values.items()])


def work(task: Task) -> tuple[FloatArray | None, str]:
    """Train, and predict the test images: points, None without weights, and what went wrong.

    A loss that is not finite is a result, and no error.
    """
    note, run = "", RunFolder(task.out)
    try:
        train(task.recipe(), out=task.out, progress=task.progress)
    except RunError as error:
        if not isinstance(error.__context__, NotFinite):
            raise
        note = "the training loss became infinite or NaN"
    if task.test is None or not run.weights.is_file():
        return None, note
    return predicted(run, task.job.own(task.test)), note


@dataclass(frozen=True)
class Until:
    """``work`` that begins no training any more after ``end``, seconds since 1970: None for a task that needs one."""

    end: float

    def __call__(self, task: Task) -> tuple[FloatArray | None, str] | None:
        return None if time.time() >= self.end and not finished(RunFolder(task.out)) else work(task)


def finished(run: RunFolder) -> bool:
    """Whether all epochs of a run are done."""
    return run.weights.is_file() and run.epochs_done() >= run.any_recipe().train.num_epochs


def predicted(run: RunFolder, test: LandmarkDataset, steps: Sequence[int] | None = None) -> FloatArray:
    """Points (N, K, 2) of a run on the test images, original pixels.

    With ``steps`` (len(steps), N, K, 2): with each number of glimpse steps in prediction.
    Raises ConfigError when its method has no such option.
    """
    key = [str(sample.image) for sample in test.samples]
    if steps is None:
        return kept(run, key, lambda: _points(run, test))
    every = [*key, "looks", *map(str, steps)]
    return kept(run, every, lambda: np.stack([_points(_Changed(run, count), test) for count in steps]))


class _Changed(RunFolder):
    """A run whose recipe has another number of glimpse steps in prediction."""

    def __init__(self, run: RunFolder, steps: int) -> None:
        super().__init__(run.folder)
        self._steps = steps

    def recipe(self) -> Recipe:
        recipe = super().recipe()
        option = "method.fine.iterations" if "fine" in recipe.method.model_dump() else "method.iterations"
        return load_recipe(recipe, [f"{option}={self._steps}"])


def _points(run: RunFolder, test: LandmarkDataset) -> FloatArray:
    predictor = Predictor.load(run)
    return predictor.predict(test, batch_size=batch_of(predictor.recipe.data.input.size)).points


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
    digest = hashlib.sha256(run.weights.read_bytes() + run.config.read_bytes() + "\0".join(key).encode())
    file = run.folder / "measured" / f"{digest.hexdigest()[:20]}.npy"
    if not file.is_file():
        write_array(file, compute())
    values: FloatArray = np.load(file, allow_pickle=False)
    return values


def write_array(file: Path, values: FloatArray) -> None:
    """Write an array whole, or not at all."""
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    write_bytes(file, stream.getvalue(), overwrite=True)


# -- where tasks are done ----------------------------------------------------------------------------------------------


def launched(
    request: Request, work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], names: Sequence[str]
) -> Iterator[ResultT]:
    """What ``work`` returns for each task, in their order; ``names`` are for messages.

    Raises ConfigError for a launcher that is not there or options it does not know, before any work; RunError for a job
    that failed, naming its log. When stopped, jobs that are still there are cancelled.
    """
    if request.launcher == "submitit":
        yield from _submitted(request, work, tasks, names)
    elif (request.jobs or 1) == 1:
        yield from map(work, tasks)
    else:
        context = get_context("spawn")
        with ProcessPoolExecutor(request.jobs, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, tasks)


def check_launcher(request: Request) -> None:
    """Raise ConfigError when jobs cannot be submitted as ``request`` says."""
    if request.launcher == "submitit":
        check_executor(request.slurm, SLURM)


def _submitted(
    request: Request, work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], names: Sequence[str]
) -> Iterator[ResultT]:
    """At most ``request.jobs`` jobs at a time, all when that is None."""
    executor, jobs = executor_of(request.slurm, request.out / "jobs", SLURM), list[Any]()
    try:
        for i, name in enumerate(names):
            while len(jobs) < min(len(tasks), i + (request.jobs or len(tasks))):
                jobs.append(executor.submit(work, tasks[len(jobs)]))
            yield result_of(jobs[i], name)
    finally:
        cancel(jobs)
