"""Training on two processes of the CPU: the same numbers as one, however it is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import safetensors.torch
import timm
import torch
import torch.distributed as dist
from faults import LIMIT, assert_near, draw_missing, still
from torch import nn

import warm
from trigpoint.config import parse, to_yaml
from trigpoint.data.input.loading import EpochBatches
from trigpoint.errors import RunError
from trigpoint.landmarks import Batch, Detections
from trigpoint.methods import FoveatedMethod
from trigpoint.methods.validation import DetectionError, RadialError
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.callbacks import OneModel
from trigpoint.training.fitting import _lost_process
from warm import Started

UNET = {"name": "unet", "width": 4, "depth": 2, "kernel": 3}
ADALOSS = {"name": "adaloss", "sigma0": 4.0, "window": 2}
GLIMPSES = {
    "trunk": "small", "glimpse": 16, "levels": 2, "train_iterations": 2, "rotation": 0.0, "scale": 0.0, "noise": 0.0
}  # fmt: skip
SEEN = {"normalize": "fixed", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}  # what timm says of the source
METHODS: dict[str, dict[str, Any]] = {
    "adam": {"name": "heatmap", "network": UNET, "schedule": ADALOSS},
    "heatmap": {"name": "heatmap", "network": UNET, "loss": "kl", "decoder": "soft_argmax", "schedule": ADALOSS},
    "learned": {"name": "heatmap", "network": UNET, "schedule": "learned", "normalize": "mean"},
    "transfer": {
        "name": "heatmap",
        "network": {"name": "simple_baseline", "encoder": "test_resnet", "width": 4},
        "schedule": "fixed",
    },
    "instances": {"name": "instances", "network": UNET, "median": 3, "schedule": {"name": "adaloss", "sigma0": 3.5}},
    "foveated": {"name": "foveated", **GLIMPSES},
    "cascade": {"name": "cascade", "fine": GLIMPSES},
}


def recipe_of(name: str, folder: Path, processes: int) -> Recipe:
    """A recipe for each way to divide a loss, with batches of four images on all processes together."""
    train = {"epochs": 4, "batch_size": 4 // processes, "ema": 0.9, "accelerator": "cpu", "threads": 1}
    # glimpses make of a last digit 3 % in a few epochs at the rate of the others, also in one process
    rate = 0.0005 if name in ("foveated", "cascade") else 0.05
    train |= {} if name == "adam" else {"optimizer": {"name": "sgd", "lr": rate}}
    train |= {} if processes == 1 else {"devices": 2, "strategy": "ddp"}
    data: dict[str, Any] = {"path": str(folder / "data"), "input": {"size": [32, 32]}, "workers": 0}
    method = METHODS[name]
    if name == "transfer":
        data |= {"input": {"size": [32, 32], "channels": 3, **SEEN}, "limit": 12, "unlabelled": 2 // processes}
        source = {"weights": str(folder / "w.safetensors")}
        method = method | {"transfer": {"source": source, "loss": "encoder", "weight": 0.5}}
    if name == "cascade":
        small = {"data": {key: data[key] for key in ("input", "workers")}, "method": METHODS["heatmap"], "train": train}
        method = method | {"coarse": small}
    return parse(Recipe, {"name": name, "data": data, "method": method, "train": train})


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each method by two processes, on images of which 40 % of the points are missing."""
    folder = tmp_path_factory.mktemp("two")
    draw_missing(folder / "data")
    torch.manual_seed(7)
    weights = timm.create_model("test_resnet", num_classes=4).state_dict()
    safetensors.torch.save_file(weights, folder / "w.safetensors")
    files = [folder / f"{name}.yaml" for name in METHODS]
    for file in files:
        file.write_text(to_yaml(recipe_of(file.stem, folder, 2)))
    ended = Started(Path(__file__).with_name("two_entry.py"), folder / "out", *files).ended(LIMIT)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_learn_what_one_does(name: str, of_two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 images in batches of 4, or of 2 on each; 5 validation images are 3 on one process, 2 on the other."""
    monkeypatch.setattr(nn, "BatchNorm2d", nn.BatchNorm2d)  # put back afterwards, as is the other
    monkeypatch.setattr(FoveatedMethod, "training_guess", FoveatedMethod.training_guess)
    still()
    one = train(recipe_of(name, of_two, 1), out=of_two / "one" / name, progress=False)
    assert_near(RunFolder(of_two / "out" / name), one, weights=1e-3 if name == "adam" else 1e-5)


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
