"""Training on two processes of the CPU: the same numbers as one, however it is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from faults import assert_near, draw, start, tiny
from torch import nn

import warm
from trigpoint.config import to_yaml
from trigpoint.data.input.loading import EpochBatches
from trigpoint.errors import RunError
from trigpoint.landmarks import Batch, Detections
from trigpoint.methods.validation import DetectionError, RadialError
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.callbacks import OneModel
from trigpoint.training.fitting import _lost_process


def test_same_losses_and_widths_as_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 images in batches of 4, or of 2 on each; 5 validation images are 3 on one process, 2 on the other."""
    data = draw(tmp_path / "data")
    file = tmp_path / "two.yaml"
    file.write_text(to_yaml(tiny(data, devices=2, strategy="ddp", batch_size=2)))
    two = RunFolder(tmp_path / "two")
    ended = start(file, two.folder, no_norm=1)
    assert ended.returncode == 0, ended.stderr
    monkeypatch.setattr(nn, "BatchNorm2d", nn.Identity)  # its statistics are of the images that one process sees
    one = train(tiny(data), out=tmp_path / "one", progress=False)
    assert_near(two, one)


def validated(rank: int, world: int, meet: str) -> None:
    """The numbers of three images, which are all on the first of two processes."""
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meet}/meet", rank=rank, world_size=world)
    points = torch.arange(12.0).reshape(3, 1, 2, 2)
    found = Detections(points + torch.tensor([1.0, 0.5]), torch.rand(points.shape[:3], generator=torch.manual_seed(0)))
    turned = torch.eye(2, 3, dtype=torch.float64).expand(3, 2, 3)
    one = Batch(torch.zeros(3, 1, 8, 8), points[:, 0], turned, torch.arange(3))
    many = replace(one, points=points, annotated=torch.ones(3, 2, dtype=torch.bool), heights=torch.full((3,), 8))
    told = []
    for metric, batch in ((RadialError(), one), (DetectionError(2, lambda height: 2.0), many)):
        if rank == 0:
            metric.update(found, batch)
        told.append(metric.compute())
    torch.save(told, Path(meet) / f"{world}-{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")  # which says that there was no image
def test_a_process_without_a_validation_image_has_the_numbers_of_all(tmp_path: Path) -> None:
    validated(0, 1, str(tmp_path))
    warm.together(validated, (2, str(tmp_path)))
    alone, *both = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    assert both == [alone, alone]
    assert alone[0]["val_mre_px"] == pytest.approx(1.25**0.5)
    assert alone[1]["val_f1"] == 1


@pytest.mark.parametrize("count", [1, 5, 16, 17])
@pytest.mark.parametrize("world", [2, 3])
def test_validation_takes_every_image_once(count: int, world: int) -> None:
    shares = [list(EpochBatches(count, 2, rank=rank, world=world)) for rank in range(world)]
    positions = [position for batches in shares for batch in batches for _, position in batch]
    assert sorted(positions) == list(range(count))


@pytest.mark.parametrize("size", [2, 3])
def test_batches_of_two_processes_make_those_of_one(size: int) -> None:
    alone = list(EpochBatches(12 * size, 2 * size, seed=3, shuffle=True))
    shares = [list(EpochBatches(12 * size, size, seed=3, shuffle=True, rank=rank, world=2)) for rank in range(2)]
    joined = [sorted(a + b) for a, b in zip(*shares, strict=True)]
    assert joined == [sorted(batch) for batch in alone]


def test_kept_buffers_are_shared_and_sums_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.BatchNorm1d(2)
    module.register_buffer("sums", torch.zeros(2), persistent=False)
    shared: list[torch.Tensor] = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "broadcast", lambda buffer, source: shared.append(buffer))
    trainer = cast(Any, SimpleNamespace(num_training_batches=3))
    for index in range(3):
        assert shared == []
        OneModel().on_train_batch_end(trainer, cast(Any, module), None, None, index)
    assert {id(buffer) for buffer in shared} == {
        id(module.running_mean),
        id(module.running_var),
        id(module.num_batches_tracked),
    }


def test_a_lost_process_is_told_in_our_words() -> None:
    trainer = cast(Any, SimpleNamespace(world_size=2, global_rank=0))
    lost = RuntimeError("[gloo/transport/tcp/pair.cc:545] Connection closed by peer [127.0.0.1]:2131\nand more")
    told = _lost_process(lost, trainer)
    assert isinstance(told, RunError)
    assert "process 0 of 2 lost another process" in str(told)
    assert "and more" not in str(told)
    ours = RuntimeError("shape mismatch")
    assert _lost_process(ours, trainer) is ours
    trainer.world_size = 1
    assert _lost_process(lost, trainer) is lost
