"""DICOM structured reports of predictions, read back by the library that others read them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.errors import DataError
from trigpoint.landmarks import ImageDetections, LandmarkSet, Prediction
from trigpoint.prediction.dicom_report import report_names, write_reports
from trigpoint.prediction.measurements import measurement_columns

hd = pytest.importorskip("highdicom")
NAMES = ("sella", "nasion", "a point with a name longer than sixteen")
MARKS = LandmarkSet(NAMES, measurements={"SN": {"distance": list(NAMES[:2])}, "SNA": {"angle": list(NAMES)}})


def radiograph(file: Path, **other: Any) -> Path:
    """A small DICOM image as an archive has it."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = ComputedRadiographyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientID, data.PatientName, data.Modality = "4711", "Doe^Jane", "CR"
    data.Rows, data.Columns, data.SamplesPerPixel = 60, 50, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelSpacing = [0.1, 0.1]
    data.PixelData = bytes(3000)
    for key, value in other.items():
        if value is None:
            delattr(data, key)
        else:
            setattr(data, key, value)
    data.save_as(file, enforce_file_format=True)
    return file


def prediction(count: int) -> Prediction:
    """Of the last image the third landmark is not found."""
    points = np.array([[[10.0, 20.25], [40.5, 20.25], [30.0, 50.0]]])
    found = [ImageDetections(str(i), points + i, np.array([[0.9, 0.8, 0.7]]), scale=2.0) for i in range(count)]
    found[-1].points[0, 2] = np.nan
    return Prediction(found, MARKS, np.array([3.0, np.nan, 2.0]), scale=2.0)


def values(group: Any) -> dict[str, tuple[float, str]]:
    return {one.name.meaning: (one.value, one.unit.value) for one in group.get_measurements()}


def test_a_report_is_read_back_with_points_half_a_pixel_on(tmp_path: Path) -> None:
    files = [radiograph(tmp_path / "a.dcm"), radiograph(tmp_path / "b"), tmp_path / "c.png"]
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(files[2])
    reports = report_names(files, tmp_path / "out")
    assert [report and report.name for report in reports] == ["a_report.dcm", "b_report.dcm", None]
    found = prediction(3)
    measured, _ = measurement_columns(found, {"SN": {"mm": 0.5}, "SNA": {}}, [(0.1, 0.1)] * 3)
    assert write_reports(found, files, reports, measured, "my run") == 2
    for i, (file, report) in enumerate(zip(files[:2], reports[:2], strict=True)):
        image, made = pydicom.dcmread(file), hd.sr.srread(report)
        assert (made.PatientID, made.StudyInstanceUID) == ("4711", image.StudyInstanceUID)
        assert made.VerificationFlag == "UNVERIFIED"
        groups = made.content.get_planar_roi_measurement_groups()
        assert [group.tracking_identifier for group in groups] == list(NAMES)
        regions = [group.roi.GraphicData for group in groups]
        np.testing.assert_allclose(regions, found[i].points[0] + 0.5, atol=1e-5)  # their corner, our centre
        sources = {group.roi.ContentSequence[0].referenced_sop_instance_uid for group in groups}
        assert sources == {image.SOPInstanceUID}
        assert values(groups[0]) == {"score": (0.9, "1"), "90% radius": (3.0, "{pixels}")}
        assert values(groups[1]) == {"score": (0.8, "1")}  # whose radius is not known
        named = {group.tracking_identifier: values(group) for group in made.content.get_image_measurement_groups()}
        assert named["SN"]["SN"] == (pytest.approx(3.05), "mm")
        assert named["SN"]["SN, low end of the 90% interval"] == (pytest.approx(2.55), "mm")
        assert set(named["SNA"]) == {"SNA"}


def test_a_point_that_was_not_found_is_left_out(tmp_path: Path) -> None:
    file = radiograph(tmp_path / "a.dcm", PatientName=None, PatientID=None)  # not named: blank
    write_reports(prediction(1), [file], [tmp_path / "r.dcm"], {}, "run")
    made = hd.sr.srread(tmp_path / "r.dcm")
    assert [one.tracking_identifier for one in made.content.get_planar_roi_measurement_groups()] == list(NAMES[:2])
    assert made.PatientID == ""
    assert not made.content.get_image_measurement_groups()


def test_images_that_no_report_can_name_are_refused(tmp_path: Path) -> None:
    file = radiograph(tmp_path / "a.dcm", StudyInstanceUID=None)
    with pytest.raises(DataError, match="expected StudyInstanceUID, got none"):
        write_reports(prediction(1), [file], [tmp_path / "r.dcm"], {}, "run")
    assert not (tmp_path / "r.dcm").exists()
    file, out = tmp_path / "a.png", str(tmp_path / "o.csv")
    Image.fromarray(np.zeros((60, 50), np.uint8)).save(file)
    asked = ["predict", str(tmp_path), str(file), "--dicom-report", str(tmp_path / "out"), "--out", out]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "expected DICOM images, got 1 others" in " ".join([result.output, str(result.exception)])
