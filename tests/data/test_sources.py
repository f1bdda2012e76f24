"""Several annotation files become one set, with subsets by their names; what they disagree in is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner, Result

from trigpoint.cli import app
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Coco
from trigpoint.data.sources import read_sources, subset_of
from trigpoint.errors import DataError


def coco(file: Path, images: list[str], names: tuple[str, ...] = ("tip", "end"), x: float = 3) -> Path:
    listed = [{"id": k, "file_name": name} for k, name in enumerate(images)]
    points = [value for k in range(len(names)) for value in (x + k, 2, 2)]
    notes = [{"id": k, "image_id": k, "category_id": 1, "keypoints": points} for k in range(len(images))]
    kinds = [{"id": 1, "name": "o", "keypoints": names}]
    file.write_text(json.dumps({"images": listed, "annotations": notes, "categories": kinds}))
    for name in images:
        PIL.Image.new("L", (64, 48)).save(file.parent / name)
    return file


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


def test_subsets_come_from_the_names(tmp_path: Path) -> None:
    sources = [coco(tmp_path / f"person_{name}2017.json", [f"{name}.png"]) for name in ("train", "val", "new")]
    data = read_sources(sources, Coco().read)
    assert [(sample.image.name, sample.split) for sample in data.samples] == [
        ("train.png", "train"),
        ("val.png", "val"),
        ("new.png", ""),
    ]
    assert "1 rows are in subset 'val', after its name" in told(data)
    assert "person_new2017.json: 1 rows are in no subset" in told(data)
    alone = read_sources(sources[:1], Coco().read)
    assert alone.samples[0].split == ""  # the whole set, whatever it is called
    assert not alone.problems


@pytest.mark.parametrize(
    ("name", "subset"),
    [
        ("a/train.json", "train"),
        ("a/Training_labels", "train"),
        ("validation-1.csv", "val"),
        ("test/labels.json", "test"),
        ("train/test.json", "test"),
        ("test_of_labels/all.json", ""),
        ("contest.json", ""),
        ("attrain.json", ""),
        ("train-val.json", ""),
    ],
)
def test_words_of_subsets(name: str, subset: str) -> None:
    assert subset_of(Path("/data") / name) == subset


def test_landmarks_are_joined_by_name(tmp_path: Path) -> None:
    sources = [coco(tmp_path / "train.json", ["a.png"]), coco(tmp_path / "val.json", ["b.png"], ("new", "tip"))]
    data = read_sources(sources, Coco().read)
    assert data.landmarks.names == ("tip", "end", "new")
    np.testing.assert_array_equal(data.points[:, :, 0], [[3, 4, np.nan], [4, np.nan, 3]])
    assert data.visibility.tolist() == [[2, 2, 0], [2, 0, 2]]
    assert "val.json: lacks 1 landmarks (end), not annotated there" in told(data)


def test_an_image_of_two_sources_counts_once(tmp_path: Path) -> None:
    sources = [coco(tmp_path / "train.json", ["a.png", "b.png"]), coco(tmp_path / "test.json", ["b.png"], x=9)]
    data = read_sources([*sources, sources[0]], Coco().read)
    assert data.points[:, 0, 0].tolist() == [3, 3]
    assert data.splits() == {"train": 2}
    assert "1 images (b.png) are in another source already" in told(data)


def test_what_was_told_before_an_error_is_not_lost(tmp_path: Path) -> None:
    first = coco(tmp_path / "train.json", ["a.png", "b.png"])
    values = json.loads(first.read_text())
    values["annotations"][1]["keypoints"] = [1]
    first.write_text(json.dumps(values))
    (tmp_path / "val.json").write_text("{")
    with pytest.raises(DataError, match=r"val\.json, line 1") as error:
        read_sources([first, tmp_path / "val.json"], Coco().read)
    assert "annotations[1]: expected 6 keypoint numbers" in error.value.__notes__[0]


def test_convert_takes_several_sources(tmp_path: Path) -> None:
    sources = [coco(tmp_path / f"{name}.json", [f"{name}.png"]) for name in ("train", "val")]
    result = call("data", "convert", *sources, "--from", "coco", "--out", tmp_path / "set")
    assert result.exit_code == 0, result.output
    assert LandmarkDataset.load(tmp_path / "set").splits() == {"train": 1, "val": 1}
    assert "subset 'val', after its name" in result.stderr
    result = call("data", "convert", tmp_path / "set", tmp_path / "set", "--from", "native", "--out", tmp_path / "two")
    assert result.exit_code == 2
    assert "trigpoint data merge" in result.stderr


def test_what_was_left_out_is_told_also_before_an_error(tmp_path: Path) -> None:
    source = coco(tmp_path / "x.json", ["a.png", "b.png"])
    values = json.loads(source.read_text())
    values["annotations"] += [dict(values["annotations"][1], keypoints=[k] * 5) for k in range(30)]
    source.write_text(json.dumps(values))
    (tmp_path / "b.png").unlink()
    result = call("data", "convert", source, "--from", "coco", "--out", tmp_path / "set")
    assert result.exit_code == 2
    assert result.stderr.count("expected 6 keypoint numbers") == 10
    assert "warning: and 20 more" in result.stderr
    assert not (tmp_path / "set").exists()
