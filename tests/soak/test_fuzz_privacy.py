"""DICOM files that name a patient, through every verb: nothing of it anywhere, and no verb reaches for the network."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from trigpoint.cli import app

pytestmark = pytest.mark.soak

SECRETS = (
    "Doe^", "Recognisable", "ID-SECRET-77", "19630405", "Geheimstr", "Clinic Hidden", "ACC-HID-5", "NESTED-SECRET-8",
    "private comment 123", "Kept secret study",
)  # fmt: skip
RECIPE = """
name: tiny
data: {input: {size: [32, 32]}, workers: 0}
method: {name: heatmap, network: {name: unet, width: 4, depth: 2}, schedule: adaloss}
train: {epochs: 1, batch_size: 4, accelerator: cpu}
"""


def leaks(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    # as UTF-8 and as UTF-16, as some writers of pictures store their notes
    return [secret for secret in SECRETS if secret.encode() in data or secret.encode("utf-16-le") in data]


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve DICOM images of 40 x 32 with one landmark each, and tags that tell all about a patient."""
    sys.path.append(str(Path(__file__).parents[1] / "data"))  # the fuzzing of tests/data
    from fuzzing import dicom_file

    folder = tmp_path_factory.mktemp("dicom")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,split,subject,tip_x,tip_y"]
    for index in range(12):
        x, y = rng.integers(5, 25, 2)
        values = rng.integers(0, 300, (32, 40))
        values[y - 1 : y + 2, x - 1 : x + 2] = 4000
        dicom_file(folder / "images" / f"{index}.dcm", values)
        rows.append(f"{index}.dcm,{('train', 'train', 'val', 'test')[index % 4]},s{index},{x},{y}")
    (folder / "landmarks.csv").write_text("\n".join(rows) + "\n")
    (folder / "dataset.yaml").write_text("name: radiographs\n")
    assert leaks((folder / "images" / "0.dcm").read_bytes()), "the files tell nothing that could leak"
    return folder


def test_nothing_of_a_patient_and_no_network(
    radiographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    caplog.set_level(logging.DEBUG)
    recipe, run, out = tmp_path / "tiny.yaml", tmp_path / "run", tmp_path / "out"
    out.mkdir()
    recipe.write_text(RECIPE)
    (radiographs / "damaged.dcm").write_bytes((radiographs / "images" / "0.dcm").read_bytes()[:-300])
    verbs: list[tuple[int, tuple[object, ...]]] = [
        (0, ("data", "check", radiographs, "--json", out / "check.json")),
        (0, ("data", "show", radiographs, "--out", out / "sheet.svg")),
        (0, ("data", "convert", radiographs, "--from", "native", "--to", "coco", "--out", out / "coco.json")),
        (0, ("train", recipe, f"data.path={radiographs}", "--out", run, "--quiet")),
        (0, ("evaluate", run, "--data", radiographs, "--split", "test", "--json", out / "test.json")),
        (0, ("predict", run, radiographs / "images", "--out", out / "predictions.csv")),
        (2, ("predict", run, radiographs / "damaged.dcm", "--out", out / "damaged.csv")),
        (0, ("doctor",)),
    ]
    for code, arguments in verbs:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, f"{arguments}: {result.output} {result.exception!r}"
        assert not leaks(result.output), arguments
    assert not leaks(caplog.text)
    assert not asked, f"the network was asked for {asked}"
    written = [file for folder in (run, out) for file in folder.rglob("*") if file.is_file()]
    assert len(written) > 8
    for file in written:
        assert not leaks(str(file)), file
        assert not leaks(file.read_bytes()), file
