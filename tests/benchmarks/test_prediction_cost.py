"""What a prediction costs: its parts without gaps, in a process of its own, and the reason when it cannot be told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.__main__ import main
from benchmarks.prediction import Case, Cost, cost, drawn, measure

from benchmarks import foveated, prediction, scale
from trigpoint.data.tiled import write_tiled

FOVEATED = {"name": "foveated", "shared": True, "trunk": "small", "iterations": 2}
PARTS = {"preparation": 0.01, "pyramid": 0.02, "glimpses": 0.03, "network": 0.9}


@pytest.fixture(autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def fake(case: Case) -> Cost | str:
    """One second per patch; U-Nets fit up to a side of 512."""
    if case.method["name"] == "heatmap":
        if case.size[0] > 512:
            return "more than 16 GB"
        return Cost(30.0, 31.0, {"preparation": 0.1, "network": 29.0, "decoding": 0.9}, 4000.0, 500.0, 0, 0)
    levels = case.size[0].bit_length() - 6
    patches = case.landmarks * levels * 3
    parts = {name: seconds * patches for name, seconds in PARTS.items()}
    return Cost(float(patches), patches * 1.1, parts, 1000.0, 500.0, patches, levels, 1e-4, 7 if case.tiled else None)


def test_parts_of_a_foveated_prediction():
    found = cost(Case(FOVEATED, (128, 96), landmarks=3, rounds=1, batch=2))
    assert set(found.parts) == {"preparation", "pyramid", "glimpses", "network"}
    assert 0.5 * found.seconds < sum(found.parts.values()) <= found.seconds
    assert (found.levels, found.patches) == (2, 3 * 2 * 2)
    assert found.difference < 1e-2
    assert found.peak_mb >= found.before_mb > 50


def test_parts_of_a_tiled_prediction(tmp_path):
    file = write_tiled(tmp_path / "a.tif", (256, 256), scale.strips(256), tile=64)
    found = cost(Case(FOVEATED, (256, 256), landmarks=2, rounds=0, tiled=str(file)))
    assert set(found.parts) == {"pyramid", "glimpses", "network"}
    assert found.tiles > 1
    assert found.difference is None


def test_parts_of_a_heatmap_prediction():
    case = Case({"name": "heatmap", "network": {"name": "unet", "width": 2}}, (64, 48), landmarks=2, rounds=0)
    found = cost(case)
    assert set(found.parts) == {"preparation", "network", "decoding"}
    assert found.patches == 0


def test_long_predictions_are_measured_once(monkeypatch):
    monkeypatch.setattr(prediction, "LONG", 0.0)
    calls = []
    monkeypatch.setattr(prediction.Predictor, "predict", lambda self, *_, **__: calls.append(1))
    monkeypatch.setattr(prediction.Watch, "watch", lambda self, predictor: None)
    cost(Case(FOVEATED, (64, 64), landmarks=1, rounds=5))
    assert len(calls) == 1


@pytest.mark.slow
def test_a_process_of_its_own_has_its_own_peak():
    held = torch.ones(2**28)  # 1 GB here must not show up there
    found = measure(Case(FOVEATED, (96, 96), landmarks=1, rounds=0))
    assert isinstance(found, Cost)
    assert found.peak_mb < prediction.peak_mb() - held.nbytes / 2**20 / 2


@pytest.mark.soak
def test_too_much_memory_is_a_reason():
    assert measure(Case(FOVEATED, (96, 96), landmarks=1, memory_gb=0.25)) == "more than 0.25 GB"


def ended(code: int, out: str = "", error: str = ""):
    """What ``subprocess.run`` says of a measurement."""
    return lambda command, **_: subprocess.CompletedProcess(command, code, out, error)


@pytest.mark.parametrize(
    "run",
    [ended(-signal.SIGXCPU), ended(0, "a remark\n" + json.dumps(asdict(fake(Case(FOVEATED, (1024, 1024))))))],
)
def test_too_long_is_a_reason(monkeypatch, run):
    monkeypatch.setattr(prediction.subprocess, "run", run)
    assert measure(Case(FOVEATED, (1024, 1024), seconds=2.0)) == "more than 2 s"


def test_other_failures_are_not_hidden(monkeypatch):
    monkeypatch.setattr(prediction.subprocess, "run", ended(1, error="ImportError: no module named nonsense"))
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1.*nonsense"):
        measure(Case(FOVEATED, (96, 96), memory_gb=1.0, seconds=2.0))


def test_strips_are_the_image():
    strips = list(scale.strips(1100))
    assert [len(strip) for strip in strips] == [512, 512, 76]
    assert all(strip.dtype == np.uint8 and strip.std() > 10 for strip in strips)
    assert drawn((4, 6)).shape == (1, 4, 6)


def test_scale_writes_all_points_and_stops_the_unet(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "measure", fake)
    said = []
    text = scale.scale([256, 512, 1024, 2048], [1024], tmp_path, say=said.append)
    points = json.loads((tmp_path / "scale.json").read_text())["points"]
    assert [(p["source"], p["side"]) for p in points if p["landmarks"] == 19] == [
        *(("in memory", side) for side in (256, 512, 1024, 2048)),
        ("tiled file", 1024),
        *(("U-Net", side) for side in (256, 512, 1024, 2048)),
    ]
    assert len(said) == len(points) == 14
    assert "levels 3 to 6, prediction 2.0 x" in text  # 64 times the pixels
    assert "costs at most 1.00 x" in text
    assert "side 512: 0.1 x the time and 4.0 x the peak of memory" in text
    assert "full resolution, side 1024: more than 16 GB." in text
    assert "7 tiles read" in text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["scale.json", "scale.png"]  # no tiled file is left


def test_scale_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "measure", fake)
    text = main(["scale", "--largest", "1024", "--lazy", "--out", str(tmp_path), "--threads", "2"])
    assert "threads: 2" in text
    assert text.count("in memory") == 4
    assert "tiled" not in text
    assert "mean nothing" in main(["scale", "--quick", "--out", str(tmp_path)])


def test_share_of_pyramid_and_glimpses(monkeypatch):
    monkeypatch.setattr(foveated, "measure", fake)
    row = next(row for row in foveated.rows((512, 512), 19, 1, ["small"]) if row.measure.startswith("pyramid"))
    assert (row.result, row.met) == ("5.0%", True)
    monkeypatch.setitem(PARTS, "glimpses", 0.09)
    row = next(row for row in foveated.rows((512, 512), 19, 1, ["small"]) if row.measure.startswith("pyramid"))
    assert (row.result, row.met) == ("11.0%", False)


def test_foveated_rows_from_the_command_line(monkeypatch):
    monkeypatch.setattr(foveated, "measure", fake)
    text = main(["foveated", "--quick"])
    for words in ("| prediction on one core (small", "| pyramid and glimpses", "| preparation", "0.0001 px apart"):
        assert words in text
    assert "yes" not in text
    assert "landmarker" not in text
