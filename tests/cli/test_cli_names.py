"""What predict writes, every command reads: wherever images, table and working folder are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_entry import call
from PIL import Image

import trigpoint as tp
from trigpoint.landmarks import ImageDetections, LandmarkSet, Prediction
from trigpoint.prediction import write_predictions


@pytest.fixture
def place(drawn: Path, tmp_path: Path) -> Path:
    """Photographs in two folders beside a working folder, which holds others of the same names."""
    for folder, first in (("photos/one", 0), ("photos/two", 8), ("work/images", 16), ("work/images/photos/one", 17)):
        (tmp_path / folder).mkdir(parents=True)
        for k in range(6):
            source = drawn / "images" / f"{(first + k) % 24:05d}.png"
            shutil.copy(source, tmp_path / folder / f"{k}.png")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / ".hidden").mkdir()
    shutil.copy(tmp_path / "photos" / "one" / "0.png", tmp_path / "photos" / ".hidden")
    (tmp_path / "photos" / "two" / "back").symlink_to(tmp_path / "photos")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ("../photos", "out/p.csv"),
        ("{}/photos", "predictions.csv"),
        ("photos", "{}/far/p.csv"),
        ("photos", "predictions.csv"),
    ],
)
def test_predictions_are_read_by_every_command(
    given: str, out: str, place: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place / "work")
    if given == "photos":
        shutil.move(place / "photos", place / "work" / "photos")
        (place / "work/photos/two/back").unlink()
    given, out = given.format(place), out.format(place)
    result = call("predict", trained, given, "--out", out, "--overlay", "drawn")
    assert result.exit_code == 0, result.output
    assert "passed over 1 other file" in result.stderr
    assert len(list(Path("drawn").iterdir())) == 12
    photos = (place / "work" / given).resolve()
    table = Path(out).resolve()
    monkeypatch.chdir(place)
    data = tp.LandmarkDataset.load(table)
    assert [sample.image.resolve() for sample in data.samples] == [
        photos / folder / f"{k}.png" for folder in ("one", "two") for k in range(6)
    ]
    check = call("data", "check", table)
    assert check.exit_code == 0, check.output
    assert ("note: " in check.stdout) is (not photos.is_relative_to(table.parent))
    assert call("data", "show", table, "--out", "sheet.png").exit_code == 0
    converted = call("data", "convert", table, "--from", "native", "--out", "again")
    assert converted.exit_code == 0, converted.output
    again = tp.LandmarkDataset.load("again")
    for one, other in zip(data.samples, again.samples, strict=True):
        assert one.image.read_bytes() == other.image.read_bytes()
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.scores, other.scores)
    assert call("data", "split", table).exit_code == 0
    measured = call("evaluate", trained, "--data", table, "--json", "-")
    assert measured.exit_code == 0, measured.output


def test_predictions_can_be_trained_on(
    place: Path, trained: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place / "work")
    assert call("predict", trained, "../photos", "--out", "p.csv").exit_code == 0
    command = ("train", recipe, "data.path=p.csv", "train.epochs=1", "--out", place / "run", "--quiet")
    assert call(*command).exit_code == 0
    monkeypatch.chdir(place)  # the same run, resumed from elsewhere
    command = ("train", recipe, "data.path=work/p.csv", "train.epochs=1", "--out", place / "run", "--quiet")
    result = call(*command)
    assert "all 1 epochs are done" in result.stderr, result.output


def test_predictions_of_several_instances(
    instances_run: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, images = instances_run
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert call("predict", run, images, "--out", "p.csv").exit_code == 0
    table = pd.read_csv("p.csv")
    monkeypatch.chdir(tmp_path)
    if table.filter(like="_x").notna().any(axis=None):
        data = tp.LandmarkDataset.load("work/p.csv")
        assert data.instances
        assert len(data.by_image()) == len(list(images.iterdir()))
        assert call("data", "check", "work/p.csv").exit_code == 0
        assert call("data", "convert", "work/p.csv", "--from", "native", "--out", "again").exit_code == 0


def test_a_table_from_python_names_its_images_too(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(drawn)
    files = [Path("images") / f"{k:05d}.png" for k in range(3)]
    found = [ImageDetections(str(f), np.ones((1, 1, 2)), np.ones((1, 1)), file=f) for f in files]
    write_predictions(tmp_path / "p.csv", Prediction(found, LandmarkSet(("tip",)), np.array([4.0])))
    monkeypatch.chdir(tmp_path)
    samples = tp.LandmarkDataset.load("p.csv").samples
    assert [sample.image.resolve() for sample in samples] == [(drawn / file).resolve() for file in files]


def test_drawings_are_not_predicted_on(place: Path, trained: Path) -> None:
    photos = place / "photos"
    command = ("predict", trained, photos, "--out", photos / "p.csv", "--overlay", photos / "drawn", "--force")
    for _ in range(2):
        assert call(*command).exit_code == 0
        assert len(pd.read_csv(photos / "p.csv")) == 12
    assert len(list((photos / "drawn").iterdir())) == 12


def test_the_same_file_given_twice_is_one_row(place: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "photos")
    given = ("one/0.png", place / "photos/one/0.png", "../photos/one", "two/back/one")
    assert call("predict", trained, *given, "--out", "p.csv").exit_code == 0
    assert len(tp.LandmarkDataset.load("p.csv")) == 6


def test_a_moved_set_is_found(data: Path, tmp_path: Path) -> None:
    shutil.move(data / "images", tmp_path / "moved")
    result = call("data", "convert", data, "--from", "native", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "24 of 24 are missing" in result.stderr
    assert "--images FOLDER" in result.stderr
    assert not (tmp_path / "out").exists()
    command = ("data", "convert", data, "--from", "native", "--images", tmp_path / "moved", "--out", tmp_path / "out")
    assert call(*command).exit_code == 0
    assert call("data", "check", data).exit_code == 2
    assert call("data", "check", data, "--images", tmp_path / "moved").exit_code == 0
    assert len(tp.LandmarkDataset.load(tmp_path / "out")) == 24


def test_merge(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    Image.new("L", (32, 32), 9).save(other / "images" / "00000.png")
    (other / "landmarks.csv").write_text("image,split,subject,base_x,base_y\n00000.png,train,new,1,2\n")
    result = call("data", "merge", data, other, "--out", tmp_path / "both", "--link")
    assert result.exit_code == 0, result.output
    assert "'other' has no tip: not annotated in its 1 image" in result.stderr
    both = tp.LandmarkDataset.load(tmp_path / "both")
    assert (len(both), both.landmarks.names) == (25, ("tip", "base"))
    assert both.samples[-1].image.is_symlink()
    assert call("data", "check", tmp_path / "both").exit_code == 0
    refused = call("data", "merge", data, data, "--out", tmp_path / "no")
    assert refused.exit_code == 2
    assert not (tmp_path / "no").exists()
