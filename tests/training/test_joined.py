"""Sets with different landmarks, joined by name: what an image does not annotate teaches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trigpoint as tp
from trigpoint.config import parse
from trigpoint.data.merge import merge_datasets
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import METHODS, build_method
from trigpoint.recipe import Recipe
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train

UNET = {"name": "unet", "width": 2, "depth": 1}
METHOD: dict[str, Any] = {"name": "heatmap", "network": UNET, "schedule": {"name": "fixed", "sigma0": 2.0}}


def recipe(folder: Path) -> Recipe:
    data = {"path": str(folder), "input": {"size": [48, 40]}, "workers": 0}
    return parse(
        Recipe,
        {
            "data": data,
            "method": METHOD,
            "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "threads": 1},
        },
    )


def test_two_sets_with_different_landmarks_train_together(tmp_path: Path, capsys: Any) -> None:
    sets = []
    for i, names in enumerate((("sella", "menton"), ("menton", "upper_incisor"))):
        folder = write_radiographs(tmp_path / f"ward{i}", 12, size=(56, 48), seed=i)
        sets.append(tp.LandmarkDataset.load(folder, names=names))
    joined = merge_datasets(sets, ["one", "two"]).save(tmp_path / "joined")
    run = train(recipe(joined), out=tmp_path / "run", progress=False)
    told = " ".join(capsys.readouterr().err.split())
    images = len(run.parts()["train"])
    assert f"of {images} training images not all annotate each landmark" in told
    assert "'sella' in" in told
    assert "'upper_incisor' in" in told
    assert "'menton' in" not in told
    assert run.read_landmarks().untaught == ()
    per_landmark = tp.evaluate(run, joined, split="test").metrics["per_landmark"]
    assert all(np.isfinite(per_landmark[name]["mre_px"]) for name in ("sella", "menton", "upper_incisor"))
    assert per_landmark["menton"]["n"] == per_landmark["sella"]["n"] + per_landmark["upper_incisor"]["n"]


def test_an_unannotated_landmark_gets_no_gradient_and_adds_no_loss() -> None:
    names = ("a", "b", "c")
    method = build_method(parse(Recipe, {"method": METHOD}), LandmarkSet(names)).train()
    images = torch.randn(2, 1, 48, 40, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[10.0, 10.0], [20.0, 20.0], [30.0, 30.0]]]).repeat(2, 1, 1)
    back = torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3)

    def loss_of(given: torch.Tensor) -> torch.Tensor:
        method.zero_grad()
        loss = method.training_step(Batch(images, given, back, torch.arange(2)), 0)
        loss.backward()  # type: ignore[union-attr]
        assert isinstance(loss, torch.Tensor)
        return loss.detach()

    masked = points.clone()
    masked[:, 1] = torch.nan
    some = loss_of(masked)
    last = [module for module in method.network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    assert last.weight.grad is not None
    assert last.bias is not None
    assert last.bias.grad is not None
    assert (last.weight.grad[1] == 0).all()
    assert last.bias.grad[1] == 0
    assert (last.weight.grad[[0, 2]] != 0).any()
    masked[:, 1] = torch.nan
    other = masked.clone()
    assert torch.equal(loss_of(other), some)
    assert loss_of(points) != some  # it does add where it is annotated


@pytest.mark.parametrize("name", ["template"])
def test_templates_take_no_target_from_it(name: str, tmp_path: Path) -> None:
    assert name in METHODS
    method: Any = build_method(
        parse(Recipe, {"method": {"name": name, "encoder": "test_resnet", "weights": None, "levels": [4, 8]}}),
        LandmarkSet(("a", "b")),
    )
    points = torch.tensor([[[10.0, 10.0], [torch.nan, torch.nan]]])
    targets = method._targets(points, (8, 8))
    assert targets[..., 1].abs().max() == 0
    assert targets[..., 0].max() > 0.5
