"""onnxruntime reports to nobody, and leaves nothing in the user's folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime")

QUIETENED = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY")  # it reports nothing where tests run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    shape = [1, 3]
    made = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(made, opset_imports=[opset], ir_version=9), str(tmp_path / "plain.onnx"))
    return tmp_path / "plain.onnx"


def left_by(code: str, home: Path, **variables: str) -> list[str]:
    """Files that a process leaves in the user's folder."""
    home.mkdir()
    there = {key: value for key, value in os.environ.items() if not key.startswith("XDG_") and key not in QUIETENED}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=there | {"HOME": str(home), "MPLCONFIGDIR": str(home.parent)} | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return sorted(file.name for file in home.rglob("*") if file.is_file())


def test_predicting_and_exporting_leave_nothing(model: Path, tmp_path: Path) -> None:
    session = f"onnx_runtime().InferenceSession({str(model)!r})"
    begin = "from trigpoint.prediction.onnx_runtime import onnx_runtime; "
    assert left_by(begin + session, tmp_path / "one") == []
    half = f"import onnx; from trigpoint.export.precision import _half; _half(onnx.load({str(model)!r})); "
    assert left_by(half + begin + session, tmp_path / "two") == []
    wanted = left_by(begin + session, tmp_path / "three", ORT_DISABLE_TELEMETRY="0")  # who wants it has it
    assert wanted in ([], ["deviceid", "onnxruntime.db"])  # [] of a version that knows none here
