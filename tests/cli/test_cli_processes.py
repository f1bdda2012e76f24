"""``trigpoint predict`` on two processes that are really started: the table of one, and one end for all."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cli_entry import call, without_note
from lightning.fabric.utilities.exceptions import MisconfigurationException
from PIL import Image

from trigpoint.errors import ConfigError
from trigpoint.prediction import engine
from warm import Started

LIMIT = 300.0  # seconds, many more than any of them needs
TRIGPOINT = ("-m", "trigpoint", "predict")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *TRIGPOINT)


def begin(*arguments: object, **variables: object) -> Started:
    return Started(*arguments, **variables)


def begin_as_torchrun(*arguments: object) -> list[Started]:
    """Two processes with what torchrun tells those that it starts, without it."""
    told = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_RANK": 0}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [begin(*arguments, **told, RANK=rank, LOCAL_RANK=rank) for rank in (0, 1)]


def ended(process: Started) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; fails when it hangs."""
    done = process.ended(LIMIT)
    return done.returncode, done.stdout, done.stderr


def same_as_one(run: Path, images: Path, out: Path, *options: object) -> pd.DataFrame:
    """The table, which one process writes as well."""
    alone = out.with_name("alone.csv")
    assert call("predict", run, images, "--device", "cpu", "--out", alone, *options).exit_code == 0
    table, expected = pd.read_csv(out), pd.read_csv(alone)
    assert table["image"].tolist() == expected["image"].tolist()
    pd.testing.assert_frame_equal(table, expected, check_exact=False, rtol=0, atol=2e-3)  # batches of other sizes
    return table


def some(drawn: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        shutil.copy(drawn / "images" / f"{index:05d}.png", folder)
    return folder


@pytest.mark.soak
def test_an_odd_number_of_images_on_processes_that_lightning_starts(trained: Path, drawn: Path, tmp_path: Path) -> None:
    images, out = some(drawn, tmp_path / "images", 7), tmp_path / "p.csv"
    command = (*TRIGPOINT, trained, images, "--devices", 2, "--device", "cpu", "--batch-size", 2, "--out", out)
    code, said, told = ended(begin(*command, "--overlay", tmp_path / "drawn"))
    assert (code, said) == (0, ""), told
    assert without_note(told) == f"wrote {out}: 7 images, 1 landmark each\ndrew 7 images into {tmp_path / 'drawn'}\n"
    assert len(same_as_one(trained, images, out, "--batch-size", 2)) == 7


def test_fewer_images_than_processes_of_torchrun(trained: Path, drawn: Path, tmp_path: Path) -> None:
    images, out = some(drawn, tmp_path / "images", 1), tmp_path / "p.csv"
    code, _, told = ended(begin(*TORCHRUN, trained, images, "--device", "cpu", "--out", out))
    assert code == 0, told
    assert told.count(f"wrote {out}: 1 image,") == 1
    assert len(same_as_one(trained, images, out)) == 1


def test_a_multi_instance_run_on_processes_of_slurm(instances_run: tuple[Path, Path], tmp_path: Path) -> None:
    run, all_images = instances_run
    images, out = tmp_path / "images", tmp_path / "p.csv"
    images.mkdir()
    for file in sorted(all_images.iterdir())[:3]:
        shutil.copy(file, images)
    slurm = {
        "SLURM_JOB_ID": 4711, "SLURM_JOB_NAME": "found", "SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 2,
        "SLURM_NNODES": 1, "SLURM_NODEID": 0, "SLURM_NODELIST": "localhost", "SLURM_STEP_NUM_TASKS": 2,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
    }  # fmt: skip
    command = (*TRIGPOINT, run, images, "--device", "cpu", "--batch-size", 1, "--out", out)
    tasks = [begin(*command, **slurm, SLURM_PROCID=rank, SLURM_LOCALID=rank) for rank in (0, 1)]
    (code, _, told), other = map(ended, tasks)
    assert code == 0, told
    assert without_note(told) == f"wrote {out}: 3 images\n"
    assert other == (0, "", "")
    table = same_as_one(run, images, out, "--batch-size", 1)
    assert "instance" in table
    assert table["image"].nunique() == 3


AT_THE_END = "terminate called without an active exception\n"
"""What the C++ of torch may say in another process that is ended while its threads work."""


def free_port() -> int:
    import socket

    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


@pytest.mark.parametrize("started", [pytest.param("by Lightning", marks=pytest.mark.soak), "by torchrun"])
def test_an_unreadable_image_ends_all_with_one_message(
    started: str, trained: Path, drawn: Path, tmp_path: Path
) -> None:
    images = some(drawn, tmp_path / "images", 5)
    damaged = images / "00003.bmp"  # of the second process; its header can be read
    with Image.open(images / "00003.png") as picture:
        picture.save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:-200])
    (images / "00003.png").unlink()
    command = (*TRIGPOINT, trained, images, "--device", "cpu", "--batch-size", 1, "--out", tmp_path / "p.csv")
    alone = started == "by Lightning"
    all_ended = [ended(each) for each in ([begin(*command, "--devices", 2)] if alone else begin_as_torchrun(*command))]
    told = "".join(err for _, _, err in all_ended)
    assert max(code for code, _, _ in all_ended) == 2, told  # what srun and torchrun make of them
    assert told.count("error: ") == 1, told
    assert f"error: {damaged}" in told
    assert "Traceback" not in told
    assert len(pd.read_csv(tmp_path / "p.csv")) == 2  # of the first image of each process
    assert told.count(f"{tmp_path / 'p.csv'}: is partial, it holds the first 2 of 5 images\n") == 1


def test_a_table_that_is_there_ends_all_with_one_message(trained: Path, drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    out.write_text("mine")
    first, second = begin_as_torchrun(*TRIGPOINT, trained, drawn / "images", "--device", "cpu", "--out", out)
    code, _, told = ended(first)
    second.kill()  # as torchrun does when one has ended so
    told += ended(second)[2]
    assert code == 2
    assert told.count("exists already and stays as it is") == 1, told
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "devices", "seconds"),
    [
        (signal.SIGTERM, 1, 1.5),  # in the second batch
        (signal.SIGTERM, 2, 1.5),
        pytest.param(signal.SIGINT, 2, 1.5, marks=pytest.mark.soak),
        pytest.param(signal.SIGTERM, 4, 1.5, marks=pytest.mark.soak),
    ],
)
def test_stopped_processes_keep_what_was_done(
    number: signal.Signals, devices: int, seconds: float, trained: Path, drawn: Path, tmp_path: Path
) -> None:
    """The signal comes to the first process alone, as ``kill`` sends it."""
    out, mark = tmp_path / "p.csv", tmp_path / "mark"
    entry = Path(__file__).with_name("slow_entry.py")
    command = (entry, "predict", trained, drawn / "images", "--device", "cpu", "--devices", devices, "--out", out)
    process = begin(*command, "--batch-size", 1, MARK=mark)
    until = time.monotonic() + LIMIT
    while not mark.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(seconds)
    process.send_signal(number)
    code, _, told = ended(process)
    assert code == 128 + number, told
    rows = len(pd.read_csv(out))
    assert rows in range(devices, 24, devices)
    told = told.replace(AT_THE_END, "")
    assert without_note(told) == f"{out}: is partial, it holds the first {rows} of 24 images\nstopped\n"
    images = [Path(name).name for name in pd.read_csv(out)["image"]]
    assert images == [f"{index:05d}.png" for index in range(rows)]


@pytest.mark.parametrize("name", ["bash", "interactive", "my batch script"])
def test_a_shell_of_slurm_in_which_nothing_was_started_does_not_wait(
    name: str, trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {"JOB_NAME": name, "NTASKS": "2", "NNODES": "1", "JOB_ID": "12", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    out = tmp_path / "p.csv"
    assert engine.processes() == 1
    result = call("predict", trained, drawn / "images", "--device", "cpu", "--out", out)
    assert result.exit_code == 0, result.output
    assert len(pd.read_csv(out)) == 24
    assert np.isfinite(pd.read_csv(out)["tip_x"]).all()


def test_devices_that_are_not_the_started_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "RANK": "1"}.items():
        monkeypatch.setenv(key, value)
    assert engine.processes() == engine.processes(2) == 2
    with pytest.raises(ConfigError, match="--devices: expected 2, as many processes were started, got 3; leave it out"):
        engine.processes(3)
    assert not engine.tells_errors()


def test_more_devices_than_there_are_is_a_clear_error(
    trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fewer(**options: Any) -> None:
        raise MisconfigurationException("You requested gpu: [0, 1]\n But your machine only has: [0]")

    monkeypatch.setattr("lightning.fabric.Fabric", fewer)
    result = call("predict", trained, drawn / "images", "--devices", 2, "--out", tmp_path / "p.csv")
    assert result.exit_code == 2
    assert "error: --devices: You requested gpu: [0, 1]" in result.stderr
    assert list(tmp_path.iterdir()) == []
