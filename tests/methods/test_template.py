"""Templates: filters in closed form on frozen features, from one labelled image on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trigpoint as tp
from trigpoint.config import parse
from trigpoint.data.input.augment import InputPipeline
from trigpoint.errors import ConfigError
from trigpoint.nn.hypercolumns import Hypercolumns
from trigpoint.recipe import AugmentConfig, Recipe
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train
from trigpoint.training.planning import few, plan_for

METHOD = {"name": "template", "encoder": "test_resnet", "weights": None, "levels": [4, 8]}


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiographs without subsets."""
    folder = write_radiographs(tmp_path_factory.mktemp("few") / "heads", 6, size=(112, 96), seed=1)
    table = pd.read_csv(folder / "landmarks.csv", dtype=str, keep_default_na=False)
    table.drop(columns="split").to_csv(folder / "landmarks.csv", index=False)
    return folder


def labelled(folder: Path, count: int, out: Path) -> Path:
    """The same images, of which only the first ``count`` are labelled."""
    data = tp.LandmarkDataset.load(folder)
    left = data.subset(range(count)).followed_by(data.subset(range(count, len(data))).without_labels())
    return left.save(out)


def recipe(folder: Path, **method: Any) -> Recipe:
    data = {"path": str(folder), "input": {"size": [64, 64]}, "workers": 0, "augment": {"rotation": 5}}
    how = {"epochs": 3, "batch_size": 2, "accelerator": "cpu", "threads": 1, "val_every": 3}
    return parse(Recipe, {"data": data, "method": {**METHOD, **method}, "train": how})


def test_one_label_is_enough_and_it_finds_what_it_was_shown(heads: Path, tmp_path: Path, capsys: Any) -> None:
    folder = labelled(heads, 1, tmp_path / "one")
    run = train(recipe(folder, ridge=1e-3), out=tmp_path / "run", progress=False, plan="# as planned")
    assert run.parts()["train"] == run.parts()["val"]
    assert "says nothing of others" in " ".join(capsys.readouterr().err.split())
    assert np.isnan(run.read_landmarks().radius).all()
    data = tp.LandmarkDataset.load(folder).subset([0])
    found = tp.Predictor.load(run, device="cpu").predict(data)
    assert np.nanmedian(np.linalg.norm(found.points - data.points, axis=-1)) < 3  # px of 112 x 96
    assert train(recipe(folder, ridge=1e-3), out=run.folder, progress=False).folder == run.folder  # finished


def test_with_more_labels_some_validate(heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.training.subsets.ITSELF", 5)
    run = train(recipe(heads), out=tmp_path / "run", progress=False)
    parts = run.parts()
    assert not set(parts["train"]) & set(parts["val"])
    assert len(parts["train"]) + len(parts["val"]) == 6


def test_the_filters_solve_the_ridge_regression(heads: Path, tmp_path: Path) -> None:
    """Of one view without augmentation, against the equations written out."""
    folder = labelled(heads, 1, tmp_path / "one")
    chosen = parse(Recipe, recipe(folder).model_dump() | {"train": {"epochs": 1, "accelerator": "cpu", "threads": 1}})
    chosen = chosen.model_copy(update={"data": chosen.data.model_copy(update={"augment": AugmentConfig()})})
    run = train(chosen, out=tmp_path / "run", progress=False)
    method: Any = tp.Predictor.load(run, device="cpu").method
    sample = tp.LandmarkDataset.load(folder).samples[0]
    pipeline = InputPipeline(chosen.data.input, tp.LandmarkDataset.load(folder).landmarks)
    image, points, _ = pipeline(tp.LandmarkDataset.load(folder).read(0).pixels, sample.points, sample.visibility)
    columns = method.network.columns(image[None])[0].flatten(1).T.double()
    columns = torch.cat([columns, torch.ones(len(columns), 1)], 1)
    targets = method._targets(points[None], (16, 16))[0].double()
    square = columns.T @ columns / len(columns)
    penalty = torch.diag(0.3 * square.diagonal()[:-1].mean() * torch.ones(len(square)))
    penalty[-1, -1] = 1e-9
    expected = torch.linalg.solve(square + penalty, columns.T @ targets / len(columns)).T
    torch.testing.assert_close(method.network.filters.double(), expected, rtol=1e-3, atol=1e-4)


def test_columns_lie_where_their_cells_are() -> None:
    """A spot is brightest, in each level, at the cells next to it."""
    columns = Hypercolumns(1, "test_resnet", levels=(4, 8))
    image = torch.zeros(1, 1, 64, 96)
    moved = torch.zeros_like(image)
    image[..., 32:, 40:], moved[..., 32:, 48:] = 1.0, 1.0
    one, other = columns(image), columns(moved)
    torch.testing.assert_close(one[..., 4:-6, 4:-8], other[..., 4:-6, 6:-6], rtol=0.02, atol=0.02)  # 8 px are 2 cells
    templates = torch.randn(3, columns.width)
    expected = torch.einsum("bdhw,kd->bkhw", one, templates)
    torch.testing.assert_close(columns.responses(image, templates), expected, rtol=1e-4, atol=1e-4)


def test_levels_that_the_encoder_lacks_are_refused() -> None:
    with pytest.raises(ConfigError, match="levels: expected some of"):
        Hypercolumns(1, "test_resnet", levels=(4, 128))


def test_a_plan_takes_templates_for_a_handful_of_labels(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few, "at_hand", lambda name: True)
    one = labelled(heads, 1, tmp_path / "one")
    _, plan, values = plan_for(one, minutes=1)
    assert values["method"]["name"] == "template"
    assert "one labelled image" in plan.text()
    assert parse(Recipe, values).data.input.size == (192, 192 * 96 // 112 // 32 * 32 + 32)
    _, _, values = plan_for(one, ["data.input.size=[64, 64]"], minutes=1)
    assert values["data"]["input"]["size"] == [64, 64]
    monkeypatch.setattr(few, "at_hand", lambda name: False)
    assert few.few_labels(tp.training.planning.facts_of(*[tp.LandmarkDataset.load(one).subset([0])] * 2), {}, 1) == ""


def test_a_short_training_takes_templates_from_ten_labels(heads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few, "at_hand", lambda name: True)
    data = tp.LandmarkDataset.load(heads)
    facts = tp.training.planning.facts_of(data.subset([0]), data.subset([0]))
    taken = {n: [bool(few.few_labels(replace(facts, images=n), {}, m)) for m in (3, 4)] for n in (5, 6, 10, 11)}
    assert taken == {5: [True, True], 6: [True, False], 10: [True, False], 11: [False, False]}
