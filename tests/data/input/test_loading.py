"""Batches: every image once an epoch, no lonely image, shares of processes, an order that depends on seed and epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from trigpoint.data import LandmarkDataset
from trigpoint.data.input.augment import InputPipeline
from trigpoint.data.input.loading import EpochBatches, InputDataset, InstanceInputs, collate, loader
from trigpoint.data.input.skips import SkipLog
from trigpoint.errors import DataError
from trigpoint.landmarks import Batch
from trigpoint.recipe import AugmentConfig, InputConfig
from trigpoint.synthetic import write_catheter, write_instruments


@pytest.mark.parametrize(("count", "size"), [(1, 4), (5, 4), (9, 4), (17, 16), (32, 8)])
def test_every_image_once_and_batches_of_nearly_one_size(count: int, size: int) -> None:
    batches = EpochBatches(count, size, seed=3, shuffle=True)
    batches.set_epoch(2)
    parts = list(batches)
    assert len(parts) == len(batches)
    assert sorted(position for part in parts for _, position in part) == list(range(count))
    assert {epoch for part in parts for epoch, _ in part} == {2}
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= size


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[tuple[int, int]]]:
        batches = EpochBatches(20, 4, seed, shuffle=True)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(0, 5) == order(0, 5)
    assert order(0, 5) != order(1, 5)
    assert [p for part in order(0, 5) for _, p in part] != [p for part in order(0, 6) for _, p in part]


@pytest.mark.parametrize("count", [7, 8, 13])
def test_processes_share_the_work(count: int) -> None:
    training = [list(EpochBatches(count, 2, 0, True, rank, 3)) for rank in range(3)]
    assert len({len(parts) for parts in training}) == 1  # or the processes would wait for each other for ever
    used = [position for parts in training for part in parts for _, position in part]
    assert set(used) == set(range(count))
    validation = [list(EpochBatches(count, 2, 0, False, rank, 3)) for rank in range(3)]
    counted = sorted(position for parts in validation for part in parts for _, position in part)
    assert counted == list(range(count))  # each counts once


def test_workers_and_cache_give_the_same_batches(tmp_path: Path) -> None:
    dataset = LandmarkDataset.load(write_catheter(tmp_path / "set", 7, size=32))
    augment = AugmentConfig(rotation=20, scale=(0.9, 1.1), noise=0.1)
    found = []
    for workers, cache in ((0, False), (1, True)):
        pipeline = InputPipeline(InputConfig(size=(32, 32)), dataset.landmarks, augment)
        data = InputDataset(dataset, pipeline, seed=1, cache=cache)
        data.preload()
        batches = EpochBatches(len(data), 3, seed=1, shuffle=True)
        batches.set_epoch(4)
        found.append(list(loader(data, batches, workers)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.points, other.points)
        assert torch.equal(one.index, other.index)


def test_validation_is_not_augmented(tmp_path: Path) -> None:
    dataset = LandmarkDataset.load(write_catheter(tmp_path / "set", 5, size=32))
    pipeline = InputPipeline(InputConfig(size=(32, 32)), dataset.landmarks, AugmentConfig(rotation=90))
    data = InputDataset(dataset, pipeline)
    batch = collate([data[index] for part in EpochBatches(5, 8) for index in part])
    np.testing.assert_allclose(batch.points.numpy(), dataset.points, atol=1e-4)


def test_several_instances_are_refused(tmp_path: Path) -> None:
    dataset = LandmarkDataset.load(write_instruments(tmp_path / "set", 4, size=(48, 64)))
    with pytest.raises(DataError, match="multi-instance set"):
        InputDataset(dataset, InputPipeline(InputConfig(), dataset.landmarks))


def test_a_loader_can_pin_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[tuple[int, ...]] = []

    def pin(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
        pinned.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)  # itself it needs a GPU
    batch = Batch(torch.rand(2, 1, 8, 8), torch.rand(2, 1, 2), torch.rand(2, 2, 3), torch.tensor([0, 1]))
    out = pin_memory(batch)
    assert isinstance(out, Batch)
    assert pinned == [(2, 1, 8, 8), (2, 1, 2), (2, 2, 3), (2,)]
    assert out.annotated is None


@pytest.mark.parametrize("training", [True, False])
def test_prepared_samples_are_those_of_every_epoch(tmp_path: Path, training: bool) -> None:
    dataset = LandmarkDataset.load(write_catheter(tmp_path / "set", 5, size=32))
    pipeline = InputPipeline(InputConfig(size=(24, 40)), dataset.landmarks)
    plain, kept = InputDataset(dataset, pipeline, 1), InputDataset(dataset, pipeline, 1, cache=True)
    kept.preload()
    assert kept.prepare(training)
    assert kept.cache == {}  # the network's inputs are in the place of the decoded images
    for epoch in (0, 3) if training else (-1,):
        for position in range(5):
            for one, other in zip(plain[epoch, position], kept[epoch, position], strict=True):
                assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))
    assert kept[0 if training else -1, 2][0] is kept[0 if training else -1, 2][0]  # and not made again


@pytest.mark.parametrize("threads", [1, 5])
def test_images_are_read_side_by_side_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """More images than are read ahead; one that is damaged is skipped, or is the error that is told."""
    folder = write_catheter(tmp_path / "set", 45, size=32)
    dataset = LandmarkDataset.load(folder)
    monkeypatch.setattr("trigpoint.data.input.loading.usable_cores", lambda: threads)
    data = InputDataset(dataset, InputPipeline(InputConfig(size=(24, 40)), dataset.landmarks), cache=True)
    damaged = [dataset.samples[position].image for position in (7, 30)]
    for file in damaged:
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match=damaged[0].name):
        data.preload()
    data.skips = SkipLog("train")
    data.preload()
    assert sorted(data.cache or {}) == [position for position in range(45) if position not in (7, 30)]
    assert data.prepare(True)
    assert list(data.ready) == [position for position in range(45) if position not in (7, 30)]
    assert all(item[-1] == position for position, item in data.ready.items())


def test_prepared_are_instances_too(tmp_path: Path) -> None:
    dataset = LandmarkDataset.load(write_instruments(tmp_path / "set", 3, size=(32, 40)))
    pipeline = InputPipeline(InputConfig(size=(32, 40)), dataset.landmarks)
    plain, kept = InstanceInputs(dataset, pipeline), InstanceInputs(dataset, pipeline, cache=True)
    assert kept.prepare(True)
    one, other = (collate([data[0, i] for i in range(3)]) for data in (plain, kept))
    assert torch.equal(one.images, other.images)
    assert one.points.allclose(other.points, equal_nan=True)


@pytest.mark.parametrize(
    ("cache", "augment", "free"), [(False, {}, 1e9), (True, {"noise": 0.1}, 1e9), (True, {}, 2 * 5 * 24 * 40 * 4 - 1)]
)
def test_what_varies_or_is_too_much_is_not_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: bool, augment: dict[str, Any], free: float
) -> None:
    dataset = LandmarkDataset.load(write_catheter(tmp_path / "set", 5, size=32))
    monkeypatch.setattr("trigpoint.data.input.loading.free_memory", lambda: free)
    pipeline = InputPipeline(InputConfig(size=(24, 40)), dataset.landmarks, AugmentConfig(**augment))
    data = InputDataset(dataset, pipeline, cache=cache)
    assert not data.prepare(True)
    assert not data.ready


def test_every_augmentation_varies() -> None:
    off = AugmentConfig()
    assert not off.varies
    assert not AugmentConfig(elastic_spacing=50, erase_area=(0.1, 0.2), drop_outside=False, swap=False).varies
    other = {"scale": (0.9, 1.0), "erase_area": (0.1, 0.2), "drop_outside": False}
    for name in set(AugmentConfig.model_fields) - {"elastic_spacing", "erase_area", "drop_outside", "swap"}:
        assert AugmentConfig(**{name: other.get(name, 0.5)}).varies, name


def test_a_batch_moves_to_a_device_without_its_index() -> None:
    batch = Batch(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), torch.tensor([3]))
    moved = batch.to("meta")
    assert all(part.is_meta for part in (moved.images, moved.points, moved.to_original))
    assert moved.index.tolist() == [3]
    assert moved.annotated is None
