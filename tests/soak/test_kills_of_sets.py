"""Commands that write several files, killed at random moments: nothing looks whole, the same command does the rest."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.synthetic import write_catheter

pytestmark = pytest.mark.soak

DRAW = "import sys; from trigpoint.synthetic import write_catheter; write_catheter(sys.argv[1], 400, 64)"


@pytest.mark.parametrize("how", ["copy", "link", "draw"])
def test_killed_at_random_moments(how: str, tmp_path: Path) -> None:
    source, ran = write_catheter(tmp_path / "source", 400, 64), random.Random(how)
    convert = ["-m", "trigpoint", "data", "convert", str(source), "--from", "native", "--out"]
    partial = 0
    for turn in range(6):
        out = tmp_path / f"out{turn}"
        command = [sys.executable, *(["-c", DRAW] if how == "draw" else convert), str(out)]
        command += ["--link"] if how == "link" else []
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (out / "images").is_dir():
            time.sleep(0.001)
        time.sleep(ran.uniform(0, 0.05 if how == "link" else 0.5))
        process.kill()
        process.wait()
        images = [file for file in out.glob("images/*") if not file.name.endswith(".part")]
        partial += 0 < len(images) < 400
        if (out / "landmarks.csv").exists() or (out / "dataset.yaml").exists():
            assert len(images) == 400
        if not (out / "dataset.yaml").exists():
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        assert len(LandmarkDataset.load(out)) == 400
    assert partial >= 2, "nothing was interrupted"
