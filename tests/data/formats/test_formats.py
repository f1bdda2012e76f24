"""Every foreign format round-trips by name what it says it keeps, and names file and line of what is malformed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import FORMATS, READ_ONLY, Coco, DeepLabCut, Isbi, Ljson, Pts
from trigpoint.data.formats.base import not_kept
from trigpoint.data.formats.isbi import NAMES
from trigpoint.data.formats.wflw import NAMES as WFLW_NAMES
from trigpoint.data.measurements import read_measurements
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Normalizer, Sample

CALCULATED = 5.1e-7  # tps and pts write calculated numbers in six decimals
WRITTEN = [form for form in FORMATS if form not in READ_ONLY]
ONE_FILE = {  # the name of the file; the others have a file per image, or a folder
    "coco": "out.json",
    "cvat": "out.xml",
    "deeplabcut": "out.csv",
    "imglab": "out.xml",
    "labelstudio": "out.json",
    "nwb": "out.nwb",
    "sleap": "out.slp",
    "tps": "out.tps",
    "via": "out.json",
    "wflw": "out.txt",
}
NAMELESS = ("pts", "isbi", "tps")
OCCLUDED = ("coco", "cvat", "yolo")  # keep visibility 1
INSTANCES = (
    "coco", "cvat", "deeplabcut", "imglab", "labelme", "labelstudio", "nwb", "sleap", "tps", "via", "yolo",
)  # fmt: skip
NUMBERED = ("cvat", "nwb", "yolo")  # know no names of instances
FIXED = {"isbi": NAMES, "wflw": WFLW_NAMES}  # formats of one set of landmarks, which cannot say that one is missing
TOLERANCE = {  # yolo and labelstudio store shares of the size, imglab whole pixels, fiji single precision
    "fiji": 0.0005,
    "imglab": 0.5,
    "labelstudio": 1e-9,
    "pts": CALCULATED,
    "tps": CALCULATED,
    "yolo": 1e-12,
}
coordinates = st.floats(-100, 5000, allow_nan=False, allow_infinity=False)
inside = st.floats(0, 4)  # of an image of 7 x 5; yolo holds no others


def dataset(
    root: Path, points: np.ndarray, names: tuple[str, ...] | None = None, occluded: bool = False
) -> LandmarkDataset:
    """A set of images in two folders; ``points`` (N, K, 2)."""
    names = names or tuple(f"mark {chr(122 - k)}" for k in range(points.shape[1]))
    samples = []
    for index, rows in enumerate(points):
        image = root / "images" / f"part{index % 2}" / f"shot {index}.v1.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (7, 5)).save(image)
        visibility = np.where(np.isnan(rows[:, 0]), 0, 1 + (np.arange(len(rows)) % 2 if occluded else 1))
        samples.append(Sample(image, rows.astype(float), visibility.astype(np.int64)))
    return LandmarkDataset(samples, LandmarkSet(names), name="set", images=root / "images")


def round_trip(form: str, data: LandmarkDataset, root: Path) -> LandmarkDataset:
    target = root / ONE_FILE.get(form, "out")
    files = FORMATS[form]().write(data, target)
    assert files
    assert all(file.is_file() for file in files)
    again = FORMATS[form]().read(target, images=root / "images")
    where = {data.image_name(sample): index for index, sample in enumerate(again.samples)}
    return again.subset([where[data.image_name(sample)] for sample in data.samples])


@pytest.mark.parametrize("form", WRITTEN)
def test_what_is_not_kept_of_the_description_is_known(form: str, tmp_path: Path) -> None:
    names = FIXED.get(form, ("left", "right", "tip"))
    points = np.tile(np.arange(len(names))[:, None] % 3 + 1.0, (2, 1, 2))
    data = dataset(tmp_path, points, names)
    marks = LandmarkSet(
        names,
        pairs=((names[0], names[1]),),
        groups={"both": names[:2]},
        normalizer=Normalizer("width", between=(names[0], names[1])),
        measurements=read_measurements({"bend": {"angle": [names[0], names[1], names[2]]}}, []),
    )
    assert marks.measurements
    samples = [replace(sample, spacing_mm=(0.5, 0.5)) for sample in data.samples]
    data = replace(data, landmarks=marks, samples=samples)
    options = {"unit": "mm"} if form == "tps" else {}
    options |= {"names": names} if form in NAMELESS and form not in FIXED else {}
    written = FORMATS[form](**options)
    target = tmp_path / ONE_FILE.get(form, "out")
    written.write(data, target)
    again = FORMATS[form](**options).read(target, images=tmp_path / "images")
    keys = ("pairs", "groups", "normalizer", "measurements")
    kept = {key for key in keys if getattr(again.landmarks, key) == getattr(marks, key)}
    kept |= {"spacing_mm"} & {"spacing_mm" for sample in again.samples if sample.spacing_mm == (0.5, 0.5)}
    assert set(not_kept(written, data)) == {*keys, "spacing_mm"} - kept


@pytest.mark.parametrize("form", WRITTEN)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_round_trip(form: str, data: st.DataObject) -> None:
    count = len(FIXED.get(form, "abc"))
    numbers = inside if form == "yolo" else coordinates
    values = data.draw(st.lists(numbers, min_size=4 * count, max_size=4 * count))
    points = np.array(values).reshape(2, count, 2)
    if form == "tps":
        points = abs(points)  # two negative numbers are its sign for missing
    if form not in FIXED:
        points[0, data.draw(st.integers(0, count - 1))] = np.nan
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        before = dataset(root, points, FIXED.get(form), occluded=True)
        after = round_trip(form, before, root)
    np.testing.assert_allclose(after.points, before.points, rtol=0, atol=TOLERANCE.get(form, 0))
    seen = before.visibility if form in OCCLUDED else np.where(before.visibility > 0, 2, 0)
    np.testing.assert_array_equal(after.visibility, seen)
    if form not in NAMELESS:
        assert after.landmarks.names == before.landmarks.names
    assert [s.image for s in after.samples] == [s.image for s in before.samples]
    assert after.instances is False


@pytest.mark.parametrize("form", WRITTEN)
def test_instances_are_kept_or_refused(form: str, tmp_path: Path) -> None:
    data = dataset(tmp_path, np.arange(12.0).reshape(3, 2, 2) / 3)
    first, second, third = data.samples
    twice = [
        Sample(first.image, first.points, first.visibility, instance="left tool"),
        Sample(first.image, second.points, second.visibility, instance="right tool"),
        Sample(third.image, np.full((2, 2), np.nan), np.zeros(2, np.int64)),
    ]
    many = LandmarkDataset(twice, data.landmarks, images=data.images, instances=True)
    target = tmp_path / ONE_FILE.get(form, "out")
    if form not in INSTANCES:
        with pytest.raises(DataError, match=r"instances|98 landmarks"):
            FORMATS[form]().write(many, target)
        assert not target.exists()
        return
    FORMATS[form]().write(many, target)
    again = FORMATS[form]().read(target, images=data.images)
    assert again.instances
    count = 2 if form == "yolo" else 3  # what is not annotated would be background there
    if form not in NUMBERED:
        assert [s.instance for s in again.samples] == ["left tool", "right tool", ""]
    assert len({s.instance for s in again.samples}) == count
    np.testing.assert_allclose(again.points, many.points[:count], rtol=0, atol=TOLERANCE.get(form, 0))


@pytest.mark.parametrize("form", WRITTEN)
def test_nothing_is_overwritten_unasked(form: str, tmp_path: Path) -> None:
    names = FIXED.get(form, NAMES)
    count = len(names)
    data = dataset(tmp_path, np.arange(4.0 * count).reshape(2, count, 2) / count, names)
    target = tmp_path / ONE_FILE.get(form, "out")
    files = FORMATS[form]().write(data, target)
    files[0].unlink()
    files[-1].parent.mkdir(exist_ok=True)
    files[-1].write_text("mine")
    with pytest.raises(DataError, match="expected a new file"):
        FORMATS[form]().write(data, target)
    assert files[-1].read_text() == "mine"
    assert files[0].exists() is (files[0] == files[-1])
    FORMATS[form]().write(data, target, overwrite=True)
    assert files[-1].read_bytes() != b"mine"


@pytest.mark.parametrize("form", READ_ONLY)
def test_formats_that_are_only_read_say_so(form: str, tmp_path: Path) -> None:
    data = dataset(tmp_path, np.ones((1, 2, 2)))
    with pytest.raises(DataError, match="only read"):
        FORMATS[form]().write(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_missing_sources_are_named(form: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        FORMATS[form]().read(tmp_path / "nowhere")


def image(root: Path, name: str = "a.png") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", (7, 5)).save(root / name)
    return root


def test_pts_counts_from_one(tmp_path: Path) -> None:
    (image(tmp_path) / "a.pts").write_text("version: 1\nn_points:  2\n{\n1 1\n3.5 2\n}\n")
    data = Pts(names=["l", "r"]).read(tmp_path / "a.pts")
    np.testing.assert_array_equal(data.points[0], [[0, 0], [2.5, 1]])
    assert Pts().read(tmp_path).landmarks.names == ("p00", "p01")
    Pts(names=["r", "l"]).write(data, tmp_path / "out")
    assert (tmp_path / "out" / "a.pts").read_text() == "version: 1\nn_points: 2\n{\n3.5 2\n1 1\n}\n"


def test_isbi_reads_doctors_and_their_mean(tmp_path: Path) -> None:
    image(tmp_path, "img/001.bmp")
    for who, offset in (("400_senior", 0), ("400_junior", 3)):
        (tmp_path / "notes" / who).mkdir(parents=True)
        lines = [f"{10 * k + offset},{k}" for k in range(19)] + [str(k) for k in range(8)]
        (tmp_path / "notes" / who / "001.txt").write_text("\n".join(lines))
    source, images = tmp_path / "notes", tmp_path / "img"
    for annotator, offset in ((None, 1.5), ("mean", 1.5), ("senior", 0), ("junior", 3)):
        data = Isbi(annotator).read(source, images)  # type: ignore[arg-type]
        np.testing.assert_array_equal(data.points[0, :, 0], np.arange(19) * 10 + offset)
    assert data.landmarks.names[0] == "sella"
    assert Isbi("senior", spacing_mm=0.1).read(source, images).spacings.tolist() == [[0.1, 0.1]]
    assert len(Isbi().read(source / "400_junior", images)) == 1
    with pytest.raises(DataError, match="leave the annotator out"):
        Isbi("senior").read(source / "400_junior", images)
    (source / "400_junior" / "001.txt").unlink()
    with pytest.raises(DataError, match=r"400_junior/001\.txt: expected both doctors"):
        Isbi().read(source, images)


def test_isbi_refuses_missing_points_and_finds_names(tmp_path: Path) -> None:
    data = dataset(tmp_path, np.arange(38.0).reshape(1, 19, 2), NAMES[::-1])
    (file,) = Isbi().write(data, tmp_path / "out")
    assert file.read_text().splitlines()[0] == "36,37"  # sella stands last in the dataset
    data.points[0, 0] = np.nan
    gap = Sample(data.samples[0].image, data.points[0], np.where(np.isnan(data.points[0, :, 0]), 0, 2), row=4)
    with pytest.raises(DataError, match="row 4, landmark 'articulare': expected all 19 points"):
        Isbi().write(LandmarkDataset([gap], data.landmarks), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def coco() -> dict[str, list[dict[str, object]]]:
    note = {"id": 5, "image_id": 9, "category_id": 2, "keypoints": [1.5, 2, 2, 0, 0, 0, 3, 4, 1], "num_keypoints": 2}
    return {
        "images": [{"id": 9, "file_name": "a.png", "height": 5, "width": 7}, {"id": 8, "file_name": "b.png"}],
        "annotations": [note, {"id": 6, "image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        "categories": [{"id": 1, "name": "box"}, {"id": 2, "name": "tool", "keypoints": ["tip", "hinge", "end"]}],
    }


def test_coco_by_names_with_visibility(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text(json.dumps(coco()))
    data = Coco().read(file)
    assert data.landmarks.names == ("tip", "hinge", "end")
    np.testing.assert_array_equal(data.points[0], [[1.5, 2], [np.nan, np.nan], [3, 4]])
    np.testing.assert_array_equal(data.visibility, [[2, 0, 1], [0, 0, 0]])
    assert not data.instances


def test_coco_instances_are_absent_only_where_an_image_has_none(tmp_path: Path) -> None:
    root = image(image(tmp_path, "a.png"), "b.png")
    points = np.array([[[1.0, 2], [np.nan, np.nan]], np.full((2, 2), np.nan)])
    samples = [
        Sample(root / "a.png", points[0], np.array([2, ABSENT]), instance="t"),
        Sample(root / "b.png", points[1], np.array([ABSENT, ABSENT])),
    ]
    data = LandmarkDataset(samples, LandmarkSet(("tip", "hinge")), images=root, instances=True)
    (file,) = Coco().write(data, tmp_path / "o.json")
    assert json.loads(file.read_text())["annotations"][0]["keypoints"] == [1, 2, 2, 0, 0, 0]
    again = Coco().read(file)
    assert again.instances  # by our own key, although no image has two
    assert again.visibility.tolist() == [[2, 0], [ABSENT, ABSENT]]


def test_coco_keeps_subject_and_split_and_writes_boxes(tmp_path: Path) -> None:
    data = dataset(tmp_path, np.array([[[1.0, 2], [4, 6]]]))
    (sample,) = data.samples
    full = Sample(sample.image, sample.points, sample.visibility, "val", "s9")
    (file,) = Coco().write(LandmarkDataset([full], data.landmarks, images=data.images), tmp_path / "o.json")
    stored = json.loads(file.read_text())
    assert stored["annotations"][0]["bbox"] == [1, 2, 3, 4]
    assert stored["images"][0]["height"] == 5
    again = Coco().read(file, data.images).samples[0]
    assert (again.split, again.subject, again.image) == ("val", "s9", full.image)


def broken(change: Callable[[dict], object]) -> str:  # type: ignore[type-arg]
    values = coco()
    change(values)
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n"images": [}', "line 2: not readable as JSON"),
        ("[]", "expected a JSON object"),
        (broken(lambda v: v.pop("images")), "expected 'images' as list, got nothing"),
        (
            broken(lambda v: v["annotations"][0].update(keypoints=[1, 2])),
            r"annotations\[0\]: expected 9 keypoint numbers",
        ),
        (
            broken(lambda v: v["annotations"][0].update(image_id=77)),
            r"expected the 'image_id' of a listed image, .*annotations\[0\]: 77",
        ),
        (broken(lambda v: v["images"][1].update(id=9)), r"expected an 'id' of its own .*images\[1\]"),
        (broken(lambda v: v["categories"][0].update(keypoints=["a"])), r"got 2 \(box, tool\).*--option category="),
        (broken(lambda v: v["categories"][1].update(keypoints=["a", "a", "b"])), "expected each once, got a"),
    ],
)
def test_malformed_coco(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        Coco().read(tmp_path / "n.json")
    assert "n.json" in str(error.value)


def test_coco_category_is_chosen_by_name(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(broken(lambda v: v["categories"][0].update(keypoints=["a"])))
    assert len(Coco("tool").read(tmp_path / "n.json").landmarks) == 3
    with pytest.raises(DataError, match="unknown category 'tol'; did you mean 'tool'"):
        Coco("tol").read(tmp_path / "n.json")


DLC = "scorer,me,me,me,me\nbodyparts,nose,nose,tail,tail\ncoords,x,y,y,x\n"


def test_deeplabcut_by_names_in_any_order(tmp_path: Path) -> None:
    image(tmp_path, "labeled-data/vid1/img0.png")
    file = tmp_path / "labeled-data" / "vid1" / "CollectedData_me.csv"
    file.write_text(DLC + "labeled-data\\vid1\\img0.png,1.5,2,4,3\nlabeled-data/vid1/img1.png,,,,\n")
    data = DeepLabCut().read(file)
    assert data.landmarks.names == ("nose", "tail")
    np.testing.assert_array_equal(data.points[0], [[1.5, 2], [3, 4]])
    assert np.isnan(data.points[1]).all()
    assert data.samples[0].image.resolve() == (tmp_path / "labeled-data/vid1/img0.png").resolve()
    assert [(s.subject, s.row) for s in data.samples] == [("vid1", 4), ("vid1", 5)]


def test_deeplabcut_path_in_three_columns_and_likelihood(tmp_path: Path) -> None:
    head = "scorer,,,me,me,me\nbodyparts,,,nose,nose,nose\ncoords,,,x,y,likelihood\n"
    (tmp_path / "d.csv").write_text(head + "labeled-data,vid,img0.png,1,2,0.9\n")
    data = DeepLabCut().read(tmp_path / "d.csv", images=tmp_path)
    assert data.image_name(data.samples[0]) == "labeled-data/vid/img0.png"
    np.testing.assert_array_equal(data.points, [[[1, 2]]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,a_x,a_y\n", "row 1: expected header rows scorer"),
        ("", "got an empty file"),
        (DLC, "expected a row per frame"),
        (DLC + "a.png,1,2,3\n", "row 4: expected 5 cells as in the header, got 4"),
        (DLC + "a.png,,,3,x\n", "row 4, landmark 'tail': expected two numbers"),
        (DLC + "a.png,1,,,\n", "row 4, landmark 'nose': expected two numbers or two blank cells"),
        (DLC + ",1,2,3,4\n", "row 4: expected the name of an image"),
        (DLC + "0,1,2,3,4\n1,1,2,3,4\n", "row 4: expected the names of images in the first column, got frame numbers"),
        (DLC.replace("y,y", "y,z") + "a.png,1,2,3,4\n", "row 3: expected x, y or likelihood"),
        ("scorer,m\nbodyparts,a\ncoords,x\na.png,1\n", "row 3, landmark 'a': expected a column y"),
    ],
)
def test_malformed_deeplabcut(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        DeepLabCut().read(tmp_path / "d.csv")
    assert "d.csv" in str(error.value)


def ljson(**changes: object) -> str:
    labels = [{"label": "eyes", "mask": [0, 1]}, {"label": "nose", "mask": [2]}]
    body = {"points": [[10, 1], [20, 2], [None, None]], "connectivity": [[0, 1]]}
    return json.dumps({"version": 2, "labels": labels, "landmarks": body} | changes)


def test_ljson_is_y_before_x_with_names_and_groups(tmp_path: Path) -> None:
    (image(tmp_path) / "a.ljson").write_text(ljson())
    data = Ljson().read(tmp_path)
    np.testing.assert_array_equal(data.points[0], [[1, 10], [2, 20], [np.nan, np.nan]])
    assert data.landmarks.names == ("eyes_00", "eyes_01", "nose")
    assert data.landmarks.groups == {"eyes": ("eyes_00", "eyes_01")}
    (file,) = Ljson().write(data, tmp_path / "out")
    assert json.loads(file.read_text())["landmarks"]["points"] == [[10, 1], [20, 2], [None, None]]
    assert Ljson().read(tmp_path / "out", tmp_path).landmarks == data.landmarks


def test_ljson_files_are_matched_by_name(tmp_path: Path) -> None:
    labels = [{"label": "a", "mask": [0]}, {"label": "b", "mask": [1]}]
    swapped = [{"label": "b", "mask": [0]}, {"label": "a", "mask": [1]}]
    body = {"points": [[10, 1], [20, 2]], "connectivity": []}
    (image(tmp_path) / "a.ljson").write_text(ljson(labels=labels, landmarks=body))
    (image(tmp_path, "b.png") / "b.ljson").write_text(ljson(labels=swapped, landmarks=body))
    np.testing.assert_array_equal(Ljson().read(tmp_path).points[1], [[2, 20], [1, 10]])
    (tmp_path / "b.ljson").write_text(ljson(labels=labels[:1], landmarks={"points": [[10, 1]], "connectivity": []}))
    data = Ljson().read(tmp_path)
    assert data.visibility.tolist() == [[2, 2], [2, 0]]
    assert "files without 'b', which counts as not annotated there (b.ljson)" in str(data.problems[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"version": 2,\n\n oops}', "line 3: not readable as JSON"),
        (ljson(version=4), "expected ljson version 1, 2 or 3, got 4"),
        (ljson(version=3), "expected 'groups' as dict, got nothing"),
        (ljson(version=3, groups={"a": {}, "b": {}}), "got a, b; choose one: --option group=NAME"),
        (ljson(landmarks={}), "expected 'points' as list, got nothing"),
        (ljson(landmarks={"points": [[1, None]]}, labels=[]), r"points\[0\]: expected two numbers or two nulls"),
        (ljson(landmarks={"points": [[1, 2, 3]]}, labels=[]), r"points\[0\]: expected \[y, x\]"),
        (ljson(landmarks={"points": [[1, "2"]]}, labels=[]), r"points\[0\]: expected two numbers"),
        (ljson(labels=[{"label": "a", "mask": [3]}]), r"labels\[0\]: expected point numbers 0 to 2 in 'mask', got 3"),
        (ljson(labels=[{"label": "a", "mask": [0]}, {"label": "a", "mask": [1]}]), "expected each once, got a"),
    ],
)
def test_malformed_ljson(tmp_path: Path, text: str, expected: str) -> None:
    (image(tmp_path) / "a.ljson").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        Ljson().read(tmp_path)
    assert "a.ljson" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\nn_points: 2\n{\n1 2\n3 x\n}\n", "line 5: expected 'x y', got '3 x'"),
        ("version: 1\nn_points: 2\n{\n1 2\n3 4 5\n}\n", "line 5: expected 'x y'"),
        ("version: 1\nn_points: 2\n{\n1 2\n}\n", "expected n_points: 2 points, got 1"),
        ("version: 1\nn_points: 2\n{\n1 2\n", "got the end of the file"),
        ("version: 1\npoints: 2\n{\n1 2\n}\n", "line 2: expected 'version: 1', 'n_points"),
        ("{\n1 2\n}\nmore\n", "line 4: expected nothing after"),
        ("{\n1 inf\n}\n", "line 2: expected 'x y'"),
        ("{\n}\n", "expected points, got none"),
        ("", "got the end of the file"),
    ],
)
def test_malformed_pts(tmp_path: Path, text: str, expected: str) -> None:
    (image(tmp_path) / "a.pts").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        Pts().read(tmp_path)
    assert "a.pts" in str(error.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["1,2"] * 18 + ["1;2"], "line 19: expected 'x,y', got '1;2'"),
        (["1,2"] * 19 + ["1", "1,2"], "line 21: expected a diagnosis number"),
        (["1,2", ""] + ["1,2"] * 18, "line 2: expected 'x,y', got ''"),
    ],
)
def test_malformed_isbi(tmp_path: Path, lines: list[str], expected: str) -> None:
    (image(tmp_path) / "a.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=expected) as error:
        Isbi().read(tmp_path)
    assert "a.txt" in str(error.value)


@pytest.mark.parametrize(("form", "name"), [("pts", "a.pts"), ("ljson", "a.ljson"), ("isbi", "a.txt")])
def test_an_annotation_without_image_is_named(tmp_path: Path, form: str, name: str) -> None:
    body = {"a.pts": "{\n1 2\n}", "a.ljson": ljson(), "a.txt": "1,2\n" * 19}[name]
    (tmp_path / name).write_text(body)
    with pytest.raises(DataError, match=rf"{name}: expected its image .*a\.\*"):
        FORMATS[form]().read(tmp_path)


def test_images_with_one_name_cannot_share_a_file(tmp_path: Path) -> None:
    image(tmp_path, "a.png")
    image(tmp_path, "a.bmp")
    points, seen = np.zeros((1, 2)), np.full(1, 2)
    samples = [Sample(tmp_path / name, points, seen) for name in ("a.png", "a.bmp")]
    with pytest.raises(DataError, match="expected one image called 'a', got two"):
        Pts().write(LandmarkDataset(samples, LandmarkSet(("t",)), images=tmp_path), tmp_path / "out")


@pytest.mark.parametrize(("form", "suffix", "text"), [("pts", ".pts", "{{\n{}\n}}"), ("isbi", ".txt", "{}")])
def test_files_without_names_need_one_count(tmp_path: Path, form: str, suffix: str, text: str) -> None:
    one = "1 2" if form == "pts" else "1,2"
    for name, rows in (("a", 1), ("b", 2)):
        (image(tmp_path, f"{name}.png") / f"{name}{suffix}").write_text(text.format("\n".join([one] * rows)))
    with pytest.raises(DataError, match=rf"number of points, got 1 \(a{suffix}\) and 2 \(b{suffix}\); divide them"):
        FORMATS[form]().read(tmp_path)
    (image(tmp_path, "c.png") / f"c{suffix}").write_text(text.format(f"{one}\n{one}"))
    (image(tmp_path, "d.png") / f"d{suffix}").write_text(text.format("damaged"))
    data = FORMATS[form]().read(tmp_path)
    assert [sample.image.name for sample in data.samples] == ["b.png", "c.png"]
    told = "\n".join(map(str, data.problems))
    assert f"a{suffix}: 1" in told
    assert f"d{suffix}, line" in told or f"d{suffix}: line" in told


@pytest.mark.parametrize("form", ["pts", "isbi", "ljson"])
def test_missing_images_of_files_are_listed_together(tmp_path: Path, form: str) -> None:
    suffix, body = {"pts": (".pts", "{\n1 2\n}"), "isbi": (".txt", "1,2\n"), "ljson": (".ljson", ljson())}[form]
    for name in "abcd":
        (tmp_path / f"{name}{suffix}").write_text(body)
    image(tmp_path, "c.png")
    with pytest.raises(DataError, match="3 of 4 files have no image") as error:
        FORMATS[form]().read(tmp_path)
    assert all(f"{name}{suffix}" in str(error.value) for name in "abd")
    assert "--images FOLDER" in str(error.value)


def test_two_images_of_one_name_are_told(tmp_path: Path) -> None:
    (image(image(tmp_path), "a.bmp") / "a.pts").write_text("{\n1 2\n}")
    (image(tmp_path, "u\u0308.png") / "ü.pts").write_text("{\n1 2\n}")  # another coding of the same name
    data = Pts().read(tmp_path)
    assert [sample.image.name for sample in data.samples] == ["a.png", "u\u0308.png"]
    assert "a.pts: a.png or a.bmp" in str(data.problems[0])


def test_text_with_any_number_of_points(tmp_path: Path) -> None:
    (image(tmp_path) / "a.txt").write_text("1,2\n3.5,4\n\n")
    data = Isbi(names=["tip", "end"]).read(tmp_path)
    assert data.landmarks.names == ("tip", "end")
    assert data.points.tolist() == [[[1, 2], [3.5, 4]]]
    (file,) = Isbi().write(data.pick(["end", "tip"]), tmp_path / "out")
    assert file.read_text() == "3.5,4\n1,2\n"
    file.unlink()
    assert "name them with --names" in str(Isbi().read(tmp_path).problems[0])
    with pytest.raises(DataError, match=r"a\.txt, line 3: expected 3 lines 'x,y', got 2"):
        Isbi(names=["a", "b", "c"]).read(tmp_path)


def test_ljson_of_every_version(tmp_path: Path) -> None:
    image(tmp_path)
    groups = [
        {"label": "chin", "connectivity": [[0, 1]], "landmarks": [{"point": [10, 1]}, {"point": [None, None]}]},
        {"label": "eye", "landmarks": [{"point": [20, 2]}]},
    ]
    labels = [{"label": "chin", "mask": [0, 1]}, {"label": "eye", "mask": [2]}]
    body = {"points": [[10, 1], [None, None], [20, 2]], "connectivity": [[0, 1], [0, 9]]}
    versions = {
        1: {"version": 1, "groups": groups},
        2: {"version": 2, "labels": labels, "landmarks": body},
        3: {"version": 3, "groups": {"PTS": {"labels": labels, "landmarks": body}}},
    }
    for version, values in versions.items():
        (tmp_path / "a.ljson").write_text(json.dumps(values))
        data = Ljson().read(tmp_path)
        np.testing.assert_array_equal(data.points[0], [[1, 10], [np.nan, np.nan], [2, 20]])
        assert data.landmarks.names == ("chin_00", "chin_01", "eye")
        assert data.landmarks.skeleton == (("chin_00", "chin_01"),)
        assert ("connectivity[1]" in "".join(map(str, data.problems))) == (version > 1)
    (file,) = Ljson(group="PTS").write(data, tmp_path / "out")
    assert json.loads(file.read_text())["landmarks"]["connectivity"] == [[0, 1]]
