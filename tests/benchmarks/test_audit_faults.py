"""Planted faults: where they are, and that the table of their shares is printed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from trigpoint.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.__main__ import main

from benchmarks import audit


def test_what_is_planted_and_found(tmp_path: Path) -> None:
    text = main(["audit", "--images", "50", "--shift", "30", "--seeds", "0", "1", "--out", str(tmp_path)])
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in text.splitlines()[2:] if "|" in line}
    assert rows["shifts of 30 px"] == "100%, 100%"  # a quarter of the image
    assert "50 images, seeds 0, 1; share of 2% planted among the first 4% (goal: 95%)." in text
    data = audit._set(None, "train", 50, tmp_path)
    for kind in ("neighbours", "shifts"):
        planted, faulty = audit.plant(data, kind, 8.0, 3)
        moved = np.linalg.norm(planted.points - data.points, axis=-1) > 0
        assert np.flatnonzero(moved.any(1)).tolist() == faulty
        assert moved.sum() == (1 if kind == "shifts" else 2)


def test_one_fold_is_none() -> None:
    with pytest.raises(ConfigError, match="--folds: expected at least 2, got 1"):
        main(["audit", "--folds", "1"])
