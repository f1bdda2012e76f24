"""What is given in place of what a command takes: videos in a folder, reports among images, a file for a run folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from cli_entry import call

from trigpoint.data.pixels.folders import images_below
from trigpoint.data.pixels.images import read_image
from trigpoint.errors import DataError
from trigpoint.prediction.files import image_files

REPORT = "1.2.840.10008.5.1.4.1.1.88.34"


def dicom(file: Path, held: str = "1.2.840.10008.5.1.4.1.1.7", preamble: bool = True) -> Path:
    """A DICOM object with pixels, or a report without any."""
    data = pydicom.Dataset()
    data.SOPClassUID, data.SOPInstanceUID = held, "1.2.3"
    if held != REPORT:
        values = np.arange(30 * 40, dtype=np.uint8).reshape(30, 40)
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 30, 40, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
        data.PixelData = values.tobytes()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.save_as(file, enforce_file_format=True)
    if not preamble:
        file.write_bytes(file.read_bytes()[132:])
    return file


def test_videos_of_a_folder_are_named_with_the_loop(trained: Path, tmp_path: Path) -> None:
    for name in ("b.mp4", "a b.mp4"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "notes.txt").write_text("x")
    result = call("predict", trained, tmp_path, "--out", tmp_path / "p.csv")
    assert result.exit_code == 2
    told = " ".join(result.stderr.split())
    assert "got none in this folder, but 2 videos (a b.mp4, b.mp4); predict takes one video at a time: for v in" in told
    loop = result.stderr[result.stderr.index("for v in") :].replace("trigpoint predict RUN", "echo")
    said = subprocess.run(["sh", "-c", loop], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [f"{tmp_path}/{stem}.mp4 --out {tmp_path}/{stem}.csv" for stem in ("a b", "b")]
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(DataError, match=r"but the video a b\.mp4; give the file itself"):
        image_files([tmp_path])
    label = call("label", tmp_path, "--landmarks", "tip")
    assert label.exit_code == 2
    assert "label one video at a time: trigpoint label" in label.stderr


def test_videos_beside_images_are_counted(trained: Path, drawn: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(drawn / "images", tmp_path / "images"))
    for name in ("a.mp4", "b.MOV", "x.txt", "y.txt", "z.json"):
        (folder / name).write_bytes(b"")
    result = call("predict", trained, folder, "--out", tmp_path / "p.csv", "--every", 12)
    assert result.exit_code == 0, result.output
    assert "passed over 2 videos and 3 other files" in result.stderr


@pytest.mark.parametrize("preamble", [True, False])
def test_dicom_without_pixels_is_passed_over_in_a_folder(preamble: bool, trained: Path, tmp_path: Path) -> None:
    place = tmp_path / "in"
    place.mkdir()
    image, report = dicom(place / "a.dcm", preamble=preamble), dicom(place / "r.dcm", REPORT, preamble)
    dicom(place / "r2", REPORT, preamble)
    assert images_below(place) == ([image], 2, [])
    result = call("predict", trained, place, "--out", tmp_path / "p.csv")
    assert result.exit_code == 0, result.output
    assert "passed over 2 other files" in result.stderr
    assert len(pd.read_csv(tmp_path / "p.csv")) == 1
    named = call("predict", trained, report, "--out", tmp_path / "q.csv")
    assert named.exit_code == 2
    assert "without Rows and Columns" in named.stderr
    assert read_image(image).pixels.shape == (1, 30, 40)


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "{}", "--data", "{data}"),
        ("verify", "{}"),
        ("export", "{}", "--out", "x.onnx"),
        ("label", "{data}", "--run", "{}"),
        ("data", "audit", "{data}", "--run", "{}"),
        ("data", "next", "{data}", "--run", "{}"),
        ("data", "curve", "{}"),
        ("predict", "{}", "{data}/images"),
        ("serve", "{}"),
    ],
)
@pytest.mark.parametrize(
    ("name", "told"), [("m.onnx", "an exported model"), ("m.html", "a page to open in a browser"), ("m.pt", "a file")]
)
def test_a_file_is_no_run_folder(
    name: str, told: str, command: tuple[str, ...], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    result = call(*(part.format(name, data=data) for part in command))
    assert result.exit_code == 2
    if name == "m.onnx" and command[0] in ("verify", "predict", "serve"):
        told = "expected a model that trigpoint exported"
    elif command[0] == "verify":
        told = "got another file"
    assert told in " ".join(result.stderr.split())
    assert "no such" not in result.stderr
