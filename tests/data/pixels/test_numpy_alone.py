"""Reading images and tables needs no torch, which takes seconds to import and is not there where a run is served."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["data.pixels", "data.pixels.frames", "data", "landmarks"])
def test_is_imported_without_torch(module: str) -> None:
    code = f"import sys, trigpoint.{module}; print(sorted({{'numpy', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy']"
