"""Paths that are no files, that no table can name, or where nothing can be written: told before any work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_entry import call, snapshot
from PIL import Image

ODD = os.fsdecode(b"caf\xe9")


def refused(*arguments: object, word: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert word in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (32, 32)).save(folder / "a.png")
    return folder


def test_an_image_whose_name_is_no_utf8(trained: Path, images: Path, tmp_path: Path) -> None:
    (images / f"{ODD}.png").write_bytes((images / "a.png").read_bytes())
    for given in (images, images / f"{ODD}.png"):
        refused("predict", trained, given, "--out", tmp_path / "p.csv", word="UTF-8")
    assert not (tmp_path / "p.csv").exists()
    refused("predict", trained, images / "a.png", "--out", tmp_path / f"{ODD}.csv", word="UTF-8")
    refused("predict", trained, images / "a.png", f"--out={tmp_path / ODD / 'p.csv'}", word="UTF-8")


def test_an_image_beside_the_table_whose_name_is_no_utf8(data: Path, tmp_path: Path) -> None:
    (data / "images" / f"{ODD}.png").write_bytes((data / "images" / "00003.png").read_bytes())
    result = call("data", "check", data, "--json", tmp_path / "a.json")
    assert result.exit_code == 2
    assert "expected names that are UTF-8, got b'caf\\xe9.png'" in result.stdout
    assert not json.loads((tmp_path / "a.json").read_text())["ok"]


def test_a_working_folder_whose_name_is_no_utf8(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ODD).mkdir()
    monkeypatch.chdir(tmp_path / ODD)
    refused("data", "check", data, word="UTF-8")


@pytest.mark.parametrize("name", ["a" * 300, "circle/p", "pipe/p", "pipe"])
def test_places_that_nothing_can_be_written_to(name: str, trained: Path, images: Path, data: Path) -> None:
    os.mkfifo(images / "pipe")
    (images / "circle").symlink_to("circle")
    before = snapshot(data)
    out = images / f"{name}.csv" if name != "pipe" else images / name
    refused("predict", trained, images / "a.png", "--out", out, word="expected a file or folder, got")
    refused(
        "predict", trained, images / "a.png", "--out", images / "p.csv", "--overlay", images / name, word="expected a f"
    )
    assert not (images / "p.csv").exists()
    refused("data", "convert", data, "--from", "native", "--out", images / name, word=name[:40])
    refused("data", "tile", images / "a.png", images / f"{name}.tif" if name != "pipe" else out, word=name[:40])
    refused("data", "check", data, "--json", out, word="expected a file or folder, got")
    refused("data", "show", data, "--out", images / f"{name}.png" if name != "pipe" else out, word=name[:40])
    assert snapshot(data) == before


@pytest.mark.parametrize("place", ["images/00003.png", "landmarks.csv", "dataset.yaml"])
@pytest.mark.parametrize("kind", ["pipe", "device", "circle"])
def test_a_set_with_what_is_no_file(place: str, kind: str, data: Path) -> None:
    (data / place).unlink()
    if kind == "pipe":
        os.mkfifo(data / place)
    else:
        (data / place).symlink_to("/dev/zero" if kind == "device" else (data / place).name)
    for verb in (["check"], ["convert", "--from", "native", "--out", data / "out"], ["split", "--force"]):
        if verb[0] == "split" and place.endswith(".png"):  # opens no images
            continue
        result = call("data", verb[0], data, *verb[1:])
        assert result.exit_code == 2, result.output
        assert Path(place).name in result.output


def test_many_names_are_no_long_path(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.pts").write_text("version: 1\nn_points: 2\n{\n1 2\n3 4\n}\n")
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    names = f"{'left' * 50},{'right' * 50}"
    out = tmp_path / "out"
    result = call("data", "convert", tmp_path / "a.pts", "--from", "pts", "--names", names, "--out", out)
    assert result.exit_code == 0, result.output


def test_a_disk_without_room_for_a_set(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = "import resource, trigpoint.cli as c; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)); c.main()"
    command = [sys.executable, "-c", code, "data", "convert", str(data), "--from", "native", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"error: {out}" in done.stderr
    assert "File too large" in done.stderr
    assert not (out / "dataset.yaml").exists()
    assert call("data", "convert", data, "--from", "native", "--out", out).exit_code == 0
