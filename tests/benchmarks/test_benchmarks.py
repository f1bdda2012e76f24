"""The benchmark runs and prints its whole table; what it measures is nobody's test."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.__main__ import main
from benchmarks.timing import Row, table

from benchmarks import codec, timing


class Generator:
    """Has the interface of landmarker's, and the result if its maps are centred at ``shift``."""

    shift = 0.0

    def __init__(self, landmarks, sigmas, heatmap_size):
        self.sigma, self.size = sigmas, heatmap_size

    def __call__(self, points):
        rows, columns = (torch.arange(n) - points[..., i, None] - self.shift for i, n in enumerate(self.size))
        return torch.exp(-(rows[..., :, None] ** 2 + columns[..., None, :] ** 2) / (2 * self.sigma**2))


@pytest.fixture
def landmarker(monkeypatch):
    module, heatmap = types.ModuleType("landmarker"), types.ModuleType("landmarker.heatmap")
    heatmap.GaussianHeatmapGenerator = Generator
    heatmap.heatmap_to_coord = lambda maps, method: maps.flatten(2).argmax(-1)
    module.heatmap = heatmap
    monkeypatch.setitem(sys.modules, "landmarker", module)
    monkeypatch.setitem(sys.modules, "landmarker.heatmap", heatmap)


@pytest.mark.soak
def test_quick_run_prints_every_row():
    threads = torch.get_num_threads()
    text = main(["--quick"])
    for words in (
        "| training (heatmap, 32 x 32, ",
        "| prediction (foveated, shared, 160 x 128, ",
        "| encode 2",
        "| decode (dark)",
        "| decode (centroid)",
        "| training step (paper",
        "| waiting for data",
        "| pyramid and glimpses",
        "| decode 2 x 2 instances",
        "| decode, as a share of the network",
        "| step with L_ED, cached",
    ):
        assert words in text
    assert text.count("| training step") == 3
    assert "mean nothing" in text
    assert torch.get_num_threads() == threads


def test_without_the_peer_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(codec, "peer", lambda: None)
    text = main(["codec", "--quick"])
    assert "pip install --no-deps landmarker" in text
    assert text.count("not installed") == 5
    assert "yes" not in text


def test_with_a_peer_ratios_are_printed(landmarker):
    rows = codec.rows(size=40, batch=1, landmarks=2, rounds=1)
    assert all(row.result.endswith(" x") for row in rows)
    assert [row.met is None for row in rows] == [False, False, False, True]


def test_other_work_is_not_compared(landmarker, monkeypatch):
    monkeypatch.setattr(Generator, "shift", 0.5)
    with pytest.raises(RuntimeError, match="not the same work"):
        codec.rows(size=40, batch=1, landmarks=2, rounds=1)


def test_ratio_is_the_median_of_pairs(monkeypatch):
    clock = {"ours": iter([9.0, 1.0, 2.0, 1.0]), "other": iter([9.0, 10.0, 80.0, 30.0])}  # first: warming up
    monkeypatch.setattr(timing, "seconds", lambda work: next(clock[work]))
    assert timing.compare("ours", "other", rounds=3) == (1.0, 30.0, 30.0)


def test_table():
    text = table([Row("a", "1", "2", "2.0 x", ">= 30 x", False), Row("b", "1", "", "", "", None)])
    assert text.splitlines()[2:] == ["| a | 1 | 2 | 2.0 x | >= 30 x | **no** |", "| b | 1 |  |  |  |  |"]
