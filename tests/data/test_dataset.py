"""LandmarkDataset: loading, spacing, subsets and limits; and that the measuring data load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Normalizer

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"


def make(root: Path, rows: list[str], yaml: str = "", header: str = "image,split,subject,l_x,l_y,r_x,r_y") -> Path:
    (root / "images").mkdir()
    for row in rows:
        PIL.Image.new("L", (20, 10)).save(root / "images" / row.split(",")[0])
    (root / "dataset.yaml").write_text(f"name: set\npairs: [[l, r]]\n{yaml}\n")
    (root / "landmarks.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


ROWS = ["a.png,train,s1,1,2,3,4", "b.png,train,s1,,,5,6", "c.png,val,s2,7,8,,", "d.png,test,s3,,,,"]


def test_load_and_its_properties(tmp_path: Path) -> None:
    data = LandmarkDataset.load(make(tmp_path, ROWS))
    assert (len(data), data.name, data.folder, data.landmarks.names) == (4, "set", tmp_path, ("l", "r"))
    assert data.splits() == {"train": 2, "val": 1, "test": 1}
    assert data.points.shape == (4, 2, 2)
    np.testing.assert_array_equal(data.visibility, [[2, 2], [0, 2], [2, 0], [0, 0]])
    assert data.groups == ("subject:s1", "subject:s1", "subject:s2", "subject:s3")
    assert [data.image_name(sample) for sample in data.samples] == ["a.png", "b.png", "c.png", "d.png"]
    assert data.read(0).pixels.shape == (1, 10, 20)


def test_instances_of_an_image_and_what_is_known_of_them(tmp_path: Path) -> None:
    header = "image,split,subject,instance,l_x,l_y,l_v,r_x,r_y,r_v"
    rows = ["a.png,train,s,i,1,2,,3,4,", "a.png,train,s,j,5,6,1,,,", "b.png,train,s,i,7,8,,,,0", "c.png,val,u,,,,,,,"]
    data = LandmarkDataset.load(make(tmp_path, rows, "instances: true", header))
    np.testing.assert_array_equal(data.visibility, [[2, 2], [1, ABSENT], [2, 0], [ABSENT, ABSENT]])
    a, b, c = data.instances_by_image()
    np.testing.assert_array_equal(a.points, [[[1, 2], [3, 4]], [[5, 6], [np.nan, np.nan]]])
    assert (a.image.name, a.rows, a.annotated.tolist()) == ("a.png", (0, 1), [True] * 2)
    assert (b.points.shape, b.annotated.tolist()) == ((1, 2, 2), [True, False])
    assert (c.points.shape, c.annotated.tolist(), c.rows) == ((0, 2, 2), [True, True], (3,))
    assert data.only("val").instances_by_image()[0].rows == (0,)
    data.save(tmp_path / "again")
    np.testing.assert_array_equal(LandmarkDataset.load(tmp_path / "again").visibility, data.visibility)


def test_splits_and_unknown_splits(tmp_path: Path) -> None:
    root = make(tmp_path, ROWS)
    assert [s.image.name for s in LandmarkDataset.load(root, split="train").samples] == ["a.png", "b.png"]
    with pytest.raises(DataError, match="unknown split 'trian'; did you mean 'train'"):
        LandmarkDataset.load(root, split="trian")
    with pytest.raises(DataError, match="expected annotated landmarks, got none in split 'test'"):
        LandmarkDataset.load(root, split="test")
    (root / "landmarks.csv").write_text("image,l_x,l_y,r_x,r_y\na.png,1,2,3,4\n")
    with pytest.raises(DataError, match="the table stores no splits; run 'trigpoint data split'"):
        LandmarkDataset.load(root, split="train")


def test_missing_and_wrong_images_are_named_with_their_rows(tmp_path: Path) -> None:
    root = make(tmp_path, [*ROWS, "e.png,train,s4,50,60,7,90", "f.png,train,s5,50,60,3,4"])
    (root / "images" / "b.png").unlink()
    (root / "images" / "c.png").write_text("text")
    with pytest.raises(DataError) as error:
        LandmarkDataset.load(root)
    lines = str(error.value).splitlines()
    assert len(lines) == 3  # f.png has only half its points outside
    assert "row 3" in lines[0]
    assert "b.png: expected an image file, got none" in lines[0]
    assert "row 4" in lines[1]
    assert "c.png: expected an image, got something else" in lines[1]
    assert "row 6" in lines[2]
    assert "got 20 x 10 pixels and points up to (50, 90)" in lines[2]
    with pytest.raises(DataError, match=r"e\.png: expected an image that holds its points"):
        LandmarkDataset.load(root, check_images=False).read(4)


def test_names_pick_and_reorder(tmp_path: Path) -> None:
    root = make(tmp_path, ROWS, "normalizer: {name: d, between: [l, r]}\ngroups: {all: [l, r], one: [l]}")
    data = LandmarkDataset.load(root, names=["r", "l"])
    np.testing.assert_array_equal(data.points[0], [[3, 4], [1, 2]])
    assert data.landmarks.pairs == (("l", "r"),)
    only = data.pick(["r"])
    assert (only.landmarks.pairs, only.landmarks.normalizer) == ((), None)
    assert only.landmarks.groups == {"all": ("r",)}
    with pytest.raises(DataError, match="unknown landmark 'x'; valid: r, l; or add the columns x_x and x_y, blank"):
        data.pick(["x"])


def test_no_pairs_are_stated_or_not(tmp_path: Path) -> None:
    root = make(tmp_path, ROWS)
    about = root / "dataset.yaml"
    for text, mirrors in (("", None), ("pairs: []\n", True), ("pairs:\n", None)):
        about.write_text(f"name: set\n{text}")
        data = LandmarkDataset.load(root)
        assert (data.landmarks.pairs, data.landmarks.mirrors) == ((), mirrors)
        saved = data.save(tmp_path / f"saved{text[:7]}{mirrors}")
        assert LandmarkDataset.load(saved).landmarks.mirrors is mirrors
        assert LandmarkDataset.load(root, names=["r"]).landmarks.mirrors is mirrors


def test_landmarks_that_a_set_lacks_are_not_annotated(tmp_path: Path) -> None:
    data = LandmarkDataset.load(make(tmp_path, ROWS))
    more = data.aligned(["x", "r", "l"])
    np.testing.assert_array_equal(more.points[0], [[np.nan, np.nan], [3, 4], [1, 2]])
    np.testing.assert_array_equal(more.visibility[:, 1:], data.visibility[:, ::-1])
    assert not more.visibility[:, 0].any()
    assert more.landmarks.names == ("x", "r", "l")
    assert not data.aligned(["l", "r"], blank=["r"]).visibility[:, 1].any()


def test_spacing_of_row_before_dataset(tmp_path: Path) -> None:
    header = "image,split,subject,l_x,l_y,r_x,r_y,spacing_mm"
    rows = ["a.png,train,s,1,2,3,4,0.3", "b.png,train,s,1,2,3,4,"]
    data = LandmarkDataset.load(make(tmp_path, rows, "spacing_mm: 0.5", header))
    assert data.spacings.tolist() == [[0.3, 0.3], [0.5, 0.5]]
    assert data.spacing_mm == (0.5, 0.5)


def test_spacing_of_a_dicom_file_before_dataset(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    file = get_testdata_file("CT_small.dcm")  # shipped with pydicom, 128 x 128, PixelSpacing 0.661468
    frame = pd.DataFrame({"image": [file], "tip_x": [3], "tip_y": [4]})
    frame["image"] = frame["image"].map(lambda name: Path(name).name)
    data = LandmarkDataset.from_table(frame, images=Path(str(file)).parent, spacing_mm=2.0)
    assert data.spacings.tolist() == [pytest.approx([0.661468] * 2)]
    assert data.read(0).spacing_source == "PixelSpacing"


def test_from_table_takes_a_landmark_set_and_names_rows() -> None:
    frame = pd.DataFrame({"image": ["a.png", "b.png"], "r_x": [1.0, None], "r_y": [2.0, None], "l_x": 3, "l_y": 4.25})
    marks = LandmarkSet(("l", "r"), (("l", "r"),), normalizer=Normalizer("box", box=True))
    data = LandmarkDataset.from_table(frame, images="some", landmarks=marks)
    assert data.landmarks == marks
    np.testing.assert_array_equal(data.points, [[[3, 4.25], [1, 2]], [[3, 4.25], [np.nan, np.nan]]])
    assert data.samples[1].image == Path("some/b.png")
    with pytest.raises(DataError, match="row 3, landmark 'r': expected a finite number"):
        LandmarkDataset.from_table(frame.assign(r_x=["1", "?"]))


def frame(images: int, per_subject: int = 3) -> pd.DataFrame:
    names = [f"{i:03d}.png" for i in range(images)]
    return pd.DataFrame(
        {"image": names, "subject": [f"s{i // per_subject}" for i in range(images)], "t_x": 1, "t_y": 2}
    )


def test_limit_is_nested_grouped_fixed_and_independent_of_order() -> None:
    data = LandmarkDataset.from_table(frame(30))
    names = {n: [s.image.name for s in data.limit(n, seed=3).samples] for n in (1, 4, 6, 17, 30, 99)}
    assert [len(names[n]) for n in names] == [1, 4, 6, 17, 30, 30]
    for small, large in [(1, 4), (4, 6), (6, 17), (17, 30)]:
        assert set(names[small]) < set(names[large])
    assert len({s.subject for s in data.limit(6, seed=3).samples}) == 2  # whole subjects
    assert names[6] == sorted(names[6])  # table order
    shuffled = LandmarkDataset.from_table(frame(30).sample(frac=1, random_state=1))
    assert {s.image.name for s in shuffled.limit(6, seed=3).samples} == set(names[6])
    assert {s.image.name for s in data.limit(6, seed=4).samples} != set(names[6])
    with pytest.raises(DataError, match="at least 1"):
        data.limit(0)


def test_limit_keeps_the_instances_of_an_image_together() -> None:
    table = pd.DataFrame({"image": ["a", "a", "b", "b"], "instance": ["1", "2", "1", "2"], "t_x": 1, "t_y": 2})
    data = LandmarkDataset.from_table(table)
    assert data.instances
    assert data.by_image() == ((0, 1), (2, 3))
    assert len({s.image for s in data.limit(1).samples}) == 1
    assert len(data.limit(1)) == 2


def test_save_writes_a_dataset_that_loads_alike(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    data = LandmarkDataset.load(make(tmp_path / "a", ROWS, "spacing_mm: 0.5\ngroups: {all: [l, r]}"))
    for how in ("copy", "link"):
        again = LandmarkDataset.load(data.save(tmp_path / how, images=how))  # type: ignore[arg-type]
        np.testing.assert_array_equal(again.points, data.points)
        assert (again.landmarks, again.name, again.spacings.tolist()) == (data.landmarks, "set", [[0.5, 0.5]] * 4)
        assert "spacing" not in (tmp_path / how / "landmarks.csv").read_text()
        assert (tmp_path / how / "images" / "a.png").is_symlink() is (how == "link")
    with pytest.raises(DataError, match="expected a new file"):
        data.save(tmp_path / "copy")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "samples", "landmarks", "instances"),
    [("muct", 3755, 76, False), ("isbi2015_ceph", 300, 19, False), ("laparoscopy_tools", 1918, 2, True)],
)
def test_the_measuring_data_load(name: str, samples: int, landmarks: int, instances: bool) -> None:
    if not (REAL / name).is_dir():
        pytest.skip("no measuring data beside the checkout")
    data = LandmarkDataset.load(REAL / name)
    assert (len(data), len(data.landmarks), data.instances) == (samples, landmarks, instances)
    assert data.read(0).pixels.ndim == 3
    if name == "isbi2015_ceph":
        assert set(data.spacings.ravel()) == {0.1}
