"""Work as jobs of Slurm, or of another executor of submitit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from trigpoint.config import parse_yaml
from trigpoint.errors import ConfigError, RunError, TrigpointError
from trigpoint.prediction.base import Progress
from trigpoint.prediction.blocks import Blocks, Job
from trigpoint.prediction.sharing import loaded, predict_blocks

SIZES = ("mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
SHARED = (*SIZES, "name", "timeout_min", "stderr_to_stdout")
"""Parameters of submitit that every executor has; the others are Slurm's own."""
DEFAULTS = {"name": "trigpoint", "timeout_min": 1440}  # submitit's own five minutes would cut trainings off


def executor_of(options: Mapping[str, str], folder: Path, before: str = "slurm.") -> Any:
    """submitit's executor by its parameters, such as ``partition``, and ``executor``: slurm or local; logs go to
    ``folder``. ``before`` the parameters in messages.

    Raises ConfigError where submitit or the executor is not there, and for parameters that it does not know.
    """
    if find_spec("submitit") is None:
        fix = "which is not installed; pip install 'trigpoint[slurm]'"
        raise ConfigError(f"launcher submitit: expected submitit, {fix}")
    import submitit

    options = dict(options)
    cluster = options.pop("executor", "slurm")
    try:
        values = {key if key in SHARED else f"slurm_{key}": parse_yaml(text) for key, text in options.items()}
        executor = submitit.AutoExecutor(folder, cluster=cluster)
        executor.update_parameters(**(DEFAULTS | values))
    except (NameError, AssertionError, yaml.YAMLError) as error:  # an unknown parameter, or one of another type
        given = ", ".join(f"{before}{key}={text}" for key, text in options.items())
        raise ConfigError(f"{given}: expected parameters of submitit, got {' '.join(str(error).split())}") from None
    except (RuntimeError, ValueError) as error:
        wanted = f"{before}executor={cluster}: expected an executor that works here, got '{error}'"
        raise ConfigError(f"{wanted}; run this where srun is, or give {before}executor=local") from None
    return executor


def check_executor(options: Mapping[str, str], before: str = "slurm.") -> None:
    """Raise ConfigError, before any work, as ``executor_of`` does."""
    with tempfile.TemporaryDirectory() as scratch:  # submitit makes the folder that it is given
        executor_of(options, Path(scratch), before)


def result_of(job: Any, name: str) -> Any:
    """What a job of submitit gives when it has ended. Raises RunError, naming its log, for one that failed."""
    from submitit.core.utils import UncompletedJobError

    try:
        return job.result()
    except UncompletedJobError as error:
        trace = str(error).partition("trace:")[2].strip("-\n ").partition("\n------")[0] or str(error)
        failed = f"{name}: job {job.job_id} failed: {trace.strip().splitlines()[-1]}"
        raise RunError(f"{failed}; see {job.paths.stderr}, then run the same command again") from None


def wait_for(jobs: Sequence[Any], what: str, ended: Callable[[], None] = lambda: None) -> None:
    """Wait for all jobs, also where one fails, which is raised at the end as ``result_of`` does; when stopped, those
    that are there are cancelled. ``what`` each is, in messages; ``ended`` is called after each."""
    failed: RunError | None = None
    try:
        for number, job in enumerate(jobs, start=1):
            try:
                result_of(job, f"{what} {number}/{len(jobs)}")
            except RunError as error:
                failed = failed or error
            ended()
    finally:
        cancel(jobs)
    if failed is not None:
        raise failed


def cancel(jobs: Sequence[Any]) -> None:
    """End the jobs that are still there."""
    for job in jobs:
        if not job.done():
            job.cancel()


def predict_in_jobs(
    job: Job,
    count: int,
    options: Mapping[str, str],
    *,
    processes: int = 1,
    replace: bool = False,
    progress: Progress | None = None,
) -> None:
    """Predict what is missing of a job's blocks in so many jobs of one array, and wait for them.

    Raises as ``executor_of``, ``predict_blocks`` and ``result_of``. When stopped, jobs that are there are cancelled.
    """
    blocks = Blocks(job)
    blocks.open(replace)
    if not blocks.missing():
        return
    count = min(count, job.count)
    executor = executor_of(options, job.folder / "jobs", "--slurm ")
    file = job.keep()
    jobs = executor.map_array(_shard, [file] * count, range(1, count + 1), [count] * count, [processes] * count)

    def told() -> None:
        if progress is not None:
            progress(len(job.files) - job.length(blocks.missing()), len(job.files))

    wait_for(jobs, "shard", told)


def _shard(file: Path, number: int, count: int, processes: int) -> None:
    """What a job does."""
    job = Job.of(file)
    try:
        predict_blocks(job, lambda: loaded(job), processes=processes, shard=(number, count))
    except TrigpointError as error:
        error.__notes__ = []  # the last line of the log, which is told, is to be the error
        raise
