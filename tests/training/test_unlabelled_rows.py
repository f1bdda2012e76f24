"""Images without labels in the table take no place among those that validate or are measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from trigpoint.config import parse
from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.evaluation import evaluate
from trigpoint.recipe import Recipe
from trigpoint.synthetic import write_catheter
from trigpoint.training import train
from trigpoint.training.subsets import divided

POINTS = ["tip_x", "tip_y"]


def recipe(data: Path) -> Recipe:
    values = {
        "data": {"path": str(data), "input": {"size": [32, 32]}, "workers": 0, "val_share": 0.25},
        "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "fixed"},
        "train": {"epochs": 1, "batch_size": 4, "accelerator": "cpu"},
    }
    return parse(Recipe, values)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """24 images, the last 12 without labels; pixel sizes are known of the others only; no subsets."""
    data = write_catheter(tmp_path / "half", 24, 32)
    table = pd.read_csv(data / "landmarks.csv")[["image", *POINTS]]
    table.loc[12:, POINTS] = None
    table["spacing_mm"] = [0.5] * 12 + [None] * 12
    table.to_csv(data / "landmarks.csv", index=False)
    return data


def test_labelled_images_are_divided(half: Path) -> None:
    parts = divided(recipe(half), LandmarkDataset.load(half))
    assert {name: len(part) for name, part in parts.items()} == {"train": 9, "val": 3}
    for part in parts.values():
        assert (part.visibility > 0).all()


def test_those_of_a_named_subset_do_not_validate(half: Path) -> None:
    table = pd.read_csv(half / "landmarks.csv")
    table["split"] = ["train"] * 8 + ["val"] * 4 + ["train"] * 6 + ["val"] * 6
    table.to_csv(half / "landmarks.csv", index=False)
    parts = divided(recipe(half), LandmarkDataset.load(half))
    assert {name: len(part) for name, part in parts.items()} == {"train": 8, "val": 4}
    table.loc[8:11, POINTS] = None
    table.to_csv(half / "landmarks.csv", index=False)
    with pytest.raises(DataError, match="expected annotated landmarks in the validation subset, got none"):
        divided(recipe(half), LandmarkDataset.load(half))


@pytest.mark.slow
def test_those_are_not_measured(half: Path, tmp_path: Path) -> None:
    run = train(recipe(half), out=tmp_path / "run", progress=False)
    report = evaluate(run, half, split=None)
    assert report.metrics["n_images"] == 12
    assert report.metrics["mre_mm"] == pytest.approx(0.5 * report.metrics["mre_px"])
    assert "12 of 24 images: not annotated, so not measured" in report.warnings
