"""SIGTERM, as of ``kill``, Slurm and Docker: training ends soon, says what is saved, and goes on to the same end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import KILLED, draw, start, tiny

from same_runs import assert_same
from trigpoint.config import to_yaml
from trigpoint.errors import Stopped
from trigpoint.runs import RunFolder
from trigpoint.training import train

TERMINATED = 128 + signal.SIGTERM
LANDMARKS = "call:trigpoint.training.landmarks"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Never stopped."""
    return train(tiny(data), out=tmp_path_factory.mktemp("whole") / "run", progress=False)


def stop(file: Path, out: Path, number: signal.Signals = signal.SIGTERM, **faults: object) -> int:
    """Start, stop by the fault, and check what every stop leaves; returns the epochs that are saved."""
    ended = start(file, out, signal=int(number), **faults)  # type: ignore[arg-type]
    assert ended.returncode == 128 + number, ended.stderr
    assert "Traceback" not in ended.stderr
    run = RunFolder(out)
    told = f"{out}: {run.epochs_done()} epochs are saved\nstopped; run the same command to resume\n"
    assert ended.stderr.endswith(told), ended.stderr
    assert ended.stderr.count("stopped") == 1
    saved = int(torch.load(run.last, weights_only=True)["epoch"]) + 1 if run.last.exists() else 0
    assert saved == run.epochs_done()
    assert not [path.name for path in run.folder.glob(".*.part") if path.name != ".begun.part"]
    return saved


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (f"{LANDMARKS}:_inputs", 0, 0),  # while data are prepared
        ("step:2", 0, 0),  # in the first epoch
        ("step:10", 2, 3),  # the second epoch is not in the checkpoint yet: the third is finished
        ("validation:2", 0, 1),
        ("checkpoint:1", 1, 1),
        (f"{LANDMARKS}:finish", 5, 5),  # calibration
    ],
)
def test_a_process(fault: str, least: int, most: int, data: Path, whole: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(to_yaml(tiny(data)))
    assert least <= stop(file, tmp_path / "run", fault=fault) <= most
    train(tiny(data), out=tmp_path / "run", progress=False)
    assert_same(RunFolder(tmp_path / "run"), whole)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("rank:0:10", marks=pytest.mark.soak),
        "rank:1:10",
        pytest.param("step:10", marks=pytest.mark.soak),
        pytest.param("validation:3", marks=pytest.mark.soak),
    ],
)
def test_one_of_two_processes_or_both(fault: str, data: Path, tmp_path: Path) -> None:
    """The second validates 2 images of 5, the first 3, one at a time."""
    file = tmp_path / "two.yaml"
    file.write_text(to_yaml(tiny(data, devices=2, strategy="ddp", batch_size=1)))
    assert stop(file, tmp_path / "run", fault=fault) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel to end a process with its parent")
def test_workers_end_with_their_process(data: Path, tmp_path: Path) -> None:
    file, workers = tmp_path / "tiny.yaml", tmp_path / "workers"
    file.write_text(to_yaml(tiny(data, workers=2)))
    assert start(file, tmp_path / "run", fault="step:3", workers=workers).returncode == KILLED
    pids = [int(pid) for pid in workers.read_text().split()]
    assert len(pids) >= 2  # beside a GPU there is one more
    until = time.monotonic() + 10
    while any(map(running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(running, pids))


def running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_workers_that_get_the_signal_too_finish_what_is_under_way(data: Path, whole: RunFolder, tmp_path: Path) -> None:
    file, workers = tmp_path / "tiny.yaml", tmp_path / "workers"
    file.write_text(to_yaml(tiny(data, workers=1)))
    assert stop(file, tmp_path / "run", fault="step:10", workers=workers) == 3
    assert not any(running(int(pid)) for pid in workers.read_text().split())
    train(tiny(data), out=tmp_path / "run", progress=False)
    assert_same(RunFolder(tmp_path / "run"), whole)


def test_a_process_that_waits_for_ever_is_ended(tmp_path: Path) -> None:
    """Such as for another process: Python's handlers are not called in a library that does not return."""
    code = (
        "import threading, signal, trigpoint.errors as e; e.PATIENCE = 0.5; e.end_in_time()\n"
        "signal.signal(signal.SIGTERM, lambda *given: None); print(flush=True)\n"  # one that does not end it
        "while True: threading.Event().wait()"
    )
    waits = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert waits.stdout is not None
    waits.stdout.readline()
    waits.send_signal(signal.SIGTERM)
    _, told = waits.communicate(timeout=30)
    assert (waits.returncode, told) == (TERMINATED, "stopped after 0 s of waiting; what was saved before is whole\n")


def test_a_stop_in_python_tells_what_is_saved(data: Path, tmp_path: Path) -> None:
    def watch(row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            raise Stopped

    with pytest.raises(KeyboardInterrupt, match="stopped by SIGINT") as told:
        train(tiny(data), out=tmp_path / "run", progress=False, watch=watch)
    run = RunFolder(tmp_path / "run")
    epochs = run.epochs_done()
    assert told.value.__notes__ == [f"{tmp_path / 'run'}: {epochs} epochs are saved"]
    assert epochs > 0
    whole = run.recipe().train.num_epochs
    assert str(run.unfinished()).startswith(f"{run.folder}: is not finished ({epochs} of {whole} epochs), so its ")
    assert train(tiny(data), out=run.folder, progress=False).unfinished() is None
