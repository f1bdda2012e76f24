"""COCO files as tools write them: what one annotation gets wrong is told, the others are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Coco
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample


def coco(root: Path, notes: list[Any], images: int = 2, **changes: Any) -> Path:
    """A file of two landmarks; annotations get an id, image 1 and category 1 unless they say otherwise."""
    listed = [{"id": k + 1, "file_name": f"{chr(97 + k)}.png"} for k in range(images)]
    for k in range(images):
        PIL.Image.new("L", (64, 48)).save(root / f"{chr(97 + k)}.png")
    full = [{"id": k, "image_id": 1, "category_id": 1} | n if isinstance(n, dict) else n for k, n in enumerate(notes)]
    kinds = [{"id": 1, "name": "o", "keypoints": ["tip", "end"], "skeleton": [[1, 2]]}, {"id": 2, "name": "box"}]
    values = {"images": listed, "annotations": full, "categories": kinds} | changes
    (root / "x.json").write_text(json.dumps(values))
    return root / "x.json"


def _listing(root: Path, images: list[Any], notes: list[Any] | None = None) -> Path:
    """The same with other image entries."""
    file = coco(root, [{"keypoints": point(5)}] if notes is None else notes)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images": images}))
    return file


def point(x: float, v: float = 2) -> list[float]:
    return [x, 2, v, x + 1, 3, v]


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


@pytest.mark.parametrize("odd", [{}, {"keypoints": []}, {"keypoints": None}])
def test_an_annotation_without_keypoints_is_told(tmp_path: Path, odd: dict[str, Any]) -> None:
    data = Coco().read(coco(tmp_path, [{"keypoints": point(5)}, {"image_id": 2, "bbox": [1, 1, 2, 2], **odd}]))
    assert data.visibility.tolist() == [[2, 2], [0, 0]]
    assert "annotations without keypoints" in told(data)
    assert "annotations[1]" in told(data)


def test_ids_match_whether_they_are_numbers_or_text(tmp_path: Path) -> None:
    notes = [{"category_id": "1", "image_id": "1", "keypoints": point(5)}, {"image_id": 2.0, "keypoints": point(7)}]
    data = Coco().read(coco(tmp_path, notes))
    assert data.points[:, 0, 0].tolist() == [5, 7]
    assert not data.problems


@pytest.mark.parametrize(
    ("damage", "message", "left"),
    [
        ({"keypoints": [1, 2]}, "expected 6 keypoint numbers (x, y, v each), got 2", [0, 0]),
        ({"keypoints": "1,2,3"}, "expected 6 keypoint numbers (x, y, v each), got str", [0, 0]),
        (
            {"keypoints": ["x", 2, 2, 3, 3, 2]},
            "landmark 'tip': expected numbers x, y and visibility 0, 1 or 2, got ['x', 2, 2]",
            [0, 2],
        ),
        (
            {"keypoints": [1, 2, 2, 3, 3, 7]},
            "landmark 'end': expected numbers x, y and visibility 0, 1 or 2, got [3, 3, 7]",
            [2, 0],
        ),
        ({"keypoints": point(5), "image_id": 9}, "'image_id' of a listed image", [0, 0]),
        ({"keypoints": point(5), "category_id": 9}, "'category_id' of a listed category", [0, 0]),
        ({"keypoints": point(5), "category_id": 2}, "annotations of other categories", [0, 0]),
    ],
)
def test_one_damaged_annotation_does_not_end_the_reading(
    tmp_path: Path, damage: dict[str, Any], message: str, left: list[int]
) -> None:
    data = Coco().read(coco(tmp_path, [{"keypoints": point(9), "image_id": 2}, damage]))
    assert data.visibility.tolist() == [left, [2, 2]]
    assert message in told(data)
    assert "annotations[1]" in told(data)


@pytest.mark.parametrize("entry", [7, {"id": 3}, {"file_name": "c.png"}, {"id": [1], "file_name": "c.png"}])
def test_one_damaged_image_entry_does_not_end_the_reading(tmp_path: Path, entry: Any) -> None:
    data = Coco().read(_listing(tmp_path, [{"id": 1, "file_name": "a.png"}, entry]))
    assert len(data) == 1
    assert "images[1]" in told(data)


def test_an_id_of_two_images_is_nobodys(tmp_path: Path) -> None:
    images = [{"id": k, "file_name": f"{name}.png"} for k, name in ((1, "a"), ("1", "b"), (2, "c"))]
    data = Coco().read(_listing(tmp_path, images, [{"keypoints": point(9)}, {"keypoints": point(3), "image_id": 2}]))
    assert [sample.image.name for sample in data.samples] == ["c.png"]
    assert "expected an 'id' of its own" in told(data)


def test_a_file_listed_twice_is_one_image(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "./a.png"}]
    data = Coco().read(_listing(tmp_path, images, [{"image_id": 2, "keypoints": point(9)}]))
    assert len(data) == 1
    assert "listed again" in told(data)


def test_names_that_lead_to_one_file_are_left_out(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "u/a.png"}, {"id": 2, "file_name": "v/a.png"}, {"id": 3, "file_name": "b.png"}]
    notes = [{"image_id": k, "keypoints": point(9)} for k in (1, 2, 3)]
    data = Coco().read(_listing(tmp_path, images, notes))
    assert [sample.image.name for sample in data.samples] == ["b.png"]
    assert "different names lead to one file" in told(data)


def test_a_crowd_means_not_annotated(tmp_path: Path) -> None:
    crowd = {"image_id": 2, "iscrowd": 1, "keypoints": [0] * 6}
    two = [{"keypoints": point(5)}, {"keypoints": point(9)}]
    data = Coco().read(
        coco(tmp_path, [*two, crowd, {"image_id": 3, "keypoints": point(5)}, crowd | {"image_id": 3}], 4)
    )
    found = data.instances_by_image()
    assert [image.annotated.tolist() for image in found] == [[True] * 2, [False] * 2, [False] * 2, [True] * 2]
    assert [len(image.points) for image in found] == [2, 0, 1, 0]
    assert data.visibility[-1].tolist() == [ABSENT] * 2
    assert "crowds" in told(data)
    single = Coco().read(coco(tmp_path, [{"keypoints": point(5)}, crowd]))
    assert single.visibility.tolist() == [[2, 2], [0, 0]]


def test_two_annotations_of_an_image_are_told(tmp_path: Path) -> None:
    notes = [{"keypoints": point(5)}, {"keypoints": point(9)}, {"image_id": 2, "keypoints": point(1)}]
    file = coco(tmp_path, notes)
    data = Coco().read(file)
    assert data.instances
    assert "1 of 2 labelled images have several annotations (a.png)" in told(data)
    assert "--option instances=no" in told(data)
    assert not Coco(instances="yes").read(file).problems
    alone = Coco(instances=False).read(file)
    assert not alone.instances
    assert alone.visibility.tolist() == [[0, 0], [2, 2]]
    assert "several annotations in one image" in told(alone)
    with pytest.raises(ConfigError, match="instances: expected yes or no, got 'maybe'"):
        Coco(instances="maybe")
    blank = {"keypoints": [0] * 6}
    assert not Coco().read(coco(tmp_path, [{"keypoints": point(5)}, blank])).instances


def test_an_instance_named_twice_keeps_its_points(tmp_path: Path) -> None:
    notes = [{"keypoints": point(k), "instance": 0} for k in range(3)]
    data = Coco().read(coco(tmp_path, notes))
    assert [sample.instance for sample in data.samples] == ["0", "0 1", "0 2", ""]
    assert "renamed" in told(data)


def test_skeleton_is_kept_and_written(tmp_path: Path) -> None:
    file = coco(tmp_path, [{"keypoints": point(5)}])
    data = Coco().read(file)
    assert data.landmarks.skeleton == (("tip", "end"),)
    native = LandmarkDataset.load(data.save(tmp_path / "native"))
    assert native.landmarks.skeleton == (("tip", "end"),)
    (again,) = Coco().write(native.pick(["end", "tip"]), tmp_path / "again.json")
    assert json.loads(again.read_text())["categories"][0]["skeleton"] == [[2, 1]]
    assert native.pick(["tip"]).landmarks.skeleton == ()
    values = json.loads(file.read_text())
    values["categories"][0]["skeleton"] = [[1, 2], [0, 1], [1, 3], "x", [1, True]]
    file.write_text(json.dumps(values))
    odd = Coco().read(file)
    assert odd.landmarks.skeleton == (("tip", "end"),)
    assert "skeleton" in told(odd)


@pytest.mark.parametrize(("size", "why"), [((48, 64), "EXIF"), ((32, 24), "resized")])
def test_stated_sizes_are_compared_with_the_upright_file(tmp_path: Path, size: tuple[int, int], why: str) -> None:
    images = [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}]
    images += [{"id": 2, "file_name": "b.png", "width": 64, "height": 48}]
    data = Coco().read(_listing(tmp_path, images))
    assert f"stated {size[0]} x {size[1]}, upright file 64 x 48" in told(data)
    assert "1 of 2 images" in told(data)
    assert why in told(data)


def test_missing_images_are_told_at_once(tmp_path: Path) -> None:
    images = [{"id": k, "file_name": f"gone{k}.png"} for k in (1, 2, 3)]
    data = Coco().read(_listing(tmp_path, images))
    assert "3 images are not below" in told(data)
    with pytest.raises(DataError, match=r"expected 3 images, 3 cannot be read:\n.*gone1.*\n.*gone2.*\n.*gone3"):
        Coco().write(data, tmp_path / "out.json")


def test_results_are_read_with_their_truth(tmp_path: Path) -> None:
    truth = coco(tmp_path, [{"keypoints": point(5)}])
    results = tmp_path / "results.json"
    found = [{"image_id": 2, "category_id": 1, "keypoints": [1, 2, 0.9, 3, 4, 0.2], "score": 0.7}]
    results.write_text(json.dumps(found))
    with pytest.raises(DataError, match="--option truth=FILE"):
        Coco().read(results)
    data = Coco(truth=str(truth)).read(results)
    assert data.visibility.tolist() == [[0, 0], [2, 2]]
    assert data.samples[1].scores is not None
    assert data.samples[1].scores.tolist() == [0.9, 0.2]
    (again,) = Coco(truth=str(truth), results="yes").write(data, tmp_path / "again.json")
    stored = json.loads(again.read_text())
    assert stored == [found[0] | {"score": pytest.approx(0.55)}]


def predicted(root: Path) -> LandmarkDataset:
    PIL.Image.new("L", (64, 48)).save(root / "a.png")
    scores = np.array([0.9, 0.2])
    sample = Sample(root / "a.png", np.array([[10.0, 11], [20, 21]]), np.array([2, 2]), scores=scores)
    return LandmarkDataset([sample], LandmarkSet(("l", "r")), images=root)


def test_scores_are_written_and_read(tmp_path: Path) -> None:
    (file,) = Coco().write(predicted(tmp_path), tmp_path / "o.json")
    note = json.loads(file.read_text())["annotations"][0]
    assert note["score"] == pytest.approx(0.55)
    again = Coco().read(file)
    assert again.samples[0].scores is not None
    assert again.samples[0].scores.tolist() == [0.9, 0.2]


@pytest.mark.parametrize("points", [[[5, 5]], [[5, 5], [9, 5]], [[5.2, 5], [5.4, 5.1]]])
def test_boxes_have_an_area(tmp_path: Path, points: list[list[float]]) -> None:
    PIL.Image.new("L", (64, 48)).save(tmp_path / "a.png")
    names = tuple("abc"[: len(points)])
    sample = Sample(tmp_path / "a.png", np.array(points, float), np.full(len(points), 2))
    (file,) = Coco().write(LandmarkDataset([sample], LandmarkSet(names), images=tmp_path), tmp_path / "o.json")
    note = json.loads(file.read_text())["annotations"][0]
    x, y, width, height = note["bbox"]
    assert note["area"] == pytest.approx(width * height)
    assert min(width, height) >= 1
    assert all(x <= px <= x + width and y <= py <= y + height for px, py in points)


def test_nothing_left_is_an_error_with_its_reasons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected annotated landmarks, got none\n.*annotations without keypoints"):
        Coco().read(coco(tmp_path, [{}, {}]))
