"""How many labels? A law through trainings with fewer, told with an interval."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import trigpoint as tp
from trigpoint.cli import app
from trigpoint.config import parse
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.metrics.label_curve import label_curve
from trigpoint.recipe import Recipe
from trigpoint.runs import RunFolder
from trigpoint.runs.label_curve import outlook, read_curve
from trigpoint.synthetic import write_radiographs
from trigpoint.training import train
from trigpoint.training.curve import measure_curve


def test_a_law_with_any_floor_is_continued_within_its_interval() -> None:
    rng = np.random.default_rng(0)
    counts = [50, 100, 200]
    people = [str(i) for i in range(100)]
    held = []
    for share in (0.2, 0.4, 0.6, 0.8):
        for slope in (-0.2, -0.4, -0.6):

            def error(count: float, share: float = share, slope: float = slope) -> float:
                return share + (1 - share) * (count / 50) ** slope

            means = np.array([error(count) for count in counts]) * np.exp(0.01 * rng.standard_normal(3))
            law = label_curve(counts, means[:, None] * rng.gamma(9, 1 / 9, 100), np.ones(100), people)
            start = float(law.errors[0] / means[0])  # how hard the images are that it was measured on
            value, low, high = law.expected(2000)
            assert low < value < high <= law.errors.min() * 1.05
            held.append(low < start * error(2000) < high)
    assert np.mean(held) > 0.8


@pytest.mark.parametrize(
    ("counts", "errors", "count", "measured"),
    [
        ((50, 100, 200), (3.38, 3.07, 2.80), 2270, 2.18),  # `fast`
        ((50, 100, 200), (4.20, 3.39, 2.89), 2270, 2.29),  # dlib
        ((10, 20, 50, 100), (11.41, 7.52, 6.20, 5.48), 200, 5.30),  # fine-tuning, cross-task learning
        ((1, 5, 10), (5.70, 4.13, 3.91), 20, 3.67),  # templates
    ],
)
def test_the_faces_of_the_results_are_foretold_within_a_tenth(
    counts: tuple[int, ...], errors: tuple[float, ...], count: int, measured: float
) -> None:
    """The rows of docs/results.md."""
    law = label_curve(counts, np.array(errors)[:, None], np.ones(1), ["all"])
    value, low, high = law.expected(count)
    assert value == pytest.approx(measured, rel=0.1)
    assert low < measured < high


def test_more_labels_are_taken_to_do_no_harm() -> None:
    law = label_curve([10, 20], np.array([[2.0, 2.0], [2.2, 2.2]]), np.ones(2), ["a", "b"])
    assert (law.laws[:, 2] <= 0).all()
    assert law.expected(200)[0] == pytest.approx(np.sqrt(2.0 * 2.2), rel=0.01)


def test_what_says_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="at least two numbers"):
        label_curve([10, 10], np.ones((2, 1)), np.ones(1), ["a"])
    with pytest.raises(DataError, match="errors above 0"):
        label_curve([10, 20], np.zeros((2, 1)), np.ones(1), ["a"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("curve")
    heads = write_radiographs(folder / "heads", 24, size=(56, 48), seed=2)
    values = {
        "data": {"path": str(heads), "input": {"size": [48, 40]}, "workers": 0, "landmarks": ["sella", "menton"]},
        "method": {"name": "heatmap", "network": {"name": "unet", "width": 2, "depth": 1}},
        "train": {"epochs": 2, "batch_size": 4, "accelerator": "cpu", "threads": 1},
    }
    return train(parse(Recipe, values), out=folder / "run", progress=False)


def test_it_is_measured_with_nested_labels_and_told(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shares: expected"):
        measure_curve(run, [0.01], progress=False)
    assert read_curve(run) is None
    told: list[str] = []
    curve = measure_curve(run, [0.25, 0.5], progress=False, tell=told.append)
    whole = len(run.parts()["train"])
    counts = [round(0.25 * whole), round(0.5 * whole), whole]
    assert curve.counts.tolist() == counts
    assert told == [f"training with {count} of {whole} labelled images" for count in counts[:2]]
    small, large = (RunFolder(run.folder / "curve" / str(count)) for count in counts[:2])
    assert set(small.parts()["train"]) < set(large.parts()["train"]) < set(run.parts()["train"])
    assert small.parts()["val"] == run.parts()["val"]
    steps = [each.history_table()["step"].iloc[-1] for each in (small, large, run)]
    assert max(steps) <= 1.5 * min(steps)
    assert curve.errors[-1] == pytest.approx(float(run.load_weights()[1]["val_mre_px"]), rel=1e-3)
    report = tp.evaluate(run, run.recipe().data.path or "", split="test")
    assert report.outlook == outlook(curve)
    assert f"with ten times the labels ({10 * whole})" in report.outlook[-1]
    assert "How many labels?" in report.to_html()
    assert report.to_dict()["more_labels"] == report.outlook
    shown = CliRunner().invoke(app, ["evaluate", str(run.folder), "--data", str(run.recipe().data.path)])
    assert f"with twice the labels ({2 * whole})" in shown.stdout
    shown = CliRunner().invoke(app, ["data", "curve", str(run.folder)])  # all is there already
    assert shown.exit_code == 0
    assert f"with twice the labels ({2 * whole})" in shown.stdout
    json.dumps(report.to_dict())


def test_a_damaged_file_is_said(run: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(tmp_path)
    other.curve.write_text("labels,image\n1,a.png\n")
    with pytest.raises(RunError, match="damaged"):
        read_curve(other)
