"""``trigpoint data convert`` with files of SLEAP, tpsDig and dlib: what is told, and other words for formats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.data.dataset import LandmarkDataset

TPS = "LM=2\n1 2\n-1 -1\nIMAGE=A.JPG\nSCALE=0.5\nCURVES=1\nPOINTS=1\n1 1\n"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join((result.output + result.stderr).split())


@pytest.mark.parametrize(
    ("word", "name"), [("slp", "sleap"), (".fcsv", "slicer"), ("dlib", "imglab"), ("DLC", "deeplabcut")]
)
def test_other_words_for_a_format(tmp_path: Path, word: str, name: str) -> None:
    code, text = run("data", "convert", tmp_path, "--from", word, "--out", tmp_path / "out")
    assert code == 2
    assert f"unknown format '{word}'; did you mean '{name}'?" in text


def test_what_a_reader_leaves_out_is_printed(tmp_path: Path) -> None:
    PIL.Image.new("L", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "set.tps").write_text(TPS)
    code, text = run(
        "data", "convert", tmp_path / "set.tps", "--from", "tps", "--names", "l,r", "--out", tmp_path / "out"
    )
    assert code == 0
    for expected in (
        "SCALE of 1 specimens is not used",
        "1 points of curves",
        "1 image was found by the end of its name only",
    ):
        assert expected in text
    data = LandmarkDataset.load(tmp_path / "out")
    np.testing.assert_array_equal(data.points, [[[1, 18], [np.nan, np.nan]]])
    code, _ = run(
        "data", "convert", tmp_path / "out", "--from", "native", "--to", "imglab", "--out", tmp_path / "o.xml"
    )
    assert code == 0
    (tmp_path / "set.tps").write_text("LM=1\n1 x\n")
    code, text = run("data", "convert", tmp_path / "set.tps", "--from", "tps", "--out", tmp_path / "none")
    assert code == 2
    assert "set.tps, line 2: expected 'x y', got '1 x'" in text
    assert not (tmp_path / "none").exists()


def test_a_set_without_its_images_is_told(tmp_path: Path) -> None:
    PIL.Image.new("L", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "a.pts").write_text("version: 1\nn_points: 1\n{\n2 3\n}\n")
    convert = ("data", "convert", tmp_path, "--from", "pts", "--out")
    assert "no images" not in run(*convert, tmp_path / "native")[1]
    code, text = run(*convert, tmp_path / "yolo", "--to", "yolo")
    assert code == 0
    assert "only annotations were written, no images; --option copy=true copies them" in text
    assert "no images; put them where the other tool looks" in run(*convert, tmp_path / "o.json", "--to", "coco")[1]
    code, text = run(*convert, tmp_path / "copied", "--to", "yolo", "--option", "copy=true")
    assert (tmp_path / "copied" / "images" / "a.png").is_file()
    assert "no images" not in text


def test_a_labelled_video_becomes_a_dataset_again_and_again(tmp_path: Path) -> None:
    sio = pytest.importorskip("sleap_io")
    from trigpoint.data.pixels.frames import VideoWriter

    with VideoWriter(tmp_path / "v.mp4", 25) as writer:
        for frame in range(4):
            writer.add(np.full((32, 32, 3), 60 * frame, np.uint8))
    skeleton = sio.Skeleton(["tip"], name="t")
    shot = sio.Instance.from_numpy(np.array([[1.5, 2.0]]), skeleton=skeleton)
    source = sio.Video.from_filename(str(tmp_path / "v.mp4"))
    frames = [sio.LabeledFrame(video=source, frame_idx=index, instances=[shot]) for index in (3, 1)]
    sio.Labels(frames, videos=[source], skeletons=[skeleton]).save(str(tmp_path / "a.slp"), verbose=False)
    for force in ((), ("--force",)):
        code, text = run("data", "convert", tmp_path / "a.slp", "--from", "sleap", "--out", tmp_path / "out", *force)
        assert code == 0, text
        assert "2 labelled frames are image files now" in text
    data = LandmarkDataset.load(tmp_path / "out")
    levels = {sample.image.name: int(data.read(index).pixels.mean()) for index, sample in enumerate(data.samples)}
    assert levels == {"v_000001.png": pytest.approx(60, abs=3), "v_000003.png": pytest.approx(180, abs=3)}


@pytest.mark.parametrize("form", ["coco", "native"])
def test_rows_whose_image_is_not_there_are_left_out_on_request(tmp_path: Path, form: str) -> None:
    PIL.Image.new("L", (30, 20)).save(tmp_path / "a.png")
    names = {"categories": [{"id": 1, "name": "tip", "keypoints": ["l"]}]}
    images = [{"id": i, "file_name": f"{name}.png", "width": 30, "height": 20} for i, name in enumerate("ab")]
    labels = [
        {"id": i, "image_id": i, "category_id": 1, "keypoints": [1 + i, 17, 2], "num_keypoints": 1} for i in range(2)
    ]
    (tmp_path / "set.json").write_text(json.dumps({**names, "images": images, "annotations": labels}))
    (tmp_path / "landmarks.csv").write_text("image,l_x,l_y\na.png,1,17\nb.png,2,17\n")
    source = tmp_path / ("set.json" if form == "coco" else "landmarks.csv")
    convert = ("data", "convert", source, "--from", form, "--out")
    code, text = run(*convert, tmp_path / "all")
    assert code == 2
    assert "b.png: expected an image file, got none" in text
    assert ("To leave out what is missing: --skip-missing" in text) == (form == "coco")
    assert not (tmp_path / "all").exists()
    code, text = run(*convert, tmp_path / "some", "--skip-missing")
    assert code == 0, text
    assert f"left out 1 of 2 images that are not there, the first {tmp_path / 'b.png'}" in text
    np.testing.assert_array_equal(LandmarkDataset.load(tmp_path / "some").points, [[[1, 17]]])
    (tmp_path / "a.png").unlink()
    shutil.rmtree(tmp_path / "some")  # where the image would be found
    code, text = run(*convert, tmp_path / "none", "--skip-missing")
    assert code == 2
    assert "2 of 2 are missing" in text


def test_a_missing_image_is_told_of_the_file_that_names_it(tmp_path: Path) -> None:
    names = {"categories": [{"id": 1, "name": "tip", "keypoints": ["l"]}]}
    for number, name in enumerate(("train", "val")):
        if name == "train":
            PIL.Image.new("L", (30, 20)).save(tmp_path / "train.png")
        image = {"id": 1, "file_name": f"{name}.png", "width": 30, "height": 20}
        label = {"id": number, "image_id": 1, "category_id": 1, "keypoints": [1, 17, 2], "num_keypoints": 1}
        (tmp_path / f"{name}.json").write_text(json.dumps({**names, "images": [image], "annotations": [label]}))
    both = (tmp_path / "train.json", tmp_path / "val.json")
    code, text = run("data", "convert", *both, "--from", "coco", "--out", tmp_path / "out")
    assert code == 2
    assert f"error: {both[1]}: {tmp_path / 'val.png'}: expected an image file, got none" in text
