"""``trigpoint verify MODEL.onnx``: whether the file is whole and of use here, and its card; without PyTorch."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from page_models import a_predictor, draw
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.errors import EXTRAS, RunError
from trigpoint.export import export_predictor
from trigpoint.prediction.model_check import OTHER, SAME, UNKNOWN, verify_model
from trigpoint.prediction.model_file import ABOUT_KEY, FORMAT_KEY, HASH_KEY, NO_HASH, sealed

CARD = "# blobs: a model that finds 3 landmarks\n\n## Not for\n\n- decisions that nobody checks\n"
WITHOUT = """
import sys
for name in "{}".split():
    sys.modules[name] = None
from trigpoint.cli import main
main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export_predictor(a_predictor(), folder / "blobs.onnx", draw(folder), origin={"card": CARD})
    return folder / "blobs.onnx"


def changed(model: Path, file: Path, key: str, change: Callable[[str], str]) -> Path:
    """The model with another entry, sealed as one that was exported so."""
    proto = onnx.load(model)
    entries = {entry.key: entry for entry in proto.metadata_props}
    entries[key].value = change(entries[key].value)
    entries[HASH_KEY].value = NO_HASH
    file.write_bytes(sealed(proto.SerializeToString()))
    return file


def of_about(**values: Any) -> Callable[[str], str]:
    """What the model says of itself with other ``values``, without those that are given as None."""
    gone = {key for key, value in values.items() if value is None}
    return lambda text: json.dumps({k: v for k, v in (json.loads(text) | values).items() if k not in gone})


def test_a_model_is_checked_and_its_card_printed_without_pytorch(model: Path) -> None:
    command = [sys.executable, "-c", WITHOUT.format(" ".join(one for names in EXTRAS.values() for one in names))]
    done = subprocess.run([*command, "verify", str(model)], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert CARD in done.stdout
    assert "## Licence\n\nThis file holds the weights of a run" in done.stdout
    assert f"whole, SHA-256 {hashlib.sha256(model.read_bytes()).hexdigest()[:12]}" in done.stdout  # as sha256sum, serve
    checks, _ = verify_model(model)
    kinds = {check.what: check.outcome for check in checks}
    assert kinds == dict.fromkeys(("file", "format", "versions", "same as its run"), SAME) | {
        "weights, data, error": UNKNOWN
    }


def test_another_version_and_a_file_without_card_are_told(model: Path, tmp_path: Path) -> None:
    other = of_about(made_by="trigpoint 0.0.1", card=None, check=None)
    file = changed(model, tmp_path / "old.onnx", ABOUT_KEY, other)
    checks, card = verify_model(file)
    found = {check.what: check for check in checks}
    assert card is None
    assert found["versions"].outcome == OTHER
    assert found["versions"].text.startswith("trigpoint 0.0.1, now ")
    assert found["same as its run"].outcome == UNKNOWN
    result = CliRunner().invoke(app, ["verify", str(file)])
    assert result.exit_code == 0, result.output
    assert "it has no model card" in " ".join(result.output.split())


def test_damaged_and_foreign_files_end_with_exit_code_2(model: Path, tmp_path: Path) -> None:
    data = model.read_bytes()
    broken = bytearray(data)
    broken[len(data) // 2] ^= 1
    files = {
        "cut.onnx": (data[: len(data) // 2], "is cut short"),
        "changed.onnx": (bytes(broken), "some of its bytes changed"),
        "other.onnx": (b"nothing", "expected a model that trigpoint exported"),
        "page.html": (b"<!doctype html>", "its button i has the card"),
        "config.yaml": (b"a: 1", "expected a run folder or an exported model"),
    }
    for name, (content, told) in files.items():
        (tmp_path / name).write_bytes(content)
        result = CliRunner().invoke(app, ["verify", str(tmp_path / name)])
        assert result.exit_code == 2, result.output
        assert told in " ".join(result.output.split())
    newer = changed(model, tmp_path / "newer.onnx", FORMAT_KEY, lambda _: "2")
    with pytest.raises(RunError, match="which a newer trigpoint wrote"):
        verify_model(newer)
    odd = changed(model, tmp_path / "odd.onnx", ABOUT_KEY, of_about(landmarks=None))
    with pytest.raises(RunError, match=r"odd\.onnx: says of itself what is not understood"):
        verify_model(odd)
    gone = CliRunner().invoke(app, ["verify", str(tmp_path / "gone.onnx")])
    assert gone.exit_code == 2
    assert "no such model" in gone.output
