"""Where trainings run: in this process, in several on this machine, or as Slurm jobs through submitit."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml

from trigpoint.config import parse_yaml
from trigpoint.errors import ConfigError, RunError
from trigpoint.experiments.study import SLURM, Request

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
SIZES = ("mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
SHARED = (*SIZES, "name", "timeout_min", "stderr_to_stdout")
"""Parameters of submitit that every executor has; the others are Slurm's own."""
DEFAULTS = {"name": "trigpoint", "timeout_min": 1440}  # submitit's own five minutes would cut trainings off


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
        with tempfile.TemporaryDirectory() as scratch:  # submitit makes the folder that it is given
            _executor(request, Path(scratch))


def _executor(request: Request, folder: Path) -> Any:
    if find_spec("submitit") is None:
        fix = "which is not installed; pip install 'trigpoint[slurm]'"
        raise ConfigError(f"launcher submitit: expected submitit, {fix}")
    import submitit

    options = dict(request.slurm)
    cluster = options.pop("executor", "slurm")
    try:
        values = {key if key in SHARED else f"slurm_{key}": parse_yaml(text) for key, text in options.items()}
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(**(DEFAULTS | values))
    except (NameError, AssertionError, yaml.YAMLError) as error:  # an unknown parameter, or one of another type
        given = ", ".join(f"{SLURM}{key}={text}" for key, text in options.items())
        raise ConfigError(f"{given}: expected parameters of submitit, got {' '.join(str(error).split())}") from None
    except (RuntimeError, ValueError) as error:
        wanted = f"{SLURM}executor={cluster}: expected an executor that works here, got '{error}'"
        raise ConfigError(f"{wanted}; run this where srun is, or give {SLURM}executor=local") from None
    return executor


def _submitted(
    request: Request, work: Callable[[TaskT], ResultT], tasks: Sequence[TaskT], names: Sequence[str]
) -> Iterator[ResultT]:
    """At most ``request.jobs`` jobs at a time, all when that is None."""
    from submitit.core.utils import UncompletedJobError

    executor, jobs = _executor(request, request.out / "jobs"), list[Any]()
    try:
        for i, name in enumerate(names):
            while len(jobs) < min(len(tasks), i + (request.jobs or len(tasks))):
                jobs.append(executor.submit(work, tasks[len(jobs)]))
            try:
                yield jobs[i].result()
            except UncompletedJobError as error:
                trace = str(error).partition("trace:")[2].strip("-\n ").partition("\n------")[0] or str(error)
                failed = f"{name}: job {jobs[i].job_id} failed: {trace.strip().splitlines()[-1]}"
                raise RunError(f"{failed}; see {jobs[i].paths.stderr}, then run the same command again") from None
    finally:
        for job in jobs:
            if not job.done():
                job.cancel()
