"""Run folders that trigpoint 0.1 made keep loading, and find what they found then.

``made_by_0_1`` holds a finished run of each method with networks of a few kB (less ``last.ckpt`` and the pictures), an
image, and in ``predicted.json`` what 0.1 found in it. The glimpse networks were made narrower than options allow:
``tiny_glimpses`` does the same.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trigpoint.nn import spatialized
from trigpoint.prediction import Predictor
from trigpoint.runs import RunFolder

MADE = Path(__file__).with_name("made_by_0_1")
FOUND: dict[str, dict[str, Any]] = json.loads((MADE / "predicted.json").read_text())
TOLERANCE = 1e-4  # original pixels; convolutions differ a little between machines


@pytest.fixture(autouse=True)
def tiny_glimpses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spatialized, "HIDDEN", (12, 8))
    monkeypatch.setattr(spatialized, "SmallTrunk", functools.partial(spatialized.SmallTrunk, width=2))


def numbers(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize("name", FOUND)
def test_it_finds_what_it_found(name: str) -> None:
    then, predictor = FOUND[name], Predictor.load(MADE / name, device="cpu")
    np.testing.assert_array_equal(predictor.radii, numbers(then["radii"]))
    assert predictor.threshold == then.get("threshold")
    several = predictor.threshold is not None
    now = predictor.predict(MADE / "image.png", threshold=0.1 if several else None)
    points, scores = (now[0].points, now[0].scores) if several else (now.points[0], now.scores[0])
    np.testing.assert_allclose(points, numbers(then["points"]), atol=TOLERANCE)
    np.testing.assert_allclose(scores, numbers(then["scores"]), atol=TOLERANCE)
    if then.get("spread") is None:
        assert now.spread is None
    else:
        assert now.spread is not None
        np.testing.assert_allclose(now.spread[0], numbers(then["spread"]), atol=TOLERANCE)


@pytest.mark.parametrize("name", FOUND)
def test_the_whole_folder_is_read(name: str) -> None:
    run = RunFolder(MADE / name)
    assert run.recipe().method_name == name
    assert run.recipe().data.path == "data/heads"
    assert run.read_landmarks().landmarks.names == ("sella", "menton")
    assert run.history_table()["epoch"].tolist() == list(range(1, run.epochs_done() + 1))  # 0.1 wrote them from 0
    assert len(run.history_table()) == run.epochs_done() == run.recipe().train.num_epochs
    assert set(run.parts()) == {"train", "val"}
    assert int(run.load_weights()[1]["epoch"]) in run.history_table()["epoch"].to_numpy()


def test_each_method_of_then_is_there() -> None:
    assert {folder.name for folder in MADE.iterdir() if folder.is_dir()} == set(FOUND)
    assert {"heatmap", "foveated", "cascade", "instances"} == set(FOUND)
