"""docs/extending.md promises it: a method of one's own is one class and one line, and everything works with it.

Here are one that finds any number of instances and one that finds exactly one of each landmark. Nothing else is told of
them: they train, resume, calibrate, predict, are measured and written as tables.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import trigpoint as tp
from same_runs import assert_same
from spots import SIZE, write_spots
from trigpoint.config import parse
from trigpoint.geometry import from_grid, map_points
from trigpoint.landmarks import Batch, Detections
from trigpoint.methods import METHODS, LandmarkMethod
from trigpoint.prediction import write_predictions
from trigpoint.recipe import Recipe
from trigpoint.synthetic import write_catheter
from trigpoint.training.callbacks import Recorder


def convolutions(channels: int, outputs: int, width: int) -> nn.Sequential:
    """Maps of half the resolution."""
    first = nn.Conv2d(channels, width, 4, 2, 1)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(width, width, 5, 1, 2), nn.ReLU(), nn.Conv2d(width, outputs, 1))


class Own(LandmarkMethod):
    """What both have in common: a small network, and the mean loss of an epoch."""

    class Config(LandmarkMethod.Config):
        """Options of both."""

        width: int = 8
        """Channels of the convolutions."""

    def __init__(self, method, landmark_names, channels, input_size, epochs=None, ema=0.0):  # type: ignore[no-untyped-def]
        super().__init__(landmark_names, ema)
        self.network = convolutions(channels, len(landmark_names), method.width)
        self.keep_average()
        self.losses: list[float] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(self.network(batch.images), batch.points)
        self.losses.append(loss.item())
        return loss

    def on_train_epoch_end(self) -> None:
        self.epoch_loss = sum(self.losses) / len(self.losses)
        self.losses.clear()


class Peaks(Own):
    """Any number of instances: each local maximum of a map that learns how near the next instance is."""

    threshold = 0.3

    def loss(self, maps: Tensor, points: Tensor) -> Tensor:
        """Squared error to the highest of the Gaussians around ``points`` (B, M, K, 2), sd 2 cells."""
        y, x = torch.meshgrid(*(torch.arange(n) for n in maps.shape[-2:]), indexing="ij")
        cells = from_grid(torch.stack([x, y], -1).double(), 2.0).to(points)  # (h, w, 2)
        away = (cells - points[..., None, None, :]).square().sum(-1)  # (B, M, K, h, w), NaN = no such instance
        target = (-away / 32).exp().nan_to_num(0.0)
        empty = target.new_zeros(len(target), 1, *target.shape[2:])
        return (maps - torch.cat([target, empty], dim=1).amax(1)).square().mean()

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        maps = self.inference_network()(batch.images)
        peaks = (maps == functional.max_pool2d(maps, 5, 1, 2)) & (maps > self.threshold)
        scores, cells = torch.where(peaks, maps, 0.0).flatten(2).topk(8, dim=2)  # (B, K, M), the best first
        grid = torch.stack([cells % maps.shape[-1], cells // maps.shape[-1]], -1).double()
        points = map_points(batch.to_original, from_grid(grid, 2.0))
        points = torch.where(scores[..., None] > 0, points, torch.nan)
        return Detections(points.transpose(1, 2), scores.transpose(1, 2))


class Centres(Own):
    """Exactly one of each landmark: the centre of mass of a softmaxed map."""

    def centres(self, maps: Tensor) -> Tensor:
        """Points (B, K, 2) in input pixels."""
        shares = maps.flatten(2).softmax(-1).reshape(maps.shape)
        x, y = (shares.sum(axis) @ torch.arange(shares.shape[3 - i], dtype=maps.dtype) for i, axis in ((0, 2), (1, 3)))
        return from_grid(torch.stack([x, y], -1), 2.0)

    def loss(self, maps: Tensor, points: Tensor) -> Tensor:
        """Distance along the axes, of what is annotated."""
        return (self.centres(maps) - points)[points.isfinite()].abs().mean()

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        maps = self.inference_network()(batch.images)
        points = map_points(batch.to_original, self.centres(maps))
        return Detections(points[:, None], maps.flatten(2).softmax(-1).amax(-1)[:, None])


OWN: dict[str, type[LandmarkMethod]] = {"peaks": Peaks, "centres": Centres}


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    METHODS.update(OWN)
    yield
    for name in OWN:
        del METHODS[name]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "peaks": write_spots(folder / "spots", 36),
        "centres": write_catheter(folder / "tips", 24, size=SIZE, seed=1),
    }


def recipe(name: str, data: Path, epochs: int) -> Recipe:
    train: dict[str, Any] = {"epochs": epochs, "batch_size": 4, "ema": 0.5, "optimizer": {"lr": 0.01}}
    values = {
        "data": {"path": str(data), "input": {"size": list(SIZE)}, "workers": 0},
        "method": {"name": name, "width": 12},
        "train": {**train, "accelerator": "cpu", "threads": 1},
    }
    return parse(Recipe, values)


@pytest.mark.parametrize("name", OWN)
def test_it_trains_resumes_predicts_is_measured_and_written(
    name: str, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, killed, end = recipe(name, data[name], epochs=12), tmp_path / "killed", Recorder.on_train_epoch_end

    def keep_first(self: Recorder, trainer: Any, module: Any) -> None:
        end(self, trainer, module)
        if not killed.exists():
            shutil.copytree(self.run.folder, killed)

    monkeypatch.setattr(Recorder, "on_train_epoch_end", keep_first)
    run = tp.train(wanted, out=tmp_path / "run", progress=False)
    assert run.recipe() == wanted
    assert_same(tp.train(wanted, out=killed, progress=False), run)
    table, marks = run.history_table(), run.read_landmarks()
    assert table["train_loss"].iloc[-1] < table["train_loss"].iloc[0]

    predictor = tp.Predictor.load(run, device="cpu")
    dataset = tp.LandmarkDataset.load(data[name], split="test")
    names = [Path(image.image).name for image in dataset.instances_by_image()]
    found = predictor.predict(dataset, names=names)
    assert len(found) == len(names)
    report = tp.evaluate(run, data[name])
    assert report.to_html()
    copied = Path(shutil.copytree(data[name], tmp_path / "data"))
    read = tp.LandmarkDataset.load(write_predictions(copied / "found.csv", found)).instances_by_image()
    for image, one in zip(read, found.detections, strict=True):
        np.testing.assert_allclose(image.points, one.points, atol=1e-3)

    if METHODS[name].threshold is None:
        assert np.isfinite(report.metrics["mre_px"])
        assert marks.radius.shape == (len(marks.landmarks),)  # calibrated, though too few images give a number
    else:
        assert predictor.threshold == marks.threshold
        assert report.metrics["detection"]["light"]["f1"] > 0.8
        assert max(len(one) for one in found.detections) > 1
