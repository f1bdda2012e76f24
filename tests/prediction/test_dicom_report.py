"""DICOM structured reports of predictions, read back by the library that others read them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicoms import radiograph
from PIL import Image
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.errors import DataError
from trigpoint.landmarks import ImageDetections, LandmarkSet, Prediction
from trigpoint.metrics.trust import DOUBTFUL, SHIFTED, UNLIKE
from trigpoint.prediction.dicom_report import report_names, write_reports
from trigpoint.prediction.measurements import measurement_columns

hd = pytest.importorskip("highdicom")
NAMES = ("sella", "nasion", "a point with a name longer than sixteen")
MARKS = LandmarkSet(NAMES, measurements={"SN": {"distance": list(NAMES[:2])}, "SNA": {"angle": list(NAMES)}})


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


def test_lengths_are_in_mm_in_every_report_whose_image_states_a_pixel_size(tmp_path: Path) -> None:
    files = [radiograph(tmp_path / f"{name}.dcm") for name in "ab"]
    reports = report_names(files, tmp_path / "out")
    alone = measurement_columns(prediction(1), {"SN": {"mm": 0.5, "px": 4.0}, "SNA": {}}, [(0.1, 0.1)])[0]
    mixed, notes = measurement_columns(prediction(2), {"SN": {"mm": 0.5, "px": 4.0}, "SNA": {}}, [(0.1, 0.1), None])
    assert [mixed[f"SN_mm{end}"][0] for end in ("", "_low", "_high")] == [3.05, 2.55, 3.55]
    assert np.isnan([mixed[f"SN_mm{end}"][1] for end in ("", "_low", "_high")]).all()
    assert mixed["SN"].tolist() == [30.5, 30.5]  # px of all, so that they can be compared
    assert list(mixed)[1:7] == ["SN", "SN_low", "SN_high", "SN_mm", "SN_mm_low", "SN_mm_high"]
    assert any(
        "lengths are in px, and in mm (NAME_mm) where" in note and "1 of 2 images do not" in note for note in notes
    )
    write_reports(prediction(1), files[:1], reports[:1], alone, "run")
    before = report_values(reports[0])
    write_reports(prediction(2), files, reports, mixed, "run", overwrite=True)
    assert report_values(reports[0])["SN"] == before["SN"]
    assert report_values(reports[0])["SN"]["SN"] == (pytest.approx(3.05), "mm")
    ends = [f"SN, {end} end of the 90% interval" for end in ("low", "high")]
    assert report_values(reports[1])["SN"] == {"SN": (30.5, "{pixels}")} | {
        end: (value, "{pixels}") for end, value in zip(ends, (26.5, 34.5), strict=True)
    }


def report_values(file: Any) -> dict[str, dict[str, tuple[float, str]]]:
    groups = hd.sr.srread(file).content.get_image_measurement_groups()
    return {group.tracking_identifier: values(group) for group in groups}


@pytest.mark.parametrize("flag", [UNLIKE, DOUBTFUL, SHIFTED])
def test_an_image_for_which_radii_may_not_hold_is_marked_in_its_report(flag: str, tmp_path: Path) -> None:
    files = [radiograph(tmp_path / f"{name}.dcm") for name in "ab"]
    reports = report_names(files, tmp_path / "out")
    measured, _ = measurement_columns(prediction(2), {"SN": {"mm": 0.5}}, [(0.1, 0.1)] * 2)
    write_reports(prediction(2), files, reports, measured, "run", flags=[flag, ""])
    marked, plain = (hd.sr.srread(report).content for report in reports)
    first = marked.get_image_measurement_groups()[0]
    assert first.tracking_identifier == "whole image"
    groups = [*marked.get_image_measurement_groups(), *marked.get_planar_roi_measurement_groups()]
    assert len(groups) == 1 + 2 + 3  # nobody who opens one of them alone misses it
    for group in groups:
        (told,) = group.get_qualitative_evaluations()
        assert told.name.meaning == "Trust in radii and intervals"
        assert told.value.value == flag
        assert told.value.meaning.startswith({SHIFTED: "together unlike"}.get(flag, flag))
        assert ("do not hold" in told.value.meaning) == (flag != DOUBTFUL)
    for group in (*plain.get_image_measurement_groups(), *plain.get_planar_roi_measurement_groups()):
        assert not group.get_qualitative_evaluations()
