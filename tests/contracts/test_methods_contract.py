"""Every method of the table, one suite: from a recipe to points in pixels of the original images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trigpoint as tp
from trigpoint.config import to_yaml
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import Batch, LandmarkSet
from trigpoint.methods import METHODS, LandmarkMethod, build_method
from trigpoint.recipe import Recipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train

NAMES = ("sella", "menton", "upper_incisor")
SIZE = (96, 80)
HEATMAP: dict[str, Any] = {
    "name": "heatmap",
    "network": {"name": "unet", "width": 4, "depth": 2},
    "schedule": "adaloss",
}
GLIMPSES: dict[str, Any] = {"trunk": "small", "glimpse": 16, "levels": 3, "train_iterations": 2, "train_starts": 1}
SMALL: dict[str, dict[str, Any]] = {  # what keeps the suite fast; a method that is not named runs with its defaults
    "heatmap": HEATMAP,
    "foveated": GLIMPSES,
    "cascade": {
        "coarse": {
            "data": {"input": {"size": [48, 40]}, "workers": 0},
            "method": HEATMAP,
            "train": {"epochs": 1, "batch_size": 4, "accelerator": "cpu", "threads": 1},
        },
        "fine": {**GLIMPSES, "levels": 2, "shared": True},
    },
}
SMALL["instances"] = {"network": HEATMAP["network"], "schedule": {"name": "fixed", "sigma0": 3}}
every = pytest.mark.parametrize("name", METHODS)
Trained = Callable[[str], RunFolder]


def values(name: str, data: Path | None = None, channels: int = 1) -> dict[str, Any]:
    return {
        "name": f"tiny-{name}",
        "data": {
            "path": None if data is None else str(data),
            "landmarks": list(NAMES),
            "input": {"size": list(SIZE), "channels": channels},
            "workers": 0,
        },
        "method": {"name": name, **SMALL.get(name, {})},
        "train": {"epochs": 2, "batch_size": 4, "ema": 0.9, "clip": 5.0, "accelerator": "cpu", "threads": 1},
    }


def recipe(tmp_path: Path, name: str, data: Path | None = None, channels: int = 1) -> Recipe:
    file = tmp_path / f"{name}-{channels}.yaml"
    file.write_text(to_yaml(values(name, data, channels)))
    return load_recipe(file)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Radiographs of another size than the input; one landmark is missing here and there."""
    folder = write_radiographs(tmp_path_factory.mktemp("data") / "heads", 14, size=(120, 112), seed=2)
    table = pd.read_csv(folder / "landmarks.csv", dtype=str)
    gaps = (table["split"] == "train") & (table.index % 3 == 0)
    table.loc[gaps, ["menton_x", "menton_y", "menton_v"]] = [np.nan, np.nan, "0"]
    table.to_csv(folder / "landmarks.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The finished run of a method, trained when it is first asked for."""
    place = tmp_path_factory.mktemp("runs")
    runs: dict[str, RunFolder] = {}

    def get(name: str) -> RunFolder:
        if name not in runs:
            runs[name] = train(recipe(place, name, data), out=place / name, progress=False)
        return runs[name]

    return get


def table_of(name: str) -> str:
    """Where an evaluation keeps its numbers of each landmark."""
    return "detection" if METHODS[name].several else "per_landmark"


def built(tmp_path: Path, name: str) -> LandmarkMethod:
    torch.manual_seed(0)
    return build_method(recipe(tmp_path, name), LandmarkSet(NAMES))


@every
def test_config_survives_yaml(name: str, tmp_path: Path) -> None:
    made = recipe(tmp_path, name)
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(made))
    assert load_recipe(again) == made
    assert made.method_name == name
    assert METHODS[name].Config.model_fields["name"].default == name


@every
def test_an_unknown_key_is_refused_with_the_nearest(name: str, tmp_path: Path) -> None:
    key = list(METHODS[name].Config.model_fields)[-1]
    recipe(tmp_path, name)
    with pytest.raises(ConfigError, match=rf"unknown key 'method\.{key}x'; did you mean 'method\.{key}'"):
        load_recipe(tmp_path / f"{name}-1.yaml", [f"method.{key}x=1"])
    with pytest.raises(ConfigError, match=f"unknown method '{name}x'"):
        load_recipe(tmp_path / f"{name}-1.yaml", [f"method.name={name}x"])


@every
def test_same_seed_same_weights(name: str, tmp_path: Path) -> None:
    one, two = (built(tmp_path, name).inference_network().state_dict() for _ in range(2))
    assert list(one) == list(two)
    assert all(torch.equal(value, two[key]) for key, value in one.items())


@every
def test_trains_with_missing_landmarks_and_keeps_the_record(name: str, trained: Trained) -> None:
    table = trained(name).history_table()
    error = "val_error" if METHODS[name].several else "val_mre_px"
    assert table["epoch"].tolist() == [0, 1]
    assert np.isfinite(table[["train_loss", error, "lr"]].to_numpy()).all()
    assert (table["train_loss"] > 0).all()
    assert all(value.isfinite().all() for value in trained(name).load_weights()[0].values())


@every
def test_points_are_pixels_of_the_original_image(name: str, trained: Trained, data: Path) -> None:
    """Finite for images of any size; and where each pixel becomes three by three, the points go along."""
    predictor = tp.Predictor.load(trained(name), device="cpu")
    dataset = tp.LandmarkDataset.load(data, split="test", names=NAMES)
    found = predictor.predict(dataset)
    assert found.points.shape == (len(dataset), len(NAMES), 2)
    assert found.scores.shape == found.radius.shape == found.points.shape[:2]
    assert np.isfinite(found.points).all()
    assert np.isfinite(found.scores).all()
    assert METHODS[name].several or np.isfinite(found.radius).all()  # of pairs, and there may have been none
    image = dataset.read(0).pixels[0, : SIZE[0], : SIZE[1]]
    one, larger = (predictor.predict(np.kron(image, np.ones((n, n), image.dtype))).points[0] for n in (1, 3))
    np.testing.assert_allclose((larger + 0.5) / 3 - 0.5, one, atol=0.01)


@every
def test_predictions_of_a_batch_equal_single_ones(name: str, trained: Trained, data: Path) -> None:
    predictor = tp.Predictor.load(trained(name), device="cpu")
    dataset = tp.LandmarkDataset.load(data, names=NAMES)
    whole = predictor.predict(dataset)
    single = predictor.predict(dataset, batch_size=1)
    np.testing.assert_allclose(single.points, whole.points, atol=1e-3)
    np.testing.assert_allclose(single.scores, whole.scores, atol=1e-4)


@every
def test_the_stored_run_gives_the_points_it_was_chosen_for(name: str, trained: Trained, data: Path) -> None:
    run = trained(name)
    report = tp.evaluate(run, data, split="val")
    assert report.metrics["n_landmarks"] > 0
    if not METHODS[name].several:
        assert report.metrics["mre_px"] == pytest.approx(float(run.load_weights()[1]["val_mre_px"]), rel=1e-3)
    assert set(report.metrics[table_of(name)]) == set(NAMES)
    once, again = (tp.Predictor.load(run, device="cpu").predict(report.dataset) for _ in range(2))
    np.testing.assert_allclose(once.points, again.points, atol=1e-3)


@every
def test_landmarks_are_matched_by_name(name: str, trained: Trained, data: Path, tmp_path: Path) -> None:
    """Another order of the columns changes nothing; a set that lacks a landmark is refused."""
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    table = pd.read_csv(copied / "landmarks.csv", dtype=str)
    about = [c for c in table.columns if not c.endswith(("_x", "_y", "_v"))]
    table = table[[*about, *reversed([c for c in table.columns if c not in about])]]
    table.to_csv(copied / "landmarks.csv", index=False)
    expected = tp.evaluate(trained(name), data).metrics[table_of(name)]
    assert tp.evaluate(trained(name), copied).metrics[table_of(name)] == expected
    lacking = table[[c for c in table.columns if not c.startswith("sella")]]
    lacking.to_csv(copied / "landmarks.csv", index=False)
    (copied / "dataset.yaml").write_text("name: lacking\nimages: images\ntable: landmarks.csv\n")
    with pytest.raises(DataError, match="sella"):
        tp.evaluate(trained(name), copied)


@every
def test_a_run_is_resumed_by_its_own_recipe_only(name: str, trained: Trained, data: Path, tmp_path: Path) -> None:
    run = trained(name)
    weights = run.weights.read_bytes()
    assert train(recipe(tmp_path, name, data), out=run.folder, progress=False).folder == run.folder
    assert run.weights.read_bytes() == weights  # finished: left as it is
    with pytest.raises(RunError, match=r"data\.landmarks"):
        train(recipe(tmp_path, name, data), ["data.landmarks=[menton, sella]"], out=run.folder, progress=False)


@every
def test_a_flip_without_pairs_is_refused(name: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names no pairs"):
        train(recipe(tmp_path, name, data), ["data.augment.flip=0.5"], out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@every
def test_grey_and_colour_run_alike(name: str, trained: Trained, data: Path, tmp_path: Path) -> None:
    run = train(recipe(tmp_path, name, data, channels=3), ["train.epochs=1"], out=tmp_path / "run", progress=False)
    colour, grey = tp.Predictor.load(run, device="cpu"), tp.Predictor.load(trained(name), device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (70, 60), dtype=np.uint8)
    for predictor in (colour, grey):
        one, three = predictor.predict(image), predictor.predict(np.repeat(image[..., None], 3, axis=2))
        assert np.isfinite(one.points).all()
        np.testing.assert_allclose(one.points, three.points, atol=0.1)
        with pytest.raises(DataError, match="expected finite pixel values"):
            predictor.predict(np.full((20, 20), np.nan))
        with pytest.raises(DataError, match="expected an array"):
            predictor.predict(np.zeros((20, 20, 4)))


@every
def test_predict_batch_needs_no_training(name: str, tmp_path: Path) -> None:
    method = built(tmp_path, name).eval()
    method.observe(torch.full((4, len(NAMES), 2), 30.0))
    back = torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3) * 2
    found = method.predict_batch(Batch(torch.randn(2, 1, *SIZE), torch.zeros(2, 3, 2), back, torch.arange(2)))
    assert found.points.shape == (2, 3, 2)
    assert found.points.isfinite().all()
    unknown = Batch(torch.randn(2, 1, *SIZE), torch.full((2, 3, 2), torch.nan), back, torch.arange(2))
    if method.several:
        unknown.points = unknown.points[:, None]
        unknown.annotated, unknown.heights = torch.zeros(2, 3, dtype=torch.bool), torch.full((2,), 96)
    assert method.validation_step(unknown, 0).isnan().all()  # not annotated, not counted
