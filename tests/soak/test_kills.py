"""Real runs, killed again and again, ended by a full disk, or by the death of one of two processes; nothing is lost."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest
from faults import KILLED, assert_near, draw, start, tiny

from same_runs import assert_same
from trigpoint.config import to_yaml
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder

pytestmark = pytest.mark.soak

EPOCHS = 8
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
RAN = random.Random(20)
MOMENTS = (
    "write:2",  # before there is a config.yaml
    "step:6",
    "validation:1",
    "checkpoint:1",
    "write:7",
    *(f"after:{RAN.uniform(0.0, 4.0):.2f}" for _ in range(3)),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


def write(recipe: Recipe, folder: Path) -> Path:
    file = folder / "recipe.yaml"
    file.write_text(to_yaml(recipe))
    return file


def finish(file: Path, out: Path, **options: object) -> RunFolder:
    ended = start(file, out, **options)  # type: ignore[arg-type]
    assert ended.returncode == 0, ended.stderr
    return RunFolder(out)


@pytest.mark.parametrize("workers", [0, 1])
def test_killed_at_many_moments(workers: int, data: Path, tmp_path: Path) -> None:
    file = write(tiny(data, EPOCHS, workers), tmp_path)
    whole = finish(file, tmp_path / "whole", save_every=0)
    killed = 0
    for moment in MOMENTS:
        ended = start(file, tmp_path / "run", fault=moment, save_every=0)
        assert ended.returncode in (KILLED, 0), ended.stderr
        killed += ended.returncode == KILLED
    assert killed >= 5
    assert_same(finish(file, tmp_path / "run", save_every=0), whole)


def test_killed_between_checkpoints_repeats_epochs(data: Path, tmp_path: Path) -> None:
    """With the time between checkpoints that users have."""
    file = write(tiny(data, EPOCHS), tmp_path)
    whole = finish(file, tmp_path / "whole")
    for moment in ("step:18", "validation:3"):
        assert start(file, tmp_path / "run", fault=moment).returncode == KILLED
    assert_same(finish(file, tmp_path / "run"), whole)


@pytest.mark.parametrize(("size", "name"), [(12_000, "data.csv"), (40_000, "last.ckpt")])
def test_a_file_may_not_grow(size: int, name: str, data: Path, tmp_path: Path) -> None:
    """The system refuses files beyond a size: as on a full disk, a file is written in part, then no more.

    12 kB: before the first epoch; 40 kB: the weights are there, but no checkpoint.
    """
    file = write(tiny(data, EPOCHS), tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))  # for the process that is started
    try:
        ended = start(file, tmp_path / "run", save_every=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    run = RunFolder(tmp_path / "run")
    refused = run.folder / name
    assert ended.returncode == 2
    assert f"error: {refused}: cannot be written: File too large; training has stopped" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not refused.exists()
    assert "and no epoch has been saved yet" in ended.stderr
    assert not list(run.folder.glob(".*.part"))
    assert_same(finish(file, run.folder, save_every=0), finish(file, tmp_path / "whole", save_every=0))


def test_torchrun_gives_the_losses_of_one_process(data: Path, tmp_path: Path) -> None:
    one = finish(write(tiny(data), tmp_path), tmp_path / "one", no_norm=1)
    file = write(tiny(data, devices=2, strategy="ddp", batch_size=2), tmp_path)
    assert_near(finish(file, tmp_path / "two", no_norm=1, launcher=TORCHRUN), one)


def test_two_processes_resume(data: Path, tmp_path: Path) -> None:
    """With batch statistics, which every process has of its own."""
    file = write(tiny(data, devices=2, strategy="ddp", batch_size=2), tmp_path)
    whole = finish(file, tmp_path / "whole", save_every=0)
    ended = start(file, tmp_path / "run", fault="rank:1:10", save_every=0)
    assert ended.returncode not in (0, None)
    assert RunFolder(tmp_path / "run").epochs_done() in (1, 2)
    assert_same(finish(file, tmp_path / "run", save_every=0), whole)


@pytest.mark.parametrize(("rank", "launcher"), [(0, ()), (1, ()), (0, TORCHRUN), (1, TORCHRUN)])
def test_the_death_of_a_process_ends_the_job(rank: int, launcher: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    file = write(tiny(data, 500, devices=2, strategy="ddp", batch_size=2), tmp_path)
    began = time.monotonic()
    ended = start(file, tmp_path / "run", fault=f"rank:{rank}:9", launcher=launcher)
    assert ended.returncode != 0
    assert time.monotonic() - began < 300
    told = f"process {1 - rank} of 2 lost another process of this training" in ended.stderr
    by_torchrun = f"rank      : {rank} (local_rank: {rank})" in ended.stderr and "SIGKILL" in ended.stderr
    with_parent = rank == 0 and not launcher and ended.returncode == KILLED  # what Lightning started dies with it
    assert told or with_parent or (launcher and by_torchrun), ended.stderr
