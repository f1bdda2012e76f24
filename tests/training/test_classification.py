"""Training a source model: classes by folder or by column, learned to the last image, resumed, and what is refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import trigpoint as tp
from trigpoint.config import parse
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.recipe import SourceDataConfig, SourceRecipe, load_any_recipe, load_recipe
from trigpoint.runs import RunFolder
from trigpoint.training import train
from trigpoint.training.source import read_classes

CLASSES = ("across", "upright")


def stripes(kind: str, number: int) -> PIL.Image.Image:
    rng = np.random.default_rng((CLASSES.index(kind), number))
    wave = np.sin(2 * np.pi * (np.arange(32) / 8 + rng.random()))
    pixels = np.broadcast_to(wave if kind == "upright" else wave[:, None], (32, 32)) + 0.3 * rng.standard_normal(
        (32, 32)
    )
    return PIL.Image.fromarray(np.clip(127 + 60 * pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "stripes"
    for kind in CLASSES:
        (root / kind).mkdir(parents=True)
        for i in range(12):
            stripes(kind, i).save(root / kind / f"{i:02}.png")
    (root / "across" / "notes.txt").write_text("no image")
    (root / "readme.md").write_text("no class")
    return root


def recipe(folder: Path, **train_options: Any) -> SourceRecipe:
    values = {
        "encoder": "test_resnet",
        "data": {"path": str(folder), "val_share": 0.25, "input": {"size": [32, 32]}, "workers": 0},
        "train": {
            "epochs": 6,
            "batch_size": 6,
            "optimizer": {"lr": 0.005},
            "ema": 0.5,
            "accelerator": "cpu",
            "threads": 1,
            **train_options,
        },
    }
    return parse(SourceRecipe, values)


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(recipe(folder), out=tmp_path_factory.mktemp("runs") / "run", progress=False)


def table_set(root: Path, rows: list[str], header: str = "image,split,subject,site,t_x,t_y") -> Path:
    (root / "images").mkdir(parents=True)
    for row in rows:
        PIL.Image.new("L", (20, 10)).save(root / "images" / row.split(",")[0])
    (root / "landmarks.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "dataset.yaml").write_text("name: set\nimages: images\ntable: landmarks.csv\n")
    return root


ROWS = [f"{i}.png,{'train' if i < 6 else 'test'},s{i % 3},{'north' if i % 2 else 'south'},3,4" for i in range(9)]


# -- training ---------------------------------------------------------------------------------------------------------


def test_classes_that_differ_are_told_apart(finished: RunFolder, folder: Path) -> None:
    table = finished.history_table()
    assert table["epoch"].tolist() == list(range(1, 7))
    assert table["val_error"].iloc[-1] == 0
    assert table["train_loss"].iloc[-1] < 0.1 < table["train_loss"].iloc[0]
    weights, note = finished.load_weights()
    assert float(note["val_error"]) == 0
    assert weights["classifier.weight"].shape == (2, 96)
    assert (finished.folder / "classes.csv").read_text().split() == ["class", *CLASSES]
    for path in (finished.config, finished.last, finished.env, finished.history):
        assert path.stat().st_size > 0
    assert load_any_recipe(finished.config) == recipe(folder)


def test_each_class_is_in_both_parts(finished: RunFolder) -> None:
    parts = finished.parts()
    for part, count in (("train", 9), ("val", 3)):
        assert {kind: sum(name.startswith(kind) for name in parts[part]) for kind in CLASSES} == dict.fromkeys(
            CLASSES, count
        )
    assert not set(parts["train"]) & set(parts["val"])
    assert all(name.endswith(".png") for names in parts.values() for name in names)


def test_a_finished_run_is_left_as_it_is(finished: RunFolder, folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in finished.folder.iterdir()}
    assert train(recipe(folder), out=finished.folder, progress=False).folder == finished.folder
    with pytest.raises(RunError, match=r"another recipe \(encoder: test_resnet there, resnet10t here\)"):
        train(recipe(folder), ["encoder=resnet10t"], out=finished.folder, progress=False)
    assert {path.name: path.stat().st_mtime_ns for path in finished.folder.iterdir()} == before


def test_a_run_whose_images_changed_is_not_resumed(finished: RunFolder, folder: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.folder, tmp_path / "run"))
    stripes("across", 99).save(folder / "across" / "99.png")
    try:
        with pytest.raises(RunError, match=r"split\.csv: the run was begun with other images"):
            train(recipe(folder), out=run, progress=False)
    finally:
        (folder / "across" / "99.png").unlink()


def test_a_source_model_finds_no_landmarks(finished: RunFolder, tmp_path: Path) -> None:
    root = table_set(tmp_path / "set", ROWS)
    for attempt in (
        lambda: tp.Predictor.load(finished),
        lambda: tp.evaluate(finished, root),
        lambda: train("cross-task", [f"data.path={root}"], out=finished.folder, progress=False),
    ):
        with pytest.raises(RunError, match=r"got a source model.*method\.transfer\.source\.run="):
            attempt()
    with pytest.raises(ConfigError, match="expected a recipe that finds landmarks"):
        load_recipe("source-classes")


# -- classes ----------------------------------------------------------------------------------------------------------


def test_classes_of_a_table(tmp_path: Path) -> None:
    root = table_set(tmp_path / "set", [*ROWS, "9.png,train,,,3,4"])
    data, classes = read_classes(SourceDataConfig(path=str(root)))
    assert classes == ("s0", "s1", "s2")
    assert [sample.subject for sample in data.samples] == ["s0", "s1", "s2"] * 3  # the blank one is left out
    assert len(data.landmarks) == 0
    some, sites = read_classes(SourceDataConfig(path=str(root), column="site", splits=("train",)))
    assert sites == ("north", "south")
    assert [(s.image.name, s.subject) for s in some.samples][:2] == [("0.png", "south"), ("1.png", "north")]
    assert len(some) == 6


def test_an_image_with_several_rows_counts_once(tmp_path: Path) -> None:
    rows = [f"{i // 2}.png,,s{i // 2 % 2},,{i},4,{i % 2}" for i in range(8)]
    root = table_set(tmp_path / "set", rows, "image,split,subject,site,t_x,t_y,instance")
    (root / "dataset.yaml").write_text("name: set\nimages: images\ntable: landmarks.csv\ninstances: true\n")
    data, _ = read_classes(SourceDataConfig(path=str(root)))
    assert [sample.image.name for sample in data.samples] == ["0.png", "1.png", "2.png", "3.png"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"column": "subjct"}, DataError, r"no column 'subjct'; did you mean 'subject'"),
        ({"splits": ["trian"]}, DataError, r"unknown split 'trian'; did you mean 'train'"),
        ({"column": "image"}, DataError, "at least two images of each class.*got one of '0.png' and 8 more"),
        ({"column": "t_x"}, DataError, "at least two classes, got 1 by its column 't_x'"),
    ],
)
def test_tables_without_classes_are_refused(
    options: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    root = table_set(tmp_path / "set", ROWS)
    given = recipe(root).model_dump(mode="json")
    given["data"] |= options
    with pytest.raises(kind, match=message):
        train(parse(SourceRecipe, given), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_folders_without_classes_are_refused(folder: Path, tmp_path: Path) -> None:
    def refused(path: Path | None, kind: type[Exception], message: str, **options: Any) -> None:
        given = recipe(folder).model_dump(mode="json")
        given["data"] |= {"path": None if path is None else str(path), **options}
        with pytest.raises(kind, match=message):
            train(parse(SourceRecipe, given), out=tmp_path / "run", progress=False)
        assert not (tmp_path / "run").exists()

    refused(None, ConfigError, r"data\.path: expected a folder of images, got none; add data\.path=FOLDER")
    refused(tmp_path / "none", DataError, "got nothing there; check the path")
    refused(folder, ConfigError, r"got the folder.*remove data\.splits", splits=["train"])
    one = tmp_path / "one"
    shutil.copytree(folder / "across", one / "across")
    refused(one, DataError, "at least two classes, got 1 by its sub-folders")
    (one / "lonely").mkdir()
    stripes("upright", 0).save(one / "lonely" / "0.png")
    refused(one, DataError, "got one of 'lonely'; add images or leave it out")
    (one / "lonely" / "1.png").write_bytes(b"no image")
    refused(one, DataError, r"1\.png", cache=True)


def test_auto_epochs_follow_the_number_of_images(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trigpoint.recipe.learning.AUTO_EPOCHS", 1)
    monkeypatch.setattr("trigpoint.recipe.learning.AUTO_STEPS", 8)
    given = recipe(folder, epochs="auto")
    run = train(given, out=tmp_path / "run", progress=False)
    epochs = math.ceil(8 / math.ceil(len(run.parts()["train"]) / 6))
    assert run.source_recipe().train.epochs == run.epochs_done() == epochs > 1
    assert train(given, out=tmp_path / "run", progress=False).epochs_done() == epochs


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encodr": "resnet18"}, "unknown key 'encodr'.*'encoder'"),
        ({"task": "classify"}, "task: expected classification, got 'classify'"),
        ({"data": {"val_share": 0}}, r"data\.val_share"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)
def test_recipes_that_cannot_work_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(SourceRecipe, values)


def test_the_recipe_of_the_package_is_a_source(folder: Path) -> None:
    found = load_any_recipe("source-classes", [f"data.path={folder}"])
    assert isinstance(found, SourceRecipe)
    assert found.data.path == str(folder)
