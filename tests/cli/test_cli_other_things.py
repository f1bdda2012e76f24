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

from trigpoint.cli.predict import _spacing
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


def test_a_decimal_comma_is_told(trained: Path, data: Path) -> None:
    for text, fix in (("0,5", "write 0.5 with a point"), ("1,5", "1.0,5.0"), ("1,5", "write 1.5 with a point")):
        result = call("predict", trained, data / "images", "--spacing-mm", text)
        assert result.exit_code == 2
        assert fix in result.stderr
    assert _spacing("0.2,0.1") == (0.2, 0.1)
    assert _spacing("1.0,5.0") == (1.0, 5.0)
    assert _spacing("1") == (1.0, 1.0)


def test_what_exists_names_force(data: Path, tmp_path: Path) -> None:
    for code in (0, 2):
        result = call("data", "convert", data, "--from", "native", "--out", tmp_path / "out")
        assert result.exit_code == code
    assert "choose another place, or replace what is there: --force" in result.stderr


def test_the_config_of_a_deeplabcut_project_is_not_its_folder(tmp_path: Path) -> None:
    (tmp_path / "dlc").mkdir()
    (tmp_path / "dlc" / "config.yaml").write_text("scorer: me\n")
    result = call("data", "convert", tmp_path / "dlc/config.yaml", "--from", "deeplabcut", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert f"got the project's config.yaml; give its folder: {tmp_path / 'dlc'}" in result.stderr


def test_a_missing_test_is_always_taken_from_train(trained: Path, data: Path) -> None:
    table = data / "landmarks.csv"
    rows = pd.read_csv(table, dtype=str)
    rows["split"] = ["train"] * 5 + ["val"] * (len(rows) - 5)
    rows.to_csv(table, index=False)
    result = call("evaluate", trained, "--data", data)
    assert result.exit_code == 2
    assert f"trigpoint data split {data} --of train" in result.stderr


def test_images_that_the_table_itself_names_are_not_guessed(data: Path, tmp_path: Path, trained: Path) -> None:
    assert call("predict", trained, data / "images", "--out", tmp_path / "found.csv").exit_code == 0
    given = ("data", "convert", tmp_path / "found.csv", "--from", "native", "--images")
    done = call(*given, data / "images", "--to", "tps", "--out", tmp_path / "found.tps")
    assert done.exit_code == 0
    assert "by the end" not in done.stderr
    moved = Path(shutil.move(data / "images", tmp_path / "elsewhere"))
    done = call(*given, moved, "--to", "tps", "--out", tmp_path / "again.tps")
    assert "24 images were found by the end of their names only" in done.stderr


@pytest.mark.parametrize("way", [(), ("--processes", 2, "--block-size", 8), ("--block-size", 3)])
def test_broken_images_are_left_out_where_that_is_asked(
    way: tuple[object, ...], trained: Path, drawn: Path, tmp_path: Path
) -> None:
    folder, out = Path(shutil.copytree(drawn / "images", tmp_path / "images")), tmp_path / "p.csv"
    whole = (folder / "00003.png").read_bytes()
    (folder / "00003.png").write_bytes(whole[: len(whole) // 2])
    for name in ("00009.png", "00010.png", "00011.png"):
        (folder / name).write_text("no pixels")
    refused = call("predict", trained, folder, "--out", out, *way)
    assert refused.exit_code == 2
    assert "--skip-broken" in refused.stderr
    drawings = () if way else ("--overlay", tmp_path / "drawn")
    result = call("predict", trained, folder, "--out", out, "--skip-broken", "--force", *drawings, *way)
    assert result.exit_code == 0, result.output
    assert "left out 4 of 24 images, which cannot be read:" in result.stderr
    for name in ("00003.png", "00009.png", "00011.png"):
        assert f"{folder / name}: " in result.stderr
    assert f"wrote {out}: 20 images" in result.stderr
    table = pd.read_csv(out)
    left = [f"{k:05d}.png" for k in range(24) if k not in (3, 9, 10, 11)]
    assert [Path(name).name for name in table["image"]] == left
    assert call("predict", trained, *(folder / name for name in left), "--out", tmp_path / "q.csv").exit_code == 0
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "q.csv"), atol=0.01)
    if drawings:
        assert len(list((tmp_path / "drawn").iterdir())) == 20


def test_a_folder_of_broken_images_is_an_error(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no pixels")
    for way in ((), ("--processes", 1)):
        result = call("predict", trained, tmp_path / "a.png", "--out", tmp_path / "p.csv", "--skip-broken", *way)
        assert result.exit_code == 2
        assert "expected an image that can be read, got none of 1" in result.stderr
        assert not (tmp_path / "p.csv").exists()


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
