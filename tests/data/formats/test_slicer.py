"""Markups of 3D Slicer: signs of RAS and LPS, the place of plain and DICOM images, points that are not placed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.formats import Slicer
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import LandmarkSet, Sample

FILES = Path(__file__).parent / "files" / "slicer"


def point(label: str, *position: float, **more: object) -> dict[str, object]:
    return {"label": label, "position": list(position), **more}


def markups(*points: dict[str, object], system: str = "LPS", **more: object) -> str:
    node = {"type": "Fiducial", "coordinateSystem": system, "controlPoints": points, **more}
    return json.dumps({"markups": [node]})


def plain(root: Path, text: str, name: str = "a.mrk.json") -> Path:
    PIL.Image.new("L", (12, 10)).save(root / "a.png")
    (root / name).write_text(text)
    return root / name


def dicom_file(file: Path, values: np.ndarray, **tags: object) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.Rows, data.Columns = values.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelSpacing = [0.5, 0.5]
    data.PixelData = values.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(file, enforce_file_format=True)


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


def test_files_of_slicer_and_slicerio(tmp_path: Path) -> None:
    for name, file in (("a", "a.fcsv"), ("b", "b.mrk.json")):
        PIL.Image.new("L", (12, 10)).save(tmp_path / f"{name}.png")
        (tmp_path / file).write_text((FILES / file).read_text())
    data = Slicer().read(tmp_path)
    assert data.landmarks.names == ("tip", "F-2")
    np.testing.assert_array_equal(data.points, [[[3.5, 2.25], [10, 7]]] * 2)
    assert [s.image.name for s in data.samples] == ["a.png", "b.png"]
    assert Slicer(["base", "end"]).read(tmp_path / "a.fcsv").landmarks.names == ("base", "end")
    with pytest.raises(DataError, match="expected 1 points, got 2"):
        Slicer(["base"]).read(tmp_path / "a.fcsv")


@pytest.mark.parametrize("system", ["LPS", "RAS", "1", "0"])
def test_signs_of_both_systems(tmp_path: Path, system: str) -> None:
    sign = 1 if system in ("LPS", "1") else -1
    data = Slicer().read(plain(tmp_path, markups(point("t", 3 * sign, 4.5 * sign, 0), system=system)))
    np.testing.assert_array_equal(data.points, [[[3, 4.5]]])
    head = f"# Markups fiducial file version = 4.10\n# CoordinateSystem = {system}\n"
    fcsv = f"{head}0,{3 * sign},{4.5 * sign},0,0,0,0,1,1,1,0,t,,\n"
    np.testing.assert_array_equal(Slicer().read(plain(tmp_path, fcsv, "a.fcsv")).points, [[[3, 4.5]]])


def test_old_fcsv_without_a_system_is_ras_and_columns_have_names(tmp_path: Path) -> None:
    text = '# columns = label,x,y,z,sel,vis\n"left, upper",-1,-2,0,1,1\n'
    data = Slicer().read(plain(tmp_path, text, "a.fcsv"))
    assert data.landmarks.names == ("left, upper",)
    np.testing.assert_array_equal(data.points, [[[1, 2]]])


def test_a_stated_pixel_size_and_one_image_of_any_name(tmp_path: Path) -> None:
    file = plain(tmp_path, markups(point("t", 3, 4.5, 0)), "F.mrk.json")
    with pytest.raises(DataError, match=r"expected its image .*F\.\*"):
        Slicer().read(file)
    data = Slicer(spacing_mm=0.5).read(file, images=tmp_path / "a.png")
    np.testing.assert_array_equal(data.points, [[[6, 9]]])
    assert data.spacings.tolist() == [[0.5, 0.5]]
    with pytest.raises(DataError, match="expected one file of points for the image"):
        Slicer().read(tmp_path, images=tmp_path / "a.png")


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_a_dicom_lies_where_its_tags_say(tmp_path: Path, system: str) -> None:
    turned = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "ImagePositionPatient": [10, -20, 30]}
    dicom_file(tmp_path / "a.dcm", np.zeros((10, 12)), **turned, PixelSpacing=[0.5, 0.25], SliceThickness=4)
    sign = 1 if system == "LPS" else -1
    x, y = 6, 3  # columns go along y of the patient, rows along -z
    inside = point("in", sign * 10, sign * (-20 + 0.25 * x), 30 - 0.5 * y)
    near = point("near", sign * 11.9, sign * (-20 + 0.25 * x), 30 - 0.5 * y)
    far = point("far", sign * 12.1, sign * (-20 + 0.25 * x), 30 - 0.5 * y)
    (tmp_path / "a.mrk.json").write_text(markups(inside, near, far, system=system))
    data = Slicer().read(tmp_path)
    np.testing.assert_allclose(data.points[0], [[6, 3], [6, 3], [np.nan, np.nan]], atol=1e-12)
    assert "landmark 'far': the point lies 2.1 mm outside the plane" in told(data)
    (file,) = Slicer().write(data.pick(["in"]), tmp_path / "out")
    written = json.loads(file.read_text())["markups"][0]
    assert written["coordinateSystem"] == "LPS"
    np.testing.assert_allclose(written["controlPoints"][0]["position"], [10, -18.5, 28.5], atol=1e-12)


def test_a_dicom_without_a_place_has_the_pixel_size_only(tmp_path: Path) -> None:
    dicom_file(tmp_path / "a.dcm", np.zeros((10, 12)))  # 0.5 mm
    (tmp_path / "a.mrk.json").write_text(markups(point("t", -3, -2, 0), system="RAS"))
    np.testing.assert_array_equal(Slicer().read(tmp_path).points, [[[6, 4]]])
    dicom_file(tmp_path / "a.dcm", np.zeros((10, 12)), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    with pytest.raises(DataError, match=r"a\.dcm: ImageOrientationPatient: expected two unit vectors"):
        Slicer().read(tmp_path)


def test_points_that_are_not_placed_and_lists_that_are_none(tmp_path: Path) -> None:
    points = [
        point("a", 1, 2, 0),
        point("b", 0, 0, 0, positionStatus="undefined"),
        point("c", 0, 0, 0),
        point("a", 3, 4, 0),
    ]
    points[2]["positionStatus"] = "preview"
    points.append(point("d", 5, 6, 0))
    node: dict[str, Any] = json.loads(markups(*points))["markups"][0]
    text = json.dumps({"markups": [node, node | {"type": "Line"}]})
    data = Slicer().read(plain(tmp_path, text))
    assert data.visibility.tolist() == [[0, 0, 0, 2]]
    assert "landmark 'a': expected each label once" in told(data)
    assert "markups[1] is left out: expected a point list, got 'Line'" in told(data)
    data = Slicer().read(plain(tmp_path, json.dumps({"markups": [node, node]})))
    assert [s.instance for s in data.samples] == ["1", "2"]


def test_fcsv_is_written_and_a_gap_left_out(tmp_path: Path) -> None:
    plain(tmp_path, "")
    points = np.array([[1.5, 2], [np.nan, np.nan]])
    data = LandmarkDataset([Sample(tmp_path / "a.png", points, np.array([2, 0]))], LandmarkSet(("t, 1", "u")))
    (file,) = Slicer(file="fcsv").write(data, tmp_path / "out")
    assert file.name == "a.fcsv"
    assert file.read_text().splitlines()[3:] == ['1,1.5,2,0,0,0,0,1,1,1,0,"t, 1",,']
    np.testing.assert_array_equal(Slicer().read(file, tmp_path).points, [[[1.5, 2]]])
    with pytest.raises(ConfigError, match="unknown kind 'csv'; did you mean 'fcsv'"):
        Slicer(file="csv")
    with pytest.raises(ConfigError, match="spacing_mm: expected millimetres above 0"):
        Slicer(spacing_mm=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (markups(point("t", 1, 2)), r"controlPoints\[0\], landmark 't': expected three numbers of millimetres"),
        (markups(point("t", 1, 2, 3), system="IJK"), r"markups\[0\]: coordinateSystem: expected LPS or RAS, got 'IJK'"),
        (markups(point("t", 1, 2, 3), coordinateUnits="cm"), "coordinateUnits: expected mm, got 'cm'"),
        (markups(), "expected annotated landmarks, got none"),
        (markups(point("t", 1, 2, 50)), "got none\n.*50 mm outside the plane"),
        ("{}", "expected 'markups' as list"),
    ],
)
def test_malformed_markups(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        Slicer().read(plain(tmp_path, text))
    assert "a.mrk.json" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# CoordinateSystem = XYZ\n", "line 1: CoordinateSystem: expected LPS or RAS, got 'XYZ'"),
        ("# columns = label,x,y\n", "line 1: columns: expected 'z' among them"),
        ("1,1,x,0,0,0,0,1,1,1,0,t,,\n", "line 1, landmark 't': expected three numbers"),
        ("1,1,2\n", "line 1: expected id, x, y, z"),
        ("# nothing\n", "expected annotated landmarks, got none"),
    ],
)
def test_malformed_fcsv(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        Slicer().read(plain(tmp_path, text, "a.fcsv"))
    assert "a.fcsv" in str(error.value)
