"""labelme, YOLO pose, Label Studio, CVAT and VIA: files that the tools wrote, and what their readers leave out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Cvat, LabelMe, LabelStudio, Via, Yolo
from trigpoint.data.origin import read_from, written_to
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample

FILES = Path(__file__).parent / "files"
nan = float("nan")


def image(file: Path, size: tuple[int, int] = (20, 10), orientation: int = 1) -> Path:
    """A picture of ``size`` (width, height) as stored."""
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.new("L", size).save(file, exif=exif)
    return file


def told(data: LandmarkDataset, *words: str) -> bool:
    """Whether one of the problems has all the words."""
    return any(all(word in str(problem) for word in words) for problem in data.problems)


def by_name(data: LandmarkDataset) -> dict[str, dict[str, list[float]]]:
    """Points by image and landmark; of several rows of an image the last."""
    names = data.landmarks.names
    return {
        s.image.name: {n: p.tolist() for n, p, v in zip(names, s.points, s.visibility, strict=True) if v > 0}
        for s in data.samples
    }


# -- files of the tools -----------------------------------------------------------------------------------------------


def test_labelme_files_of_labelme() -> None:
    data = LabelMe().read(FILES / "labelme/labels")
    assert by_name(data) == {
        "a.png": {"left": [5.25, 4.5], "tip": [12, 7.75]},
        "b.png": {"left": [0, 0.5], "tip": [3.5, 18]},
    }
    assert [data.image_name(sample) for sample in data.samples] == ["a.png", "b.png"]
    assert not told(data, "outside")
    assert not data.instances
    assert told(data, "rectangle", "once", "a.json")
    assert told(data, "embedded")
    assert told(data, "flags of an image")


@pytest.mark.parametrize("name", ["export.json", "export_min.json"])
def test_labelstudio_exports(name: str) -> None:
    data = LabelStudio().read(FILES / "labelstudio" / name)
    assert by_name(data) == {"a.png": {"left": [6, 8], "tip": [18, 2]}, "b.png": {"tip": [2, 4]}}
    assert all(sample.image.is_file() for sample in data.samples)
    assert told(data, "several annotations of a task", "annotator=ID", "by 1, 2")
    chosen = LabelStudio(annotator=2).read(FILES / "labelstudio" / name)  # type: ignore[arg-type]
    assert by_name(chosen)["b.png"] == {"tip": [10, 4]}
    assert told(chosen, "task without an annotation of '2'")
    assert told(chosen, "rectanglelabels")
    if name == "export.json":
        assert told(data, "cancelled annotation")
        assert told(data, "1 tasks have predictions beside annotations")


def test_cvat_files_of_datumaro() -> None:
    data = Cvat().read(FILES / "cvat/datumaro.xml")
    assert by_name(data) == {"a.png": {"left": [5.25, 4.5], "tip": [12, 7.75]}, "b.png": {"tip": [3.5, 18]}}
    assert data.visibility.tolist() == [[1, 2], [0, 2]]
    assert told(data, "<box>")


def test_cvat_skeletons_are_objects() -> None:
    data = Cvat().read(FILES / "cvat/skeletons.xml")
    assert data.landmarks.names == ("left", "tip")
    assert data.visibility.tolist() == [[2, 1], [2, 0], [2, 2]]
    assert data.instances
    assert [(s.image.name, s.split) for s in data.samples] == [("a.png", "train")] * 2 + [("b.png", "val")]


def test_cvat_video_names_frames(tmp_path: Path) -> None:
    for frame in range(3):
        image(tmp_path / f"images/frame_{frame:06d}.PNG", (24, 16))
    (tmp_path / "annotations.xml").write_bytes((FILES / "cvat/video.xml").read_bytes())
    data = Cvat().read(tmp_path)
    assert by_name(data) == {
        "frame_000000.PNG": {"left": [5, 4], "tip": [10, 7]},
        "frame_000001.PNG": {"left": [6, 4], "tip": [10, 7]},
    }
    assert data.visibility.tolist() == [[2, 2], [2, 1]]
    assert {sample.subject for sample in data.samples} == {"clip.mp4"}
    assert told(data, "interpolated", "keyframes=true")
    assert len(Cvat(keyframes=True).read(tmp_path)) == 1
    for frame in range(3):
        (tmp_path / f"images/frame_{frame:06d}.PNG").rename(tmp_path / f"images/clip{frame + 9}.png")
    data = Cvat().read(tmp_path)
    assert [sample.image.name for sample in data.samples] == ["clip9.png", "clip10.png"]
    assert told(data, "frames in order")


def test_yolo_labels_of_ultralytics() -> None:
    for source in (FILES / "yolo", FILES / "yolo/data.yaml"):
        data = Yolo().read(source)
        assert data.landmarks == LandmarkSet(("left", "tip", "right"), pairs=(("left", "right"),))
        assert [(s.image.name, s.split) for s in data.samples] == [("a.png", "train")] * 2 + [("b.png", "val")]
        points = [[[5.25, 4.5], [12, 7.75], [nan, nan]], [[1, 2], [3, 4], [5, 6]], [[3.5, 18], [nan, nan], [10, 10]]]
        np.testing.assert_allclose(data.points, points, atol=1e-4)  # it writes six digits
        assert data.visibility.tolist() == [[2, 1, 0], [2, 2, 1], [2, 0, 2]]


@pytest.mark.parametrize("name", ["via2_project.json", "via2_regions.csv", "via3_project.json"])
def test_via_files(name: str) -> None:
    data = Via().read(FILES / "via" / name, FILES / "via/images")
    assert by_name(data) == {"a.png": {"left": [5, 4], "tip": [12, 7]}, "b.png": {"tip": [3, 18]}}
    assert data.landmarks.names == ("left", "tip")
    assert told(data, "only points are read")
    assert not told(data, "bytes")


# -- where the image is -----------------------------------------------------------------------------------------------


def labelme(file: Path, *shapes: dict[str, Any], **more: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"version": "5.5.0", "imagePath": "a.png", "imageData": None, "shapes": list(shapes)} | more
    file.write_text(json.dumps(values))
    return file


def shape(label: Any, x: Any, y: Any, group: int | None = None, **more: Any) -> dict[str, Any]:
    return {"label": label, "points": [[x, y]], "group_id": group, "shape_type": "point"} | more


@pytest.mark.parametrize(
    "path", ["../images/a.png", "..\\images\\a.png", "/home/me/images/a.png", "C:\\me\\images\\a.png"]
)
def test_labelme_finds_its_image(path: str, tmp_path: Path) -> None:
    there = image(tmp_path / "images/a.png")
    labelme(tmp_path / "labels/sub/a.json", shape("tip", 1, 2), imagePath=path)
    assert LabelMe().read(tmp_path, tmp_path / "images").samples[0].image == there
    labelme(tmp_path / "labels/a.json", shape("tip", 1, 2), imagePath=path)
    (tmp_path / "labels/sub/a.json").unlink()
    assert LabelMe().read(tmp_path).samples[0].image == there


def test_labelme_takes_the_image_of_its_own_name_where_the_path_leads_nowhere(tmp_path: Path) -> None:
    there = image(tmp_path / "frame 7.png")
    labelme(tmp_path / "frame 7.json", shape("tip", 1, 2), imagePath="IMG_1.png")
    data = LabelMe().read(tmp_path)
    assert data.samples[0].image == there
    assert told(data, "leads nowhere", "frame 7.json")


def test_two_labels_of_one_image_are_told_and_no_instances(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    labelme(tmp_path / "a.json", shape("tip", 1, 2))
    labelme(tmp_path / "copy of a.json", shape("tip", 3, 4))
    data = LabelMe().read(tmp_path)
    assert data.points.tolist() == [[[1, 2]]]
    assert not data.instances
    assert told(data, "image given before", "a.json")


def test_other_json_files_in_a_folder_are_told(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    labelme(tmp_path / "a.json", shape("tip", 1, 2))
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    data = LabelMe().read(tmp_path)
    assert told(data, "another JSON file", "settings.json")
    assert told(data, "broken.json", "not readable as JSON")


def task(result: Sequence[Any], name: str = "a.png", **more: Any) -> dict[str, Any]:
    return {"id": 1, "data": {"image": name}, "annotations": [{"completed_by": 1, "result": list(result)}]} | more


def keypoint(label: str, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    return {"id": f"{label}{x}{y}", "type": "keypointlabels", "value": value} | more


def tasks(folder: Path, *items: Any) -> Path:
    (folder / "t.json").write_text(json.dumps(items))
    return folder / "t.json"


@pytest.mark.parametrize(
    "name",
    [
        "a.png", "/data/upload/3/abcdef12-a.png", "upload/3/abcdef12-a.png", "/data/local-files/?d=sub/a.png",
        "/data/local-files/?d=home%2Fme%2Fsub%2Fa.png", "http://host:8080/data/upload/3/abcdef12-a.png",
        "https://bucket.example/sub/a.png?token=1", "s3://bucket/sub/a.png", "/data/local-files/?d=sub\\a.png",
    ],
)  # fmt: skip
def test_labelstudio_finds_its_image(name: str, tmp_path: Path) -> None:
    there = image(tmp_path / "sub/a.png")
    data = LabelStudio().read(tasks(tmp_path, task([keypoint("tip", 50, 50)], name)))
    assert data.samples[0].image == there
    assert data.points.tolist() == [[[10, 5]]]


def test_an_uploaded_name_is_kept_where_the_file_bears_it(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    there = image(tmp_path / "abcdef12-a.png")
    found = LabelStudio().read(tasks(tmp_path, task([keypoint("tip", 50, 50)], "/data/upload/1/abcdef12-a.png")))
    assert found.samples[0].image == there


@pytest.mark.parametrize(
    "entry",
    ["images/train", "../images/train", "list.txt", "absolute.txt", ["list.txt"]],
)
def test_yolo_finds_images_and_labels(entry: str | list[str], tmp_path: Path) -> None:
    there = image(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 0.5 0.5 0.5 0.25\n")
    (tmp_path / "list.txt").write_text("./images/train/a.png\n")
    (tmp_path / "absolute.txt").write_text("/home/me/data/images/train/a.png\n")
    text = f"path: ../datasets/set\ntrain: {json.dumps(entry)}\nkpt_shape: [1, 2]\nnames: [x]\n"
    (tmp_path / "data.yaml").write_text(text)
    data = Yolo().read(tmp_path)
    assert data.samples[0].image == there
    assert data.points.tolist() == [[[10, 2.5]]]
    assert data.landmarks.names == ("k0",)
    assert Yolo(names=["tip"]).read(tmp_path).landmarks.names == ("tip",)


# -- whose a point is -------------------------------------------------------------------------------------------------


def test_groups_are_instances_only_where_an_image_has_two(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    labelme(tmp_path / "a.json", shape("tip", 1, 2, 7), shape("end", 2, 2, 7))
    labelme(tmp_path / "b.json", shape("tip", 1, 3), imagePath="b.png")
    data = LabelMe().read(tmp_path)
    assert not data.instances
    assert data.visibility.tolist() == [[2, 2], [2, 0]]
    labelme(tmp_path / "b.json", shape("tip", 1, 3), shape("tip", 1, 4, 2), imagePath="b.png")
    labelme(tmp_path / "c.json", imagePath="c.png")
    data = LabelMe().read(tmp_path)
    assert [s.instance for s in data.samples] == ["7", "1", "2", ""]
    assert data.visibility.tolist() == [[2, 2], [2, 0], [2, 0], [ABSENT, ABSENT]]


def test_a_landmark_that_stands_twice_is_not_guessed(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    labelme(tmp_path / "a.json", shape("tip", 1, 2), shape("tip", 3, 4), shape("end", 5, 6))
    data = LabelMe().read(tmp_path)
    assert data.landmarks.names == ("tip", "end")
    assert data.visibility.tolist() == [[0, 2]]
    assert told(data, "'tip' stands more than once", "repeats=instances", "a.json")
    many = LabelMe(repeats="instances").read(tmp_path)
    assert many.points[:, 0].tolist() == [[1, 2], [3, 4]]
    assert many.visibility.tolist() == [[2, 2], [2, ABSENT]]
    with pytest.raises(ConfigError, match="repeats: expected left_out or instances"):
        LabelMe(repeats="both")


def test_labelstudio_parents_are_objects(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    boxes = [{"id": f"box{k}", "type": "rectanglelabels", "value": {"x": 1, "y": 1}} for k in range(3)]
    points = [keypoint("tip", 10 * (k + 1), 10, parentID=f"box{k}") for k in range(2)]
    data = LabelStudio().read(tasks(tmp_path, task([*points, *boxes])))
    assert [(s.instance, s.points.tolist()) for s in data.samples] == [("1", [[2, 1]]), ("2", [[4, 1]])]
    assert told(data, "rectanglelabels", "once")


def test_names_choose_and_order_landmarks(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    labelme(tmp_path / "a.json", shape("tip", 1, 2), shape("end", 3, 4), shape("dust", 5, 6))
    data = LabelMe(names=["end", "tip", "nose"]).read(tmp_path)
    assert data.landmarks.names == ("end", "tip", "nose")
    assert data.visibility.tolist() == [[2, 2, 0]]
    assert told(data, "'dust' is not among the given names")


# -- what is left out -------------------------------------------------------------------------------------------------


def test_labels_of_an_image_of_another_size_are_told(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg", (20, 10), orientation=6)
    labelme(tmp_path / "a.json", shape("tip", 1, 2), imagePath="a.jpg", imageWidth=20, imageHeight=10)
    assert told(LabelMe().read(tmp_path), "10 x 20", "20 x 10", "EXIF")
    region = keypoint("tip", 50, 50, original_width=20, original_height=10)
    data = LabelStudio().read(tasks(tmp_path, task([region], "a.jpg")))
    assert data.points.tolist() == [[[5, 10]]]  # percent of the upright file
    assert told(data, "10 x 20", "20 x 10")
    points = '<points label="tip" points="1,2"/>'
    body = f'<annotations><image name="a.jpg" width="20" height="10">{points}</image></annotations>'
    (tmp_path / "a.xml").write_text(body)
    assert told(Cvat().read(tmp_path / "a.xml"), "10 x 20", "20 x 10")


def test_labelstudio_without_the_file_takes_the_stated_size_and_tells_a_turned_image(tmp_path: Path) -> None:
    region = keypoint("tip", 50, 50, original_width=20, original_height=10, image_rotation=90)
    data = LabelStudio().read(tasks(tmp_path, task([region])))
    assert data.points.tolist() == [[[10, 5]]]
    assert told(data, "turned in Label Studio", "90 degrees")
    with pytest.raises(DataError, match=r"expected annotated landmarks, got none\n.*original_width"):
        LabelStudio().read(tasks(tmp_path, task([keypoint("tip", 50, 50)])))


def test_labelstudio_predictions_are_read_only_alone_and_with_scores(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    predicted = {"predictions": [{"result": [keypoint("tip", 50, 50, score=0.25)]}]}
    data = LabelStudio().read(tasks(tmp_path, {"id": 1, "data": {"image": "a.png"}} | predicted))
    assert data.samples[0].scores is not None
    assert data.samples[0].scores.tolist() == [0.25]
    assert told(data, "no task has an annotation", "predictions of 1 tasks are read")
    data = LabelStudio().read(tasks(tmp_path, task([keypoint("tip", 10, 10)], **predicted)))
    assert data.points.tolist() == [[[2, 1]]]


def test_labelstudio_writes_what_imports_there(tmp_path: Path) -> None:
    there = image(tmp_path / "images/sub/a b.png")
    scores = np.array([0.5, nan])
    points = np.array([[1.0, 2], [nan, nan]])
    sample = Sample(there, points, np.array([2, 0]), "val", "s", scores=scores)
    data = LandmarkDataset([sample], LandmarkSet(('left "<', "tip")), images=tmp_path / "images")
    file, config = LabelStudio().write(data, tmp_path / "out.json")
    (stored,) = json.loads(file.read_text())
    assert stored["data"]["image"] == "/data/local-files/?d=sub/a%20b.png"
    assert "annotations" not in stored
    (note,) = stored["predictions"]
    assert [(region["value"]["x"], region["score"]) for region in note["result"]] == [(5, 0.5)]
    assert note["score"] == 0.5
    assert "&lt;" in config.read_text()
    again = LabelStudio().read(file, tmp_path / "images").samples[0]
    assert (again.split, again.subject, again.image) == ("val", "s", there)
    (stored,) = json.loads(LabelStudio(result="annotations").write(data, tmp_path / "more.json")[0].read_text())
    assert "predictions" not in stored


def test_tasks_that_nobody_labelled_are_not_annotated(tmp_path: Path) -> None:
    for name in "abc":
        image(tmp_path / f"{name}.png")
    two = [keypoint("tip", 1, 1, parentID="p"), keypoint("tip", 2, 2, parentID="q")]
    bare = {"id": 3, "data": {"image": "c.png"}}
    data = LabelStudio().read(tasks(tmp_path, task(two), task([], "b.png"), bare))
    assert data.visibility.tolist() == [[2], [2], [ABSENT], [0]]
    assert told(data, "1 images have no labels")


def yolo(folder: Path, rows: str, names: str = "[x]", shape_: str = "[2, 3]", more: str = "") -> Path:
    image(folder / "images/a.png")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels/a.txt").write_text(rows)
    (folder / "data.yaml").write_text(f"train: images\nkpt_shape: {shape_}\nnames: {names}\n{more}")
    return folder


def test_yolo_tells_every_row_and_point_it_leaves_out(tmp_path: Path) -> None:
    good = "0 .5 .5 .1 .1 0.1 0.1 2 0.2 0.2 1\n"
    far = "0 .5 .5 .1 .1 120 40 2 0.2 0.2 2\n"
    data = Yolo().read(yolo(tmp_path, good + "0 .5 .5 .1 .1 0.1 0.1 2\n" + far))
    assert data.visibility.tolist() == [[2, 1], [0, 0], [0, 2]]
    assert told(data, "10 numbers", "row 2", "a.txt")
    assert told(data, "'k0'", "from 0 to 1", "row 3")
    scored = Yolo().read(
        yolo(tmp_path, "0 .5 .5 .1 .1 0.1 0.1 0.75 0.2 0.2 0 0.9\n")
    )  # a prediction, with its own score
    assert scored.visibility.tolist() == [[2, 0]]
    assert scored.samples[0].scores is not None
    assert scored.samples[0].scores[0] == 0.75


def test_yolo_zeros_without_visibility_are_missing(tmp_path: Path) -> None:
    data = Yolo().read(yolo(tmp_path, "0 .5 .5 .1 .1 0 0 0.5 0.5\n0 .5 .5 .1 .1 -1 -1 0.5 0.5\n", shape_="[2, 2]"))
    assert data.visibility.tolist() == [[0, 2], [0, 2]]


def test_yolo_of_several_classes_needs_one(tmp_path: Path) -> None:
    rows = "0 .5 .5 .1 .1 0.1 0.1 2 0.2 0.2 1\n1 .5 .5 .1 .1 0.3 0.3 2 0.2 0.2 1\n"
    yolo(tmp_path, rows, "{0: cat, 1: dog}")
    with pytest.raises(DataError, match=r"objects of one class, got 2 \(cat, dog\); .*category=NAME"):
        Yolo().read(tmp_path)
    data = Yolo(category="dog").read(tmp_path)
    assert len(data) == 1
    assert told(data, "rows of class cat", "once")
    with pytest.raises(DataError, match="unknown class 'dogg'; did you mean 'dog'"):
        Yolo(category="dogg").read(tmp_path)


def test_yolo_images_without_a_file_are_unseen_and_with_an_empty_one_empty(tmp_path: Path) -> None:
    row = "0 .5 .5 .1 .1 0.1 0.1 2 0.2 0.2 1\n"
    yolo(tmp_path, row + row)
    for name in "bc":
        image(tmp_path / f"images/{name}.png")
    (tmp_path / "labels/b.txt").write_text("")
    data = Yolo().read(tmp_path)
    assert data.visibility.tolist() == [[2, 1], [2, 1], [ABSENT, ABSENT], [0, 0]]
    assert told(data, "1 images have no labels")


def test_yolo_refuses_to_write_what_it_cannot_hold_and_copies_when_asked(tmp_path: Path) -> None:
    there = image(tmp_path / "images/a.png")
    sample = Sample(there, np.array([[25.0, 2]]), np.array([2]), row=3)
    data = LandmarkDataset([sample], LandmarkSet(("tip",)), images=tmp_path / "images")
    with pytest.raises(DataError, match="row 3, landmark 'tip': expected a point in the image"):
        Yolo().write(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    sample = Sample(there, np.array([[5.0, 2]]), np.array([2]), "holdout")
    with pytest.raises(DataError, match="expected train, val or test, got split 'holdout'"):
        Yolo().write(LandmarkDataset([sample], data.landmarks, images=data.images), tmp_path / "out")
    sample = Sample(there, np.array([[5.0, 2]]), np.array([1]), "val")
    Yolo(copy=True).write(LandmarkDataset([sample], data.landmarks, images=data.images), tmp_path / "out")
    box = [float(cell) for cell in (tmp_path / "out/labels/a.txt").read_text().split()[1:5]]
    assert box[2] > 0 < box[3]
    again = Yolo().read(tmp_path / "out")
    assert again.samples[0].image == tmp_path / "out/images/a.png"
    assert (again.samples[0].split, again.visibility.tolist()) == ("val", [[1]])


def test_cvat_groups_points_of_one_shape_and_labels(tmp_path: Path) -> None:
    image(tmp_path / "images/a.png")
    one, two = (f'<points label="tip" group_id="{k}" points="{k},2"/>' for k in (3, 4))
    many = '<points label="cell" points="1,2;3,4"/>'
    head = '<annotations><image name="a.png" width="20" height="10">'
    (tmp_path / "a.xml").write_text(f"{head}{one}{two}{many}</image></annotations>")
    data = Cvat().read(tmp_path / "a.xml")
    assert [s.instance for s in data.samples] == ["group 3", "group 4", "1"]
    assert told(data, "'cell' stands more than once")
    body = f'{head}<skeleton label="cat">{one}</skeleton><skeleton label="dog">{two}</skeleton></image></annotations>'
    (tmp_path / "a.xml").write_text(body)
    with pytest.raises(DataError, match=r"skeletons of one label, got 2 \(cat, dog\); .*category=NAME"):
        Cvat().read(tmp_path / "a.xml")
    data = Cvat(category="dog").read(tmp_path / "a.xml")
    assert data.points.tolist() == [[[4, 2]]]
    assert told(data, "skeleton of label 'cat'")


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{BOMB}<annotations>&c;</annotations>", "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "document type|not readable"),
        ("<annotations>&c;</annotations>", "expected annotated landmarks, got none"),
        ("<annotations>\n<image></annotations>", "line 2: not readable as XML"),
        ("<svg/>", "expected CVAT's <annotations>, got <svg>"),
        ("<annotations/>", "expected annotated landmarks, got none"),
        ("<a>" * 100_000, "at most 100 levels"),
    ],
    ids=["bomb", "outside", "entity", "cut", "other", "empty", "deep"],
)
def test_hostile_and_malformed_xml(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        Cvat().read(tmp_path / "a.xml")
    assert "a.xml" in str(error.value)


def test_via_asks_which_attribute_names_the_landmark(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    at = {"name": "point", "cx": 1, "cy": 2}
    regions = [{"shape_attributes": at, "region_attributes": {"part": {"tip": True, "end": False}, "quality": "good"}}]
    values = {"a.png5": {"filename": "a.png", "size": 5, "regions": regions, "file_attributes": {}}}
    (tmp_path / "v.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"points with one attribute, got 2 \(part, quality\); .*attribute=NAME"):
        Via().read(tmp_path / "v.json")
    data = Via(attribute="part").read(tmp_path / "v.json")
    assert by_name(data) == {"a.png": {"tip": [1, 2]}}
    assert told(data, "another number of bytes")
    assert told(data, "attribute 'quality'")
    with pytest.raises(DataError, match="unknown attribute 'parts'; did you mean 'part'"):
        Via(attribute="parts").read(tmp_path / "v.json")
    (tmp_path / "v.csv").write_text("# CSV_HEADER = metadata_id,file_list\n")
    with pytest.raises(DataError, match="of VIA 3 the project as JSON"):
        Via().read(tmp_path / "v.csv")


@pytest.mark.parametrize(
    ("form", "name", "text"),
    [
        (LabelMe(), "a.json", '{"imagePath": "a.png", "shapes": []}'),
        (LabelStudio(), "a.json", '[{"data": {"image": "a.png"}}]'),
        (Via(), "a.json", '{"a": {"filename": "a.png", "regions": []}}'),
        (Cvat(), "a.xml", '<annotations><image name="a.png"/></annotations>'),
    ],
)
def test_nothing_left_is_an_error(form: Any, name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="expected annotated landmarks, got none"):
        form.read(tmp_path / name)


# -- the half pixel ---------------------------------------------------------------------------------------------------


def test_the_corner_as_origin_is_half_a_pixel_away() -> None:
    data = LabelMe().read(FILES / "labelme/labels")
    ours = read_from(data, "corner")
    np.testing.assert_array_equal(ours.points, data.points - 0.5)
    np.testing.assert_array_equal(written_to(ours, "corner").points, data.points)
    assert read_from(data, "center") is data
    with pytest.raises(ConfigError, match="--origin: expected centre or corner, got 'middle'"):
        read_from(data, "middle")
