"""Every reader against a great many damaged files, each format in a process of its own that may crash.

``TRIGPOINT_FUZZ_INPUTS`` is the number per format (nightly 100000; a tenth of it where each file takes a process of
its own), ``TRIGPOINT_FUZZ_SEED`` draws others.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import TARGETS

PROGRAM = Path(__file__).parents[1] / "data" / "fuzzing.py"
INPUTS = os.environ.get("TRIGPOINT_FUZZ_INPUTS", "5000")
SEED = os.environ.get("TRIGPOINT_FUZZ_SEED", "0")
SLOW = ("h5", "sleap", "nwb")  # every file is read in a process of its own: a tenth of the inputs
PARSERS = ("table", "description", "pts", "isbi", "coco", "deeplabcut", "ljson", "endovis")

pytestmark = pytest.mark.soak


def fuzz(tmp_path: Path, *arguments: str) -> str:
    command = [sys.executable, str(PROGRAM), *arguments, "--seed", SEED, "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_give_a_dataset_or_our_error(name: str, tmp_path: Path) -> None:
    inputs = str(max(1, int(INPUTS) // 10)) if name in SLOW else INPUTS
    told = fuzz(tmp_path, name, "--inputs", inputs)
    assert f"{name}: {inputs} inputs" in told
    assert " 0 faults" in told


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="pip install atheris, for the coverage")
@pytest.mark.parametrize("name", PARSERS)
def test_inputs_chosen_by_coverage_give_a_dataset_or_our_error(name: str, tmp_path: Path) -> None:
    told = fuzz(tmp_path, name, "--inputs", INPUTS, "--coverage")
    assert "stat::number_of_executed_units" in told
