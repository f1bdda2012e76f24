"""SIGTERM to one of four processes or to all, at many moments, with both launchers; and again and again to one run."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
import torch
from faults import draw, start, tiny

from same_runs import assert_same
from trigpoint.config import to_yaml
from trigpoint.runs import RunFolder
from trigpoint.training import train

pytestmark = pytest.mark.soak

TERMINATED = 128 + signal.SIGTERM
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4")
RAN = random.Random(21)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "data")


def saved(out: Path) -> int:
    """Epochs of the checkpoint, which are those of the table; nothing is half written."""
    run = RunFolder(out)
    assert not [path.name for path in run.folder.glob(".*.part") if path.name != ".begun.part"]
    epochs = int(torch.load(run.last, weights_only=True)["epoch"]) + 1 if run.last.exists() else 0
    assert epochs == run.epochs_done()
    return epochs


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_stopped_again_and_again(workers: int, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(to_yaml(tiny(data, 12, workers)))
    before, stops = 0, 0
    for _ in range(12):
        ended = start(file, tmp_path / "run", fault=f"after:{RAN.uniform(0.0, 1.5):.2f}", signal=15)
        assert ended.returncode in (TERMINATED, 0), ended.stderr
        assert "Traceback" not in ended.stderr
        stops += ended.returncode == TERMINATED
        assert saved(tmp_path / "run") >= before
        before = saved(tmp_path / "run")
    assert stops
    assert start(file, tmp_path / "run").returncode == 0
    assert_same(RunFolder(tmp_path / "run"), train(tiny(data, 12), out=tmp_path / "whole", progress=False))


@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["Lightning", "torchrun"])
@pytest.mark.parametrize("fault", ["rank:0:9", "rank:2:9", "step:9", "validation:1", "after:0.3", "after:1.7"])
def test_four_processes(fault: str, launcher: tuple[str, ...], data: Path, tmp_path: Path) -> None:
    file, started = tmp_path / "four.yaml", tmp_path / "started"
    file.write_text(to_yaml(tiny(data, 300, 1, devices=4, strategy="ddp", batch_size=1)))
    ended = start(file, tmp_path / "run", fault=fault, signal=15, launcher=launcher, marked=started)
    assert time.time() - started.stat().st_mtime < 30, "ended late"
    assert ended.returncode == (1 if launcher else TERMINATED), ended.stderr
    told = f"{tmp_path / 'run'}: {saved(tmp_path / 'run')} epochs are saved\nstopped; run the same command to resume\n"
    assert ended.stderr.count(told) == 1, ended.stderr
