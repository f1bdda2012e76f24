"""What the verbs print fits a terminal of 80 columns; into a pipe goes everything, on lines as long as they are."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from cli_entry import call
from typer.testing import CliRunner

from trigpoint.cli import app
from trigpoint.cli.console import show_table
from trigpoint.cli.evaluate import _compared, _show
from trigpoint.cli.reproduce import _show as _show_findings
from trigpoint.evaluation import Report
from trigpoint.experiments.findings import Claim, Findings, Table
from trigpoint.landmarks import LandmarkSet, Normalizer
from trigpoint.metrics.summary import summarize
from trigpoint.synthetic import write_radiographs

WIDTH = 80
VERBS = ("label", "train", "sweep", "serve", "reproduce", "verify", "data show", "data split", "data convert")
NAMES = tuple(f"landmark_of_a_head_{k}" for k in range(19))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(WIDTH)}.items():
        monkeypatch.setenv(name, value)


def lines(text: str) -> list[str]:
    """Without colours, and without the blanks that a terminal does not show."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).splitlines()]


def measured(spacing: float | None) -> Report:
    """What the printing of an evaluation takes of its report: 19 landmarks, with a normaliser."""
    rng = np.random.default_rng(0)
    truth = rng.uniform(100, 900, (30, 19, 2))
    length = Normalizer("sella_nasion", between=(NAMES[0], NAMES[1]))
    marks = LandmarkSet(NAMES, groups={"all": NAMES}, normalizer=length)
    given = None if spacing is None else np.full((30, 2), spacing)
    metrics = summarize(truth + rng.normal(0, 9, truth.shape), truth, marks, given, [f"s{i}" for i in range(30)])
    return cast(Report, SimpleNamespace(metrics=metrics, outlook=["More labels would bring " + 20 * "much "]))


@pytest.mark.parametrize(("spacing", "unit", "first"), [(0.1, "mm", "Mean radial"), (None, "px", "Normalised")])
def test_an_evaluation_fits(
    narrow: None, capsys: pytest.CaptureFixture[str], spacing: float | None, unit: str, first: str
) -> None:
    _show(measured(spacing), "runs/heads on split test")
    told = capsys.readouterr()
    shown = lines(told.out)
    assert max(map(len, shown)) <= WIDTH
    assert shown[2].startswith(first)
    start = shown.index("per landmark") + 1
    heads = shown[start].split()
    assert heads[:4] == ["landmark", "n_points", f"mre_{unit}", f"median_{unit}"]
    assert heads[4].startswith("sdr_")
    assert [line.split()[0] for line in shown[start + 1 : start + 20]] == list(NAMES)  # one line each, nothing folded
    hidden = " ".join(told.err.split())
    assert f"sd_{unit}" in hidden
    assert hidden.endswith("widen the terminal, or write all with --table FILE, --html FILE or --json FILE")
    assert max(map(len, lines(told.err))) <= WIDTH


def test_a_pipe_gets_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    _show(measured(0.1), "runs/heads on split test")
    told = capsys.readouterr()
    heads = next(line for line in told.out.splitlines() if line.startswith("landmark "))
    for column in ("n_points", "mre_px", "sd_px", "median_px", "mre_mm", "sd_mm", "median_mm", "sdr_mm 4.0"):
        assert column in heads
    assert "Rule" in told.out
    assert "More labels would bring " + 20 * "much " in told.out  # on one line
    assert told.err == ""


def test_a_table_without_room_keeps_what_is_not_to_be_hidden(narrow: None, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{"name": "a" * 30, "wide": "b" * 60, "also": "c" * 10}]
    assert show_table(rows, title="t" * 100, hide=("wide", "also")) == ["wide"]
    shown = lines(capsys.readouterr().out)
    assert max(map(len, shown)) <= WIDTH
    assert shown[-1].split() == ["a" * 30, "c" * 10]


def test_verbs_fit(narrow: None, drawn: Path, trained: Path, data: Path, tmp_path: Path) -> None:
    (data / "images" / "00004.png").write_bytes(b"no image")
    heads = write_radiographs(tmp_path / "heads", 24, (64, 52))
    table = pd.read_csv(heads / "landmarks.csv")
    table.loc[3, ["sella_x", "menton_x"]] = table.loc[3, ["menton_x", "sella_x"]].to_numpy()
    table.loc[3, ["sella_y", "menton_y"]] = table.loc[3, ["menton_y", "sella_y"]].to_numpy()
    table.to_csv(heads / "landmarks.csv", index=False)
    commands = [
        ("evaluate", trained, "--data", drawn, "--device", "cpu"),
        ("evaluate", trained, "--data", drawn, "--device", "cpu", "--split", "train"),  # with a long warning
        ("data", "check", data),
        ("data", "audit", heads, "--no-images"),
        ("runs", trained.parent),
        ("recipes",),
    ]
    for command in commands:
        result = call(*command)
        assert result.exit_code in (0, 2), result.output
        shown = [line for line in lines(result.stdout) if str(tmp_path) not in line]  # paths stay whole
        assert shown, command
        assert max(map(len, shown)) <= WIDTH, (command, shown)


def flows(part: list[str]) -> bool:
    """Whether every line of a paragraph is as full as it can be."""
    return all(len(line) + 1 + len(after.split()[0]) > WIDTH - 2 for line, after in itertools.pairwise(part))


def test_a_comparison_flows(narrow: None, capsys: pytest.CaptureFixture[str]) -> None:
    report = SimpleNamespace(metrics={"n_subjects": 12, "n_images": 12}, detected=None)
    rows = [{"run": "a", "error (px)": "0.77"}]
    _compared(cast(Any, SimpleNamespace(reports={"runs/planned": report}, rows=lambda: rows)), "split test")
    shown = lines(capsys.readouterr().out)
    start = next(i for i, line in enumerate(shown) if line.startswith("difference: "))
    assert max(map(len, shown)) <= WIDTH
    assert flows(shown[start:]), shown


@pytest.mark.parametrize("width", [80, 60])
def test_an_experiment_fits(
    narrow: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    errors = [f"error {k}" for k in range(5)]
    rows: list[dict[str, Any]] = [
        {"labelled": share, "method": method, **dict.fromkeys(errors, "12.34 ± 0.56 px"), "paper": 9.1}
        for share in ("5 %", "10 %")
        for method in ("from scratch", "fine-tuned")
    ]
    long = "with words that say " * 9
    found = Findings("Cross-task " + long, long, [Table("Table 1: errors", rows, long)], [Claim(long, True, long)], {})
    _show_findings(found, Path("reproduced/cross-task-small"))
    shown = lines(capsys.readouterr().out)
    assert max(map(len, shown)) <= width
    heads = [line for line in shown if line.startswith("labelled  method ")]
    assert len(heads) > 1  # what has no room follows below
    assert [key for key in [*errors, "paper"] if not any(key in line for line in heads)] == []
    assert sum(line.count("12.34 ± 0.56 px") for line in shown) == 4 * len(errors)  # no cell is folded


def test_no_help_is_cut_in_a_narrow_terminal() -> None:
    """In processes of their own: the runner of the tests makes help 80 columns wide."""
    narrow = os.environ | {"COLUMNS": "60"}
    for verb in VERBS:
        command = [sys.executable, "-m", "trigpoint", *verb.split(), "--help"]
        shown = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=True, env=narrow
        ).stdout.splitlines()
        assert not [line for line in shown if "…" in line or len(line) > 60], verb


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "sweep", "serve", "data next", "data agreement"])
def test_help_flows(narrow: None, verb: str) -> None:
    shown = lines(CliRunner().invoke(app, [*verb.split(), "--help"]).output)
    start = next(i for i, line in enumerate(shown) if "Usage:" in line) + 1
    about = shown[start : next(i for i, line in enumerate(shown) if line.startswith("╭"))]
    paragraphs = [part.splitlines() for part in "\n".join(about).strip().split("\n\n")]
    for part in paragraphs:
        if part and not part[0].startswith(" Example"):
            assert flows(part), part
