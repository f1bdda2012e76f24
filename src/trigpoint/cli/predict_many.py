"""``trigpoint predict`` of many images: in blocks, by several processes, shards or Slurm jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trigpoint.cli.console import note, progress, refuse
from trigpoint.errors import ConfigError, counted

if TYPE_CHECKING:
    from trigpoint.prediction.base import ImagePredictor
    from trigpoint.prediction.blocks import Job

JOBS = 4
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes", "-p", min=1, help="Many images: in blocks, by so many processes; a kill costs no finished block."
    ),
]
Shard = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Predict only the I-th of N parts, and write no table.")
]
BlockSize = Annotated[int | None, typer.Option("--block-size", min=1, help="Images of a block; default: 256.")]
Launcher = Annotated[
    Literal["local", "submitit"],
    typer.Option("--launcher", help="Where: on this machine, or submitit: by an array of Slurm jobs."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Slurm jobs in all; default: 4.")]
Slurm = Annotated[
    list[str] | None, typer.Option("--slurm", metavar="KEY=VALUE", help="Of the jobs, such as partition=gpu.")
]


@dataclass(frozen=True)
class Many:
    """How many images are predicted: the options that begin it, None = not given."""

    processes: int | None = None
    shard: str | None = None
    block_size: int | None = None
    launcher: str = "local"
    jobs: int | None = None
    slurm: Sequence[str] = ()

    @property
    def asked(self) -> str:
        """The option that asks for blocks, or nothing."""
        if self.launcher != "local":
            return "--launcher"
        given = {"--processes": self.processes, "--shard": self.shard, "--block-size": self.block_size}
        return next((name for name, value in given.items() if value is not None), "")

    def checked(self, overlay: Path | None, trace: Path | None, report: Path | None, devices: int) -> Many:
        """The same. Raises ConfigError for options that do not go together."""
        check_local(self.launcher, self.jobs, self.slurm)
        if not self.asked:
            return self
        if self.launcher != "local" and self.shard is not None:
            raise ConfigError("--shard: is chosen for each job by --launcher submitit, got both; leave one out")
        for name, path in (("--overlay", overlay), ("--trace", trace), ("--dicom-report", report)):
            if path is not None:
                raise ConfigError(
                    f"{name}: is made from all that was found at once, got {self.asked}, which predicts in blocks; "
                    "leave one of the two out"
                )
        from trigpoint.prediction.engine import processes

        if processes(devices) > 1:
            raise ConfigError(
                f"{self.asked}: starts processes itself, got several (--devices, torchrun or srun); leave one out"
            )
        return self

    def own(self) -> tuple[int, int] | None:
        """The shard (I, N). Raises ConfigError."""
        if self.shard is None:
            return None
        number, _, count = self.shard.partition("/")
        if not (number.isascii() and number.isdigit() and count.isascii() and count.isdigit()):
            raise ConfigError(f"--shard: expected one of N such as 2/8, got '{self.shard}'")
        if not 1 <= int(number) <= int(count):
            raise ConfigError(f"--shard: expected 1 to {count} of {count}, got '{self.shard}'; the first is 1/{count}")
        return int(number), int(count)


def slurm_options(texts: Sequence[str]) -> dict[str, str]:
    """Options of jobs from ``KEY=VALUE`` each. Raises ConfigError.

    >>> slurm_options(["partition=gpu", "gpus_per_node=1"])
    {'partition': 'gpu', 'gpus_per_node': '1'}
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"--slurm: expected KEY=VALUE such as partition=gpu, got '{text}'")
        found[key] = value
    return found


def check_local(launcher: str, jobs: int | None, slurm: Sequence[str]) -> None:
    """Raise ConfigError for options of Slurm jobs without any."""
    for name, value in (("--jobs", jobs), ("--slurm", slurm or None)):
        if launcher == "local" and value is not None:
            raise ConfigError(f"{name}: is of Slurm jobs, got --launcher local; add --launcher submitit")


def predict_many(
    load: Callable[[], ImagePredictor], run: Path, files: Sequence[Path], out: Path, many: Many, how: dict[str, Any]
) -> ImagePredictor | None:
    """Predict what is missing of the blocks, and join them where all are there; the predictor, None of a shard.

    ``how``: device, group, batch_size, spacing_mm, flag and overwrite.
    """
    from trigpoint.data.columns import check_table
    from trigpoint.prediction.blocks import JOB, SIZE, Job
    from trigpoint.prediction.measurements import beside
    from trigpoint.prediction.sharing import interrupted, join, predict_blocks
    from trigpoint.prediction.stream import check_flags
    from trigpoint.prediction.submitting import check_executor, predict_in_jobs

    shard, options = many.own(), slurm_options(many.slurm)
    check_table(out)
    if many.launcher != "local":
        check_executor(options, "--slurm ")
    names = _names(files, out)
    settings = {key: how[key] for key in ("batch_size", "device", "group", "spacing_mm", "skip_broken")}
    job = Job(run, tuple(files), names, out, many.block_size or SIZE, **settings)
    if not how["overwrite"] and interrupted(job):
        note(f"{out}: is whole, and its blocks were still there; removed {job.folder}")
        return None
    refuse(out, how["overwrite"])
    if not (job.folder / JOB).is_file():
        refuse(beside(out), how["overwrite"])
    made: list[ImagePredictor] = []

    def loaded() -> ImagePredictor:
        if not made:
            made.append(load())
            check_flags(made[0], how["flag"])
        return made[0]

    with progress("predicting") as advance:
        if many.launcher == "local":
            before, total = predict_blocks(
                job, loaded, processes=many.processes or 1, shard=shard, replace=how["overwrite"], progress=advance
            )
            if before:
                note(f"{job.folder}: {before} of {total} images were done before")
        else:
            loaded()  # what is wrong is told here, not by jobs
            predict_in_jobs(
                job,
                many.jobs or JOBS,
                options,
                processes=many.processes or 1,
                replace=how["overwrite"],
                progress=advance,
            )
    if shard is not None:
        _tell_shard(job, shard)
        return None
    told: list[str] = []
    count = join(job, loaded(), overwrite=how["overwrite"], flag=how["flag"], tell=told.append)
    several = loaded().threshold is not None
    each = "" if several else f", {counted(len(loaded().landmarks), 'landmark')} each"
    note(f"wrote {out}: {counted(count, 'image')}{each}")
    if loaded().measures:
        note(f"wrote {beside(out)}: {', '.join(loaded().landmarks.measurements)}")
    for text in told:
        note(f"warning: {text}")
    return loaded()


def _names(files: Sequence[Path], out: Path) -> tuple[str, ...]:
    """What the table calls the images; refused now, not after an hour of work."""
    from trigpoint.data.table_names import TableNames

    write = TableNames.of(out).write
    return tuple(write(file) for file in files)


def _tell_shard(job: Job, shard: tuple[int, int]) -> None:
    from trigpoint.prediction.blocks import Blocks

    missing = len(Blocks(job).missing())
    note(f"{job.folder}: shard {shard[0]}/{shard[1]} is done, {job.count - missing} of {job.count} blocks are there")
    if job.count < shard[1]:
        each = -(-len(job.files) // shard[1])
        what = f"{len(job.files)} images are {job.count} block{'s' if job.count > 1 else ''} of {job.size}"
        note(
            f"{what}, so {shard[1] - job.count} of the shards have nothing to do; divide them with --block-size {each}"
        )
    if missing:
        note("when all shards are done, the same command without --shard writes the table")
    else:
        note("the same command without --shard writes the table")
