"""Points of Fiji: ROIs and zips as roifile writes them, tables of Results, what belongs to other slices."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Fiji
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet, Sample

roifile = pytest.importorskip("roifile")


def roi(points: list[list[float]], name: str, kind: str = "POINT", **values: object) -> bytes:
    out = roifile.ImagejRoi.frompoints(np.array(points), name=name)
    out.roitype = roifile.ROI_TYPE[kind]
    for key, value in values.items():
        setattr(out, key, value)
    return bytes(out.tobytes())


def zipped(root: Path, *entries: tuple[str, bytes]) -> Path:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return put(root, "a.zip", stream.getvalue())


def put(root: Path, name: str, data: bytes) -> Path:
    for image in ("a.png", "b.png"):
        PIL.Image.new("L", (40, 30)).save(root / image)
    (root / name).write_bytes(data)
    return root / name


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


@pytest.mark.parametrize("points", [[[1, 2], [30, 20]], [[1.25, 2.5], [30, 20.75]], [[-3, -2], [30, 20]]])
def test_a_multi_point_selection_keeps_its_numbers(tmp_path: Path, points: list[list[float]]) -> None:
    data = Fiji().read(put(tmp_path, "a.roi", roi(points, "0002-0001")))
    assert data.landmarks.names == ("p00", "p01")
    np.testing.assert_array_equal(data.points, [points])  # whole numbers are the centres of pixels
    assert Fiji(["l", "r"]).read(tmp_path).landmarks.names == ("l", "r")
    many = Fiji(landmark="cell").read(tmp_path)
    assert many.landmarks.names == ("cell",)
    assert [s.instance for s in many.samples] == ["1", "2"]
    np.testing.assert_array_equal(many.points[:, 0], points)


def test_a_zip_of_named_points(tmp_path: Path) -> None:
    entries = [("left eye.roi", roi([[1, 2]], "left eye")), ("0001-0005-0007.roi", roi([[3, 4]], "0001-0005-0007"))]
    entries += [("jaw.roi", roi([[5, 6], [7, 8]], "jaw")), ("box.roi", roi([[0, 0], [5, 5]], "box", "RECT"))]
    data = Fiji().read(zipped(tmp_path, *entries))
    assert data.landmarks.names == ("left eye", "p01", "jaw_00", "jaw_01")
    np.testing.assert_array_equal(data.points, [[[1, 2], [3, 4], [5, 6], [7, 8]]])
    assert "box.roi: expected a selection of points, got one of another kind" in told(data)


def test_points_of_other_slices_and_names_given_twice(tmp_path: Path) -> None:
    entries = [("t.roi", roi([[1, 2]], "t")), ("t-1.roi", roi([[3, 4]], "t"))]
    entries += [("u.roi", roi([[5, 6]], "u", position=1)), ("v.roi", roi([[5, 6]], "v", position=2))]
    data = Fiji().read(zipped(tmp_path, *entries))
    assert data.landmarks.names == ("t", "u")
    assert data.visibility.tolist() == [[0, 2]]
    assert "landmark 't': expected each name once" in told(data)
    assert "v.roi: 1 points of the second or later slices" in told(data)


def test_results_with_labels_of_images_and_rois(tmp_path: Path) -> None:
    text = " ,Label,Area,X,Y\n1,a.png:tip,0,1.5,2\n2,a.png:0003-0004,0,3,4\n3,stack:b.png,0,5,6\n4,Mean,0,3,4\n"
    data = Fiji().read(put(tmp_path, "Results.csv", text.encode()))
    assert [s.image.name for s in data.samples] == ["a.png", "b.png"]
    assert data.landmarks.names == ("tip", "p01", "p00")  # unnamed ones by their place in the image
    assert "X and Y are taken as pixels" in told(data)
    assert "1 rows of a summary" in told(data)
    named = Fiji(["one", "two"], pixel=0.5).read(tmp_path / "Results.csv")
    np.testing.assert_array_equal(named.points, [[[3, 4], [6, 8]], [[10, 12], [np.nan, np.nan]]])
    assert "taken as pixels" not in told(named)


def test_results_without_labels_belong_to_the_image_of_their_name(tmp_path: Path) -> None:
    text = " \tX\tY\tSlice\n1\t1\t2\t1\n2\tNaN\tNaN\t1\n3\t5\t6\t2\n"
    data = Fiji().read(put(tmp_path, "a.csv", text.encode()))
    assert data.visibility.tolist() == [[2, 0]]
    assert "1 points of later slices" in told(data)


def test_names_of_landmarks_in_a_zip(tmp_path: Path) -> None:
    put(tmp_path, "c.txt", b"")
    names = ("a/b", "a:b", "ü", "0001-0002", "../x")
    points = np.arange(10.0).reshape(5, 2) + 0.5
    data = LandmarkDataset([Sample(tmp_path / "a.png", points, np.full(5, 2))], LandmarkSet(names))
    (file,) = Fiji().write(data, tmp_path / "out")
    assert zipfile.ZipFile(file).namelist() == ["a_b.roi", "a_b_.roi", "ü.roi", "0001-0002.roi", ".._x.roi"]
    again = Fiji().read(file, tmp_path)
    assert again.landmarks.names == ("a/b", "a:b", "ü", "p03", "../x")  # ImageJ's own names are none
    np.testing.assert_array_equal(again.points, [points])
    found = roifile.roiread(str(file))
    assert [one.roitype for one in found] == [roifile.ROI_TYPE.POINT] * 5
    np.testing.assert_array_equal([one.coordinates()[0] for one in found], points)


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.roi", b"Iout", "expected a ROI of ImageJ, got something else or a damaged one"),
        ("a.roi", b"x" * 100, "expected a ROI of ImageJ"),
        ("a.roi", b"\0" * (5 << 20), "expected a ROI of at most 4194304 bytes"),
        ("a.zip", b"PK\5\6" + b"\0" * 18, "expected ROIs in the zip, got none"),
        ("a.zip", b"PK", "expected a zip of ROIs, got something else"),
        ("a.csv", b"x,y\n1,2\n", "row 1: expected columns X and Y of Results"),
        ("a.csv", b",X,Y\n1,2,z\n", "row 2: expected numbers as X and Y, got '2', 'z'"),
        ("a.csv", b",Label,X,Y\n1,,2,3\n", "row 2: Label: expected the name of an image file"),
        ("a.txt", b"", "got suffix '.txt'"),
    ],
)
def test_malformed_fiji(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        Fiji().read(put(tmp_path, name, data))
    assert name in str(error.value)


def test_a_zip_that_inflates_to_much_more(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'bomb.roi': expected a ROI of at most"):
        Fiji().read(zipped(tmp_path, ("bomb.roi", b"\0" * (50 << 20))))


def test_options_and_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="pixel: expected a size above 0"):
        Fiji(pixel=-1)
    with pytest.raises(ConfigError, match="got both"):
        Fiji(["a"], landmark="b")
    file = put(tmp_path, "a.roi", roi([[1, 2]], "x"))
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(ConfigError, match=r'pip install "trigpoint\[fiji\]"'):
        Fiji().read(file)
