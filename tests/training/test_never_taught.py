"""Landmarks that nothing is learned of, sets with other landmarks, subsets that say little: told, and left blank."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from faults import draw, tiny

import trigpoint as tp
from trigpoint.config import to_yaml
from trigpoint.data import LandmarkDataset, split_dataset
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.prediction import Predictor, predict_files
from trigpoint.prediction.drawing import draw_predictions
from trigpoint.prediction.trace import trace
from trigpoint.recipe import load_recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.fitting import check_engine
from trigpoint.training.remarks import remarks, untaught
from trigpoint.training.subsets import dataset_of, divided

pytestmark = pytest.mark.slow


def table(folder: Path, **columns: Any) -> Path:
    """Other cells in the table of a drawn set; a callable gets the column "split"."""
    (folder / "dataset.yaml").write_text("images: images\n")
    rows = pd.read_csv(folder / "landmarks.csv")
    for name, values in columns.items():
        rows[name] = values(rows["split"]) if callable(values) else values
    rows.to_csv(folder / "landmarks.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landmark "ghost" that only validation and test images show, and one that nobody annotated."""
    folder = draw(tmp_path_factory.mktemp("drawn") / "data")
    ghost = {f"ghost_{axis}": lambda split: np.where(split == "train", np.nan, 7.5) for axis in "xy"}
    base = np.linspace(3, 20, 24)
    return table(folder, **ghost, none_x=np.nan, none_y=np.nan, base_x=base, base_y=30 - base)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(tiny(data, 1), out=tmp_path_factory.mktemp("run") / "run", progress=False)


def test_it_is_told_and_stored(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tiny(data, 1), out=tmp_path / "run", progress=False)
    told = " ".join(capsys.readouterr().err.split())
    assert "note: 'ghost', 'none': annotated in no training image, so not learned; predictions leave it blank" in told
    marks = run.read_landmarks()
    assert marks.untaught == ("ghost", "none")
    assert np.isnan(marks.radius[[marks.landmarks.index(name) for name in marks.untaught]]).all()
    train(tiny(data, 1), out=run.folder, progress=False, more_epochs=1)
    assert run.read_landmarks().untaught == ("ghost", "none")


def test_predictions_leave_it_blank(run: RunFolder, data: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(run)
    files = [sample.image for sample in LandmarkDataset.load(data, split="test").samples]
    found = predict_files(predictor, files, tmp_path / "found.csv")
    names = predictor.landmarks.names
    blank = [names.index("ghost"), names.index("none")]
    for values in (found.points[:, blank], found.scores[:, blank], found.radius[:, blank]):
        assert np.isnan(values).all()
    assert np.isfinite(np.delete(found.points, blank, axis=1)).all()
    written = pd.read_csv(tmp_path / "found.csv")
    assert written[[column for column in written if column.startswith(("ghost", "none"))]].isna().all(axis=None)
    draw_predictions(found, files, [tmp_path / f"{n}.png" for n in range(len(files))])
    assert len(list(tmp_path.glob("*.png"))) == len(files)


def test_evaluation_measures_the_others(run: RunFolder, data: Path) -> None:
    report = tp.evaluate(run, data)
    assert report.metrics["n_unpredicted"] == 0
    assert np.isnan(report.errors[:, report.dataset.landmarks.index("ghost")]).all()
    assert any("'ghost', 'none': annotated in no training image" in line for line in report.warnings)
    assert "ghost" in report.to_html()


def test_old_runs_predict_as_before(run: RunFolder, data: Path, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "old")
    old = RunFolder(tmp_path / "old")
    old.landmarks.write_text(old.landmarks.read_text().partition("untaught")[0])
    image = LandmarkDataset.load(data, split="test").samples[0].image
    assert np.isfinite(Predictor.load(old).predict(image).points).all()


def test_what_is_annotated_later_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = table(draw(tmp_path / "data"), late_x=lambda split: np.where(split == "val", 3.0, np.nan), late_y=4.0)
    rows = pd.read_csv(folder / "landmarks.csv")
    rows["late_y"] = rows["late_y"].where(rows["late_x"].notna())
    rows.to_csv(folder / "landmarks.csv", index=False)
    run = train(tiny(folder, 1), out=tmp_path / "run", progress=False)
    assert run.read_landmarks().untaught == ("late",)
    table(folder, late_x=5.0, late_y=6.0)
    train(tiny(folder, 1), ["data.on_change=accept"], out=run.folder, progress=False, more_epochs=1)
    assert run.read_landmarks().untaught == ()
    image = LandmarkDataset.load(folder, split="test").samples[0].image
    assert np.isfinite(Predictor.load(run).predict(image).points).all()


@pytest.mark.parametrize("name", ["instances", "foveated"])
def test_of_any_method(name: str) -> None:
    marks = LandmarkSet(("tip", "ghost", "base"))
    size = "[64, 64]"
    recipe = load_recipe(name, [f"data.input.size={size}"])
    torch.manual_seed(0)
    predictor = Predictor(build_method(recipe, marks), recipe, marks, np.full(3, np.nan), "cpu", untaught=["ghost"])
    if predictor.threshold is not None:
        predictor.method.threshold = 0.0
    found = predictor.predict([np.random.default_rng(0).random((64, 64))])
    for one in found.detections:
        assert np.isnan(one.points[:, 1]).all()
        assert np.isnan(one.scores[:, 1]).all()
    if predictor.method.traces:
        followed = trace(predictor, np.random.default_rng(0).random((64, 64)))
        assert np.isnan(followed.found[1]).all()
        assert len(followed.guess_path().axes) > 0
        assert followed.glimpse_stack() is not None


# -- sets with other landmarks -------------------------------------------------------------------------------


def test_fewer_and_more_landmarks_are_told(run: RunFolder, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "other")
    rows = pd.read_csv(tmp_path / "other" / "landmarks.csv")
    names = [name for name in run.read_landmarks().landmarks.names if name not in ("ghost", "none")]
    gone = names[0]
    rows = rows.drop(columns=[column for column in rows if column.startswith(f"{gone}_")])
    rows["extra_x"], rows["extra_y"] = 3.0, 4.0
    rows.to_csv(tmp_path / "other" / "landmarks.csv", index=False)
    (tmp_path / "other" / "dataset.yaml").write_text("images: images\n")
    whole, part = tp.evaluate(run, data), tp.evaluate(run, tmp_path / "other")
    said = "\n".join(part.warnings)
    assert f"'{gone}': not in" in said
    assert "'extra': not among the landmarks of the run, so not measured" in said
    k = part.dataset.landmarks.index(gone)
    assert np.isnan(part.errors[:, k]).all()
    np.testing.assert_array_equal(np.delete(part.errors, k, axis=1), np.delete(whole.errors, k, axis=1))
    assert part.metrics["per_landmark"][gone]["n_points"] == 0
    rows[["image", "split", "extra_x", "extra_y"]].to_csv(tmp_path / "other" / "landmarks.csv", index=False)
    with pytest.raises(DataError, match=r"expected landmarks of the run \(.*\), got 'extra'; rename the columns"):
        tp.evaluate(run, tmp_path / "other")


# -- remarks -------------------------------------------------------------------------------------------------


def noted(folder: Path, *overrides: str) -> str:
    recipe = load_recipe(tiny(folder, 1), list(overrides))
    whole = dataset_of(recipe)
    return "\n".join(remarks(recipe.data, divided(recipe, whole), whole))


def test_few_annotations_small_subsets_and_sentinels_are_told(tmp_path: Path) -> None:
    folder = draw(tmp_path / "data")
    assert noted(folder).splitlines() == [
        "the subset 'test' has 3 images of 3 subjects: too few for intervals of what is measured on it, which take 5"
    ]
    few = [2.0 if n < 2 else np.nan for n in range(24)]
    table(
        folder, rare_x=few, rare_y=few, mark_x=[-1.0] * 4 + [9.0 + n for n in range(20)], mark_y=[-1.0] * 4 + [5.0] * 20
    )
    text = noted(folder)
    assert "'rare': annotated in 2 of 16 training images only" in text
    assert "'rare': annotated in no validation image" in text
    assert "'mark': exactly (-1, -1) in 4 of 16 training rows" in text
    table(folder, split=lambda split: split.where(split != "test", "train"))
    assert (
        "no row is kept for a test, only for train and val; to keep some of 'train': trigpoint data split "
        f"{folder} --of train" in noted(folder)
    )
    table(folder, split="")
    text = noted(folder)
    assert (
        f"the table stores no subsets, so no image is kept for a test; to keep some: trigpoint data split {folder}"
        in text
    )
    assert "the validation subset has 4 images of 4 subjects" in text


def test_a_single_video_is_trained_by_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = table(draw(tmp_path / "data"), subject="video", split="")
    run = train(tiny(folder, 1), out=tmp_path / "drawn", progress=False)
    assert "all images are of one subject, 'video'" in " ".join(capsys.readouterr().err.split())
    names = run.parts()
    assert max(names["train"]) < min(names["val"]) or max(names["val"]) < min(names["train"])
    split_dataset(folder)
    assert train(tiny(folder, 1), out=tmp_path / "stored", progress=False).epochs_done() == 1
    report = tp.evaluate(tmp_path / "stored", folder)
    assert report.metrics["n_subjects"] == 1
    assert any(
        "4 of 4 images are of subjects that the run was trained on, such as 'video'" in w for w in report.warnings
    )
    table(folder, subject=["video", "other"] * 12)
    with pytest.raises(DataError, match=r"expected each subject in one split, .* trigpoint data split .* --force"):
        train(tiny(folder, 1), out=tmp_path / "torn", progress=False)


def test_validation_images_are_drawn_among_the_annotated_where_these_are_few(tmp_path: Path) -> None:
    few = [10.0 + n if n in (3, 9) else np.nan for n in range(24)]
    folder = table(draw(tmp_path / "data"), split="", tip_x=few, tip_y=few, tip_v="")
    for seed in range(4):
        recipe = load_recipe(tiny(folder, 1), [f"seed={seed}"])
        parts = divided(recipe, dataset_of(recipe))
        assert [(part.visibility > 0).sum() for part in parts.values()] == [1, 1]


def test_nothing_to_draw_validation_images_from(tmp_path: Path) -> None:
    folder = draw(tmp_path / "data")
    rows = pd.read_csv(folder / "landmarks.csv").head(1)
    rows.assign(split="").to_csv(folder / "landmarks.csv", index=False)
    with pytest.raises(DataError, match="expected at least 2 annotated images in the table, one to learn"):
        train(tiny(folder, 1), out=tmp_path / "run", progress=False)


def test_more_processes_than_validation_images_are_refused(tmp_path: Path) -> None:
    folder = draw(tmp_path / "data")
    rows = pd.read_csv(folder / "landmarks.csv")
    rows.loc[rows["split"] == "val", "split"] = ["val", "", "", "", ""]
    rows.to_csv(folder / "landmarks.csv", index=False)
    recipe = load_recipe(tiny(folder, 1), ["train.devices=2", "train.strategy=ddp"])
    with pytest.raises(ConfigError, match=r"got 2 processes and 1 validation image; set train\.devices=1"):
        train(recipe, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    check_engine(recipe.train, 2)


def test_untaught_of_instances(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(to_yaml({"instances": True}))
    (tmp_path / "landmarks.csv").write_text("image,instance,a_x,a_y,b_x,b_y\nx.png,1,2,3,,\nx.png,2,4,5,,\n")
    assert untaught(LandmarkDataset.load(tmp_path, check_images=False)) == ("b",)
