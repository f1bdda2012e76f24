"""``trigpoint runs``: what is found below a folder, in which state, and what of it is shown."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from cli_entry import call
from matplotlib.figure import Figure

from trigpoint.report.run_figures import time_points
from trigpoint.runs.listing import find_runs

OLD = Path(__file__).parents[1] / "runs" / "made_by_0_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two finished runs, one of many epochs to go, and two broken ones; beside what is no run."""
    for name, lr in (("a/run2", 0.01), ("a/run10", 0.002), ("half", 0.002), ("lost", 0.002), ("cut", 0.002)):
        run = Path(shutil.copytree(OLD / "heatmap", tmp_path / "all" / name))
        values = yaml.safe_load((run / "config.yaml").read_text())
        values["train"]["optimizer"]["lr"] = lr
        values["data"]["path"] = f"data/{name}" if name == "half" else "data/same"
        (run / "config.yaml").write_text(yaml.safe_dump(values))
    root = tmp_path / "all"
    (root / "half" / "weights.safetensors").unlink()
    marks = yaml.safe_load((root / "half" / "landmarks.yaml").read_text())
    (root / "half" / "landmarks.yaml").write_text(yaml.safe_dump(marks | {"radius_px": None}))
    (root / "lost" / "config.yaml").unlink()
    weights = root / "cut" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    (root / "recipes").mkdir()
    shutil.copy(OLD / "heatmap" / "config.yaml", root / "recipes")
    evaluation = {"run": "run2", "split": "test", "mre_mm": 1.25, "mre_px": 9.0, "ci95": {"mre_mm": [1.0, 1.5]}}
    (root / "a" / "metrics.json").write_text(json.dumps(evaluation))
    return root


def test_what_is_wrong_with_several_runs_is_told_once(folder: Path) -> None:
    for name in ("lost2", "lost3", "lost4"):
        shutil.copytree(folder / "lost", folder / name)
    told = [line for line in call("runs", folder).stderr.splitlines() if "config.yaml" in line]
    assert len(told) == 1
    assert told[0].startswith("4 runs, lost, lost2, lost3 ...: RUN: expected a run folder with config.yaml")


def test_every_run_is_listed_with_what_differs(folder: Path, tmp_path: Path) -> None:
    result = call("runs", folder, "--csv", tmp_path / "t.csv")
    assert result.exit_code == 0, result.output
    assert "5 runs: 2 finished, 1 unfinished, 2 broken" in result.stderr
    assert re.search(r"^cut: .*weights\.safetensors: damaged", result.stderr, re.MULTILINE)
    assert re.search(r"^lost: .*config\.yaml", result.stderr, re.MULTILINE)
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run", "state", "path", "lr", "validation", "test", "minutes", "data", "date"]
    assert [line.split()[0] for line in lines[1:]] == ["a/run2", "a/run10", "cut", "half", "lost"]
    assert "1.25 mm [1.00, 1.50]" in lines[1]
    assert "mm" not in lines[2]  # the evaluation is of the other run
    assert re.search(r"half +\d+ of \d+ epochs", lines[4])
    table = pd.read_csv(tmp_path / "t.csv").set_index("run")
    assert table["train.optimizer.lr"].to_dict() == pytest.approx(
        {"a/run2": 0.01, "a/run10": 0.002, "cut": 0.002, "half": 0.002, "lost": float("nan")}, nan_ok=True
    )
    assert table.loc["a/run2", ["test_low", "test_high", "test_unit"]].tolist() == [1.0, 1.5, "mm"]
    assert table["state"].tolist() == ["finished", "finished", "broken", "unfinished", "broken"]
    assert table.loc["a/run2", "data"] == (OLD / "heatmap" / "env.txt").read_text().split("\ndata ")[-1][:8]
    again = call("runs", folder, "--csv", tmp_path / "t.csv")
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_runs_are_sorted_by_a_column_or_a_key(folder: Path) -> None:
    def order(key: str) -> list[str]:
        result = call("runs", folder, "--sort", key)
        assert result.exit_code == 0, result.output
        return [line.split()[0] for line in result.stdout.splitlines()[1:]]

    assert order("lr")[-2:] == order("train.optimizer.lr")[-2:] == ["a/run2", "lost"]
    assert order("test")[0] == "a/run2"
    wrong = call("runs", folder, "--sort", "validaton")
    assert wrong.exit_code == 2
    assert "did you mean 'validation'" in wrong.stderr


def test_a_narrow_terminal_hides_columns_and_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    result = call("runs", folder)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)
    lines = [line.rstrip() for line in plain.splitlines()]
    assert len(lines) == 6, plain  # nothing is folded
    assert all(len(line) <= 80 for line in lines)
    assert "validation" in lines[0]
    assert "date" not in lines[0]
    hidden = re.search(r"not enough room for: (.*); widen", result.stderr)
    assert hidden is not None
    assert {"date", "data"} <= set(hidden.group(1).split(", "))
    monkeypatch.setenv("COLUMNS", "200")
    assert "not enough room" not in call("runs", folder).stderr


def test_damage_is_told_and_nothing_to_list_is_an_error(folder: Path, tmp_path: Path) -> None:
    (folder / "a" / "run10" / "metrics.json").write_text('{"run": 1}')
    result = call("runs", folder)
    assert result.exit_code == 0
    assert re.search(r"^a/run10: .*metrics\.json: expected what 'trigpoint evaluate", result.stderr, re.MULTILINE)
    assert next(run for run in find_runs(folder) if run.name == "a/run10").state == "finished"
    for place in (folder / "recipes", tmp_path / "nowhere"):
        empty = call("runs", place)
        assert empty.exit_code == 2
        assert "expected" in empty.stderr
    assert [run.name for run in find_runs(folder / "half")] == ["half"]


def test_error_is_drawn_against_minutes(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(OLD / "instances", folder / "several")
    result = call("runs", folder, "--plot", tmp_path / "p.svg")
    assert result.exit_code == 0, result.output
    assert "not drawn, for want of a validation by val_mre_px: several" in result.stderr
    assert "<svg" in (tmp_path / "p.svg").read_text()
    assert call("runs", folder, "--plot", tmp_path / "p.jpg").exit_code == 2
    figure = time_points({"slow": ([1.0, 9.0], [5.0, 2.0]), "fast": ([1.0], [3.0]), "no": ([9.0], [4.0])}, "error")
    assert isinstance(figure, Figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["slow", "fast"]
