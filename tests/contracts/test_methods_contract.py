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
import torchmetrics

import trigpoint as tp
from trigpoint.config import to_yaml
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.landmarks import Batch, LandmarkSet, Prediction
from trigpoint.methods import METHODS, LandmarkMethod, build_method
from trigpoint.prediction import write_predictions
from trigpoint.prediction.trace import trace
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
SMALL["template"] = {"encoder": "test_resnet", "weights": None, "levels": [4, 8, 16]}
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


def built(tmp_path: Path, name: str) -> LandmarkMethod:
    torch.manual_seed(0)
    return build_method(recipe(tmp_path, name), LandmarkSet(NAMES))


def error_of(name: str, tmp_path: Path) -> str:
    """The column of ``metrics.csv`` that chooses the weights."""
    return built(tmp_path, name).validation_metric().columns[0]


def all_of(predictor: tp.Predictor, images: Any) -> Prediction:
    """What is found, however uncertain."""
    return predictor.predict(images, threshold=None if predictor.threshold is None else 1e-6)


def batch_of(method: LandmarkMethod, count: int = 2, marked: float = float("nan")) -> Batch:
    """Noise as images, twice as large in the original, with all points at one place or none."""
    images = torch.randn(count, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    back = torch.eye(2, 3, dtype=torch.float64).expand(count, 2, 3) * 2
    batch = Batch(images, torch.full((count, len(NAMES), 2), marked), back, torch.arange(count))
    if method.threshold is not None:
        batch.points = batch.points[:, None]
        batch.annotated = batch.points.isfinite().all(-1).any(1)
        batch.heights = torch.full((count,), 2 * SIZE[0])
    return batch


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
def test_trains_with_missing_landmarks_and_keeps_the_record(name: str, trained: Trained, tmp_path: Path) -> None:
    table = trained(name).history_table()
    assert table["epoch"].tolist() == [1, 2]
    assert np.isfinite(table[["train_loss", error_of(name, tmp_path), "lr"]].to_numpy()).all()
    assert (table["train_loss"] > 0).all()
    assert all(value.isfinite().all() for value in trained(name).load_weights()[0].values())


@every
def test_the_first_number_of_validation_chooses_the_weights(name: str, trained: Trained, tmp_path: Path) -> None:
    metric, table = built(tmp_path, name).validation_metric(), trained(name).history_table()
    assert isinstance(metric, torchmetrics.Metric)
    assert set(metric.columns) < set(table.columns)
    errors = table[metric.columns[0]]
    _, note = trained(name).load_weights()
    assert int(note["epoch"]) == table["epoch"][errors.idxmin()]
    assert float(note[metric.columns[0]]) == pytest.approx(errors.min(), abs=1e-5)
    metric.show_in(trained(name).read_landmarks().spacing_mm)
    assert metric.told(table.iloc[errors.idxmin()].to_dict()) == note["validated"]


@every
def test_what_is_calibrated_on_the_validation_images_is_stored(name: str, trained: Trained, data: Path) -> None:
    predictor, stored = tp.Predictor.load(trained(name), device="cpu"), trained(name).read_landmarks()
    validation = tp.LandmarkDataset.load(data, split="val", names=NAMES)
    expected = predictor.method.calibrate(predictor.candidates(validation), validation)
    np.testing.assert_allclose(stored.radius, expected.radius, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(predictor.radii, stored.radius)
    if expected.threshold is None:
        assert stored.threshold is None
        assert np.isnan(stored.radius).all()  # of two images
        every = tp.LandmarkDataset.load(data, names=NAMES)
        assert np.isfinite(predictor.method.calibrate(predictor.candidates(every), every).radius).all()
    else:  # radii of pairs, of which there may be none
        assert predictor.threshold == stored.threshold == pytest.approx(expected.threshold, rel=1e-3)


@every
def test_what_it_begins_from_is_trained_into_folders_of_their_names(name: str, trained: Trained) -> None:
    run = trained(name)
    stages = run.recipe().method.stages()
    inside = {folder.parent.name for folder in run.folder.glob("*/config.yaml")}
    assert inside == {key for key, stage in stages.items() if stage.recipe is not None}
    for key in inside:
        stage = RunFolder(run.folder / key)
        assert stage.epochs_done() == stage.recipe().train.num_epochs
        assert stage.parts() == run.parts()


@every
def test_points_are_pixels_of_the_original_image(name: str, trained: Trained, data: Path) -> None:
    """Finite for images of any size; and where each pixel becomes three by three, the points go along."""
    predictor = tp.Predictor.load(trained(name), device="cpu")
    dataset = tp.LandmarkDataset.load(data, split="test", names=NAMES)
    found = all_of(predictor, dataset)
    assert found.points.shape == (len(dataset), len(NAMES), 2)
    assert found.scores.shape == found.radius.shape == found.points.shape[:2]
    finite = np.isfinite(found.points)  # of instances, there may be none
    assert finite.any() if predictor.threshold is not None else finite.all()
    assert np.array_equal(np.isfinite(found.scores), np.isfinite(found.points).all(-1))
    image = dataset.read(0).pixels[0, : SIZE[0], : SIZE[1]]
    one, larger = (all_of(predictor, np.kron(image, np.ones((n, n), image.dtype))).points[0] for n in (1, 3))
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
    report, note = tp.evaluate(run, data, split="val"), run.load_weights()[1]
    assert report.metrics["n_landmarks"] > 0
    if report.detected is None:
        assert report.metrics["mre_px"] == pytest.approx(float(note["val_mre_px"]), rel=1e-3)
        assert set(report.metrics["per_landmark"]) == set(NAMES)
    else:
        rows = report.metrics["detection"]
        assert set(rows) == set(NAMES)
        row = run.history_table().set_index("epoch").loc[int(note["epoch"])]
        assert np.mean([one["f1"] for one in rows.values()]) == pytest.approx(row["val_f1"], abs=1e-6)
    once, again = (tp.Predictor.load(run, device="cpu").predict(report.dataset) for _ in range(2))
    np.testing.assert_allclose(once.points, again.points, atol=1e-3)


@every
def test_landmarks_are_matched_by_name(name: str, trained: Trained, data: Path, tmp_path: Path) -> None:
    """Another order of the columns changes nothing; of a set that lacks a landmark, the others are measured."""
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    table = pd.read_csv(copied / "landmarks.csv", dtype=str)
    about = [c for c in table.columns if not c.endswith(("_x", "_y", "_v"))]
    table = table[[*about, *reversed([c for c in table.columns if c not in about])]]
    table.to_csv(copied / "landmarks.csv", index=False)
    expected, found = (tp.evaluate(trained(name), folder).metrics for folder in (data, copied))
    numbers = "per_landmark" if "per_landmark" in expected else "detection"
    assert found[numbers] == expected[numbers]
    lacking = table[[c for c in table.columns if not c.startswith("sella")]]
    lacking.to_csv(copied / "landmarks.csv", index=False)
    (copied / "dataset.yaml").write_text("name: lacking\nimages: images\ntable: landmarks.csv\n")
    report = tp.evaluate(trained(name), copied)
    assert any("'sella'" in warning and "not measured" in warning for warning in report.warnings)
    found = report.metrics
    for mark in NAMES[1:]:  # the set states no spacing now
        given, wanted = found[numbers][mark], expected[numbers][mark]
        kept = [key for key in given if "mm" not in key and "sdr" not in key]
        assert kept
        assert {key: given[key] for key in kept} == {key: wanted[key] for key in kept}


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
        one, three = all_of(predictor, image), all_of(predictor, np.repeat(image[..., None], 3, axis=2))
        finite = np.isfinite(one.points)
        assert finite.any() if predictor.threshold is not None else finite.all()
        np.testing.assert_allclose(one.points, three.points, atol=0.1)
        with pytest.raises(DataError, match="expected finite pixel values"):
            predictor.predict(np.full((20, 20), np.nan))
        with pytest.raises(DataError, match="expected an array"):
            predictor.predict(np.zeros((20, 20, 4)))


@every
def test_detections_need_no_training(name: str, tmp_path: Path) -> None:
    method = built(tmp_path, name).eval()
    method.observe(torch.full((4, len(NAMES), 2), 30.0))
    found = method.predict(batch_of(method))
    instances = found.points.shape[1]
    assert found.points.shape == (2, instances, len(NAMES), 2)
    assert found.scores.shape == (2, instances, len(NAMES))
    assert all(values.shape == found.scores.shape for values in found.numbers.values())
    there = found.points.isfinite().all(-1)
    if method.threshold is None:
        assert instances == 1
        assert there.all()
    else:
        assert torch.equal(there, found.scores > method.threshold)
        assert (found.scores[~there] == 0).all()
        assert (found.scores.diff(dim=1) <= 0).all()  # the best first
        with method.above(1e9):
            assert not method.predict(batch_of(method)).points.isfinite().any()
        assert torch.equal(method.predict(batch_of(method)).scores, found.scores)  # as before


@every
def test_what_is_not_annotated_is_not_measured(name: str, tmp_path: Path) -> None:
    method = built(tmp_path, name).eval()
    method.observe(torch.full((4, len(NAMES), 2), 30.0))
    method.metric = method.validation_metric()
    method.validation_step(batch_of(method), 0)
    assert np.isnan(list(method.metric.compute().values())).all()
    method.validation_step(batch_of(method, marked=30.0), 0)
    assert np.isfinite(method.metric.compute()[method.metric.columns[0]])


@every
def test_a_report_loads_no_model_when_it_is_rendered(
    name: str, trained: Trained, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tp.evaluate(trained(name), data)

    def refuse(*given: object, **options: object) -> None:
        raise AssertionError("a model was loaded or applied")

    monkeypatch.setattr(tp.Predictor, "load", refuse)
    monkeypatch.setattr(METHODS[name], "predict", refuse)
    assert "Typical images" in report.to_html()


@every
def test_predictions_are_written_as_a_native_table(name: str, trained: Trained, data: Path, tmp_path: Path) -> None:
    images = sorted(Path(shutil.copytree(data / "images", tmp_path / "images")).iterdir())[:3]
    predictor = tp.Predictor.load(trained(name), device="cpu")
    found = predictor.predict(images, names=[image.name for image in images])
    read = tp.LandmarkDataset.load(write_predictions(tmp_path / "found.csv", found), check_images=False)
    for image, one in zip(read.instances_by_image(), found.detections, strict=True):
        np.testing.assert_allclose(image.points, one.points, atol=1e-3)


@every
def test_what_only_some_can_do_is_said_or_refused(name: str, trained: Trained, data: Path) -> None:
    predictor, image = tp.Predictor.load(trained(name), device="cpu"), next((data / "images").iterdir())
    if METHODS[name].traces:
        found = trace(predictor, image)
        np.testing.assert_allclose(found.found, predictor.predict(image).points[0], atol=1e-3)
    else:
        with pytest.raises(RunError, match=f"got {name}, which looks at no glimpses"):
            trace(predictor, image)
    if METHODS[name].heatmaps is not LandmarkMethod.heatmaps:
        assert predictor.heatmaps(image)[0].shape[0] == len(NAMES)
    else:
        with pytest.raises(RunError, match="expected a run of a method with heatmaps"):
            predictor.heatmaps(image)
