"""``trigpoint label`` and ``trigpoint data next`` as they are called."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import numpy as np
import pytest
from cli_entry import call

import trigpoint as tp
from trigpoint.app.folder import HIDDEN, frames_folder, open_folder
from trigpoint.data.pixels.frames import VideoWriter
from trigpoint.runs.lock import locked


def test_it_serves_until_it_is_stopped_and_holds_the_set(drawn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for image in sorted((drawn / "images").iterdir())[:2]:
        (folder / image.name).write_bytes(image.read_bytes())
    command = [sys.executable, "-m", "trigpoint", "label", str(folder), "-l", "tip", "--no-learn"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        while not (lines and lines[-1].startswith("open ")):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        assert lines[0] == f"2 images, 0 of them in {folder / 'landmarks.csv'}\n"
        address = lines[-1].split()[1]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", address)
        opener = build_opener(HTTPCookieProcessor())
        assert b"trigpoint" in opener.open(address).read()
        assert json.load(opener.open(address.split("?")[0] + "api/set"))["landmarks"] == ["tip"]
        again = call("label", folder)
        assert again.exit_code == 2
        assert f"is being labelled by process {process.pid}" in again.output
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert not (folder / "landmarks.csv").exists()  # nothing was labelled


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--host", "0.0.0.0"], "--password: expected one"),
        (["--every", "3"], "--every: expected a video"),
        (["--run", "no run"], "no run"),
        (["--run", "a", "--run", "b", "--run", "c"], "at most two runs"),
        (["--landmarks", "a,b,a"], "'a' more than once"),
        (["--instances"], "expected a new set for --instances"),
    ],
)
def test_wrong_options_are_told(drawn: Path, options: list[str], problem: str) -> None:
    result = call("label", drawn, *options)
    assert result.exit_code == 2
    assert problem in result.output


def test_a_port_that_is_taken_is_told(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = call("label", data, "--port", other.getsockname()[1])
    assert result.exit_code == 2
    assert "expected a free port" in result.output


def test_the_missing_package_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = call("label", data)
    assert result.exit_code == 2
    assert 'pip install "trigpoint[label]"' in result.output


def test_the_lock_of_a_set_that_is_open(data: Path) -> None:
    (data / HIDDEN).mkdir()
    with locked(data / HIDDEN / "label.lock"):
        result = call("label", data)
    assert result.exit_code == 2
    assert "--read-only" in result.output


def test_frames_of_a_video_become_a_folder(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "clip.mp4", 10) as video:
        for value in range(7):
            video.add(np.full((32, 48, 3), 30 * value, np.uint8))
    folder = frames_folder(tmp_path / "clip.mp4", 3)
    assert folder == tmp_path / "clip"
    names = [file.name for file in sorted((folder / "images").iterdir())]
    assert names == ["clip_000000.png", "clip_000003.png", "clip_000006.png"]
    assert open_folder(folder, ["tip"]).video == "clip"


def test_data_next(trained: Path, data: Path, tmp_path: Path) -> None:
    table = data / "landmarks.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-5]) + "\n")  # five images are not labelled now
    out = tmp_path / "next.json"
    result = call("data", "next", data, "--run", trained, "--count", "3", "--json", out)
    assert result.exit_code == 0, result.output
    chosen = json.loads(out.read_text())["images"]
    left = {line.split(",")[0] for line in lines[-5:]}
    assert len({image["image"] for image in chosen} & left) == 3
    assert all(image["apart_px"] >= 0 and image["unlike"] >= 0 and image["why"] == "no labels" for image in chosen)
    assert tp.LandmarkDataset.load(data).points.shape[0] == len(lines) - 6
    assert call("data", "next", data, "--run", trained, "--json", out).exit_code == 2  # it exists
