"""Projects of DeepLabCut and lightning-pose: tables, h5 files, whole projects, and what is told of them."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import DeepLabCut
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Sample

FILES = Path(__file__).parent / "files" / "deeplabcut"
HEAD = "scorer,{0},{0},{0},{0}\nbodyparts,nose,nose,tail,tail\ncoords,x,y,x,y\n"


def project(root: Path, videos: dict[str, str], scorer: str = "me", images: int = 2) -> Path:
    """A project with rows of each video below the usual header; ``{}`` stands for the folder of the images."""
    for video, rows in videos.items():
        folder = root / "labeled-data" / video
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(images):
            PIL.Image.new("L", (64, 48)).save(folder / f"img{k}.png")
        text = HEAD.format(scorer) + rows.replace("{}", f"labeled-data/{video}")
        (folder / f"CollectedData_{scorer}.csv").write_text(text)
    return root


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


def names(data: LandmarkDataset) -> list[str]:
    return [data.image_name(sample) for sample in data.samples]


def test_a_project_is_read_whole_in_natural_order(tmp_path: Path) -> None:
    rows = "{}/img0.png,1,2,3,4\n"
    project(tmp_path, {"v10": rows, "v9": rows, "v9_labeled": rows})
    (tmp_path / "labeled-data" / "v9_labeled" / "CollectedData_me.csv").unlink()
    data = DeepLabCut().read(tmp_path)
    assert names(data) == ["labeled-data/v9/img0.png", "labeled-data/v10/img0.png"]
    assert [sample.subject for sample in data.samples] == ["v9", "v10"]
    assert not data.problems
    for source in (tmp_path / "labeled-data", tmp_path / "labeled-data" / "v9"):
        assert names(DeepLabCut().read(source))[0] == "labeled-data/v9/img0.png"
    with pytest.raises(DataError, match="labeled-data/VIDEO/CollectedData_SCORER"):
        DeepLabCut().read(tmp_path / "labeled-data" / "v9_labeled")


def test_one_damaged_table_does_not_end_the_reading(tmp_path: Path) -> None:
    project(tmp_path, {"v1": "{}/img0.png,1,2,3,4\n", "v2": "{}/img0.png,1,2,3,4\n"})
    (tmp_path / "labeled-data" / "v1" / "CollectedData_me.csv").write_text("scorer\n")
    data = DeepLabCut().read(tmp_path)
    assert names(data) == ["labeled-data/v2/img0.png"]
    assert "v1/CollectedData_me.csv: row 1: expected header rows" in told(data)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{}/img0.png,1,2,3", "row 5: expected 5 cells as in the header, got 4; left out"),
        ("{}/img0.png,1,2,x,4", "row 5, landmark 'tail': expected two numbers or two blank cells, got 'x', '4'"),
        ("{}/img0.png,1,,3,4", "row 5, landmark 'nose': expected two numbers"),
        ("{}/img1.png,1,2,3,4", "row 5: expected each image once, got 'labeled-data/v1/img1.png' again (row 4)"),
        (",1,2,3,4", "row 5: expected the name of an image file"),
    ],
)
def test_one_damaged_row_does_not_end_the_reading(tmp_path: Path, row: str, message: str) -> None:
    data = DeepLabCut().read(project(tmp_path, {"v1": f"{{}}/img1.png,1,2,3,4\n{row}\n"}))
    assert message in told(data)
    assert data.points[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("prefix", ["/home/me/proj/", "C:\\Users\\me\\proj\\", "\\\\server\\share\\labeled-data\\"])
def test_paths_of_another_machine(tmp_path: Path, prefix: str) -> None:
    rows = "".join(f"{prefix}labeled-data/v1/img{k}.png,1,2,3,4\n" for k in range(2))
    data = DeepLabCut().read(project(tmp_path, {"v1": rows, "v2": "{}/img1.png,1,2,3,4\n"}))
    assert all(sample.image.is_file() for sample in data.samples)
    assert [sample.subject for sample in data.samples] == ["v1", "v1", "v2"]
    assert "paths of another machine; they count from labeled-data on (row 4, row 5)" in told(data)


def test_frames_of_a_video_that_is_gone_are_not_those_of_another(tmp_path: Path) -> None:
    project(tmp_path, {"v1": "{}/img0.png,1,2,3,4\n", "v2": "{}/img1.png,1,2,3,4\n"})
    for image in (tmp_path / "labeled-data" / "v1").glob("*.png"):
        image.unlink()
    data = DeepLabCut().read(tmp_path)
    assert [sample.image.is_file() for sample in data.samples] == [False, True]
    assert "1 images are not below" in told(data)


def test_names_of_frames_alone_lie_beside_their_table(tmp_path: Path) -> None:
    data = DeepLabCut().read(project(tmp_path, {"v1": "img0.png,1,2,3,4\n", "v2": "img0.png,5,6,7,8\n"}))
    assert names(data) == ["labeled-data/v1/img0.png", "labeled-data/v2/img0.png"]


def test_scorers(tmp_path: Path) -> None:
    project(tmp_path, {"v1": "{}/img0.png,1,2,3,4\n", "v2": "{}/img0.png,1,2,3,4\n"})
    project(tmp_path, {"v1": "{}/img0.png,9,9,9,9\n"}, scorer="you")
    both = DeepLabCut().read(tmp_path)
    assert both.points[0, 0, 0] == 1
    assert "labels of several scorers are read: me (2 tables), you (1 tables)" in told(both)
    assert "again (CollectedData_me.csv, row 4); left out" in told(both)
    yours = DeepLabCut(scorer="you").read(tmp_path)
    assert yours.points[:, 0, 0].tolist() == [9]
    assert "tables of other scorers; left out" in told(yours)
    (tmp_path / "config.yaml").write_text("scorer: you\n")
    data = DeepLabCut().read(tmp_path)
    assert sorted(data.points[:, 0, 0].tolist()) == [1, 9]
    with pytest.raises(DataError, match="unknown scorer 'yo'; did you mean 'you'"):
        DeepLabCut(scorer="yo").read(tmp_path)


def test_config_gives_order_and_skeleton(tmp_path: Path) -> None:
    project(tmp_path, {"v1": "{}/img0.png,1,2,3,4\n"})
    config = "bodyparts: [tail, nose, paw]\nskeleton:\n- [nose, tail]\n- [objectA, nose]\n- x\nidentity:\n"
    (tmp_path / "config.yaml").write_text(config)
    data = DeepLabCut().read(tmp_path / "labeled-data" / "v1" / "CollectedData_me.csv")
    assert data.landmarks.names == ("tail", "nose", "paw")
    assert data.landmarks.skeleton == (("nose", "tail"),)
    assert data.points[0, 0].tolist() == [3, 4]
    assert "no table has these bodyparts; not annotated anywhere (paw)" in told(data)
    assert "skeleton: expected two bodyparts each; left out (['objectA', 'nose'], 'x')" in told(data)
    (tmp_path / "config.yaml").write_text("bodyparts: MULTI!\nmultianimalbodyparts: [tail]\nuniquebodyparts: [nose]\n")
    assert DeepLabCut().read(tmp_path).landmarks.names == ("tail", "nose")
    (tmp_path / "config.yaml").write_text("a: [")
    assert "config.yaml: not readable as YAML" in told(DeepLabCut().read(tmp_path))


def animals(root: Path, cells: str) -> LandmarkDataset:
    PIL.Image.new("L", (64, 48)).save(root / "a.png")
    text = "\n".join(
        [
            "scorer" + ",a" * 10,
            "individuals,m1,m1,m1,m1,m2,m2,m2,m2,single,single",
            "bodyparts,nose,nose,tail,tail,nose,nose,tail,tail,food,food",
            "coords" + ",x,y" * 5,
            f"a.png,{cells}",
        ]
    )
    (root / "d.csv").write_text(text + "\n")
    return DeepLabCut().read(root / "d.csv")


@pytest.mark.parametrize(
    ("cells", "annotated", "instances"),
    [
        ("1,2,3,4,5,6,7,8,9,9", [True, True, True], 3),
        ("1,2,3,4,5,6,,,9,9", [True, False, True], 3),  # the tail of the second is in the picture or not
        ("1,2,3,4,,,,,9,9", [True, True, True], 2),
        ("1,2,3,4,5,6,7,8,,", [True, True, False], 2),  # nobody knows of the food
        (",,,,,,,,9,9", [False, False, True], 1),
        (",,,,,,,,,", None, 0),
    ],
)
def test_unique_body_parts(tmp_path: Path, cells: str, annotated: list[bool] | None, instances: int) -> None:
    if annotated is None:
        with pytest.raises(DataError, match="got none"):
            animals(tmp_path, cells)
        return
    data = animals(tmp_path, cells)
    (image,) = data.instances_by_image()
    assert image.annotated.tolist() == annotated
    assert len(image.points) == instances
    (file,) = DeepLabCut().write(data, tmp_path / "again.csv")
    again = DeepLabCut().read(file)
    np.testing.assert_array_equal(again.points[np.isfinite(again.points).any(axis=(1, 2))], image.points)
    assert again.instances_by_image()[0].annotated.tolist() == annotated


def test_likelihood_is_the_score(tmp_path: Path) -> None:
    PIL.Image.new("L", (64, 48)).save(tmp_path / "a.png")
    points = np.array([[10.0, 11], [np.nan, np.nan], [20, 21]])
    sample = Sample(tmp_path / "a.png", points, np.array([2, 0, 2]), scores=np.array([0.9, np.nan, 0.2]))
    plain = Sample(tmp_path / "b.png", points, np.array([2, 0, 2]))
    data = LandmarkDataset([sample, plain], LandmarkSet(("l", "m", "r")), images=tmp_path)
    (file,) = DeepLabCut().write(data, tmp_path / "d.csv")
    lines = file.read_text().splitlines()
    assert lines[2] == "coords,x,y,likelihood,x,y,likelihood,x,y,likelihood"
    assert lines[3:] == ["a.png,10,11,0.9,,,,20,21,0.2", "b.png,10,11,,,,,20,21,"]
    again = DeepLabCut().read(file)
    np.testing.assert_array_equal(again.samples[0].scores, [0.9, np.nan, 0.2])
    assert again.samples[1].scores is None
    (without,) = DeepLabCut().write(data.subset([1]), tmp_path / "e.csv")
    assert "likelihood" not in without.read_text()


def stored(root: Path, *files: str) -> Path:
    """Copies of files that DeepLabCut's own way of writing made, in a project with their images."""
    folder = project(root, {"v1": ""}, images=11) / "labeled-data" / "v1"
    (folder / "CollectedData_me.csv").unlink()
    for file in files:
        shutil.copy(FILES / file, folder / file)
    return folder


@pytest.mark.parametrize("file", ["CollectedData_me.h5", "flat.h5", "packed.h5", "blocks.h5"])
def test_h5_files_that_pandas_wrote(tmp_path: Path, file: str) -> None:
    pytest.importorskip("h5py")
    data = DeepLabCut().read(stored(tmp_path, file) / file)
    assert names(data) == ["labeled-data/v1/img0.png", "labeled-data/v1/img10.png"]
    assert data.landmarks.names[:2] == ("nose", "tail")
    expected = [[[0.25, 1.25], [2.25, 3.25]], [[np.nan, np.nan], [6.25, 7.25]]]
    np.testing.assert_array_equal(data.points[:, :2], expected)
    if file == "blocks.h5":
        assert data.points[:, 2].tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize("stem", ["CollectedData_me", "animals"])
def test_h5_and_csv_give_the_same(tmp_path: Path, stem: str) -> None:
    pytest.importorskip("h5py")
    folder = stored(tmp_path, f"{stem}.h5", f"{stem}.csv")
    packed, plain = (DeepLabCut().read(folder / f"{stem}{suffix}") for suffix in (".h5", ".csv"))
    np.testing.assert_array_equal(packed.points, plain.points)
    np.testing.assert_array_equal(packed.visibility, plain.visibility)
    assert [sample.instance for sample in packed.samples] == [sample.instance for sample in plain.samples]
    if stem == "animals":
        assert (packed.visibility == ABSENT).any()


def test_a_project_of_h5_files_alone(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    stored(tmp_path, "CollectedData_me.h5")
    assert len(DeepLabCut().read(tmp_path)) == 2


def test_h5_that_cannot_be_read_names_the_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored(tmp_path, "CollectedData_me.h5", "video.h5")
    if find_spec("h5py"):
        with pytest.raises(DataError, match=r"pickled.*pandas\.read_hdf\('video\.h5'\)\.to_csv\('video\.csv'\)"):
            DeepLabCut().read(folder / "video.h5")
        (folder / "cut.h5").write_bytes((folder / "CollectedData_me.h5").read_bytes()[:3000])
        with pytest.raises(DataError, match=r"damaged one.*cut\.csv"):
            DeepLabCut().read(folder / "cut.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    shutil.copy(FILES / "CollectedData_me.csv", folder)
    with pytest.raises(DataError, match=r"trigpoint\[h5\].*give CollectedData_me\.csv beside it"):
        DeepLabCut().read(folder / "CollectedData_me.h5")


def test_h5_reads_nothing_from_other_files(tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    folder = stored(tmp_path, "flat.h5")
    (tmp_path / "secret").write_bytes(np.arange(8.0).tobytes())

    def changed(change: Any) -> Path:
        file = folder / "changed.h5"
        shutil.copy(folder / "flat.h5", file)
        with h5py.File(file, "a") as values:
            change(values["df_with_missing"])
        return file

    def outside(group: Any) -> None:
        del group["block0_values"]
        group.create_dataset("block0_values", (2, 4), "f8", external=[(str(tmp_path / "secret"), 0, 64)])

    def linked(group: Any) -> None:
        del group["block0_values"]
        group["block0_values"] = h5py.ExternalLink(str(folder / "flat.h5"), "/df_with_missing/block0_values")

    def objects(group: Any) -> None:
        del group["block0_values"]
        group.create_dataset("block0_values", (1,), h5py.vlen_dtype(np.uint8))

    def huge(group: Any) -> None:
        del group["block0_values"]
        group.create_dataset("block0_values", (2, 1 << 40), "f8", chunks=(2, 1024))

    for change, reason in ((outside, "another file"), (linked, "no array"), (objects, "pickled"), (huge, "larger")):
        with pytest.raises(DataError, match=reason):
            DeepLabCut().read(changed(change))
