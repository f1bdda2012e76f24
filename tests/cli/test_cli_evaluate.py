"""``trigpoint evaluate``: tables, figures and comparisons through the entry of the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from cli_entry import call


def test_tables_are_written_and_named(drawn: Path, trained: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("e.csv", "e-images.csv", "e-subjects.csv", "paper.tex")]
    command = ("evaluate", trained, "--data", drawn, "--table", files[0], "--table", files[3])
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert [f"wrote {file}" for file in files] == result.stderr.splitlines()[-4:]
    assert pd.read_csv(files[0])["landmark"].tolist() == ["tip"]
    assert len(pd.read_csv(files[1])) == 3
    assert r"\toprule" in files[3].read_text()
    files[0].unlink()
    again = call(*command)
    assert again.exit_code == 2
    assert "e-images.csv: exists already" in again.stderr
    assert not files[0].exists()
    assert call(*command, "--force").exit_code == 0
    twice = call("evaluate", trained, "--data", drawn, "--json", tmp_path / "n.csv", "--table", tmp_path / "n.csv")
    assert twice.exit_code == 2
    assert "n.csv: expected each file once" in twice.stderr
    wrong = call("evaluate", trained, "--data", drawn, "--table", tmp_path / "n.doc")
    assert wrong.exit_code == 2
    assert ".csv, .tex, .xlsx" in wrong.stderr


def test_figures_are_written(drawn: Path, trained: Path, tmp_path: Path) -> None:
    result = call("evaluate", trained, "--data", drawn, "--figure", tmp_path / "e.svg")
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'e-landmarks.svg'}" in result.stderr
    assert "<svg" in (tmp_path / "e.svg").read_text()


def test_runs_are_compared(drawn: Path, trained: Path, tmp_path: Path) -> None:
    others = [Path(shutil.copytree(trained, tmp_path / name)) for name in ("copy", "other")]
    files = ("--table", tmp_path / "e.csv", "--json", tmp_path / "e.json")
    result = call("evaluate", "--against", *others, "--data", drawn, trained, *files)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "e.json").read_text())
    assert [row["run"] for row in values["runs"]] == ["run", "copy", "other"]
    assert [row["difference"] for row in values["runs"]] == [None, 0, 0]
    assert "Runs compared on split test: 3 images of 3 subjects" in result.stdout
    assert pd.read_csv(tmp_path / "e.csv")["run"].tolist() == ["run", "copy", "other"]
    page = call("evaluate", trained, "--data", drawn, "--against", others[0], "--html", tmp_path / "e.html")
    assert page.exit_code == 2
    assert "--html: expected one run" in page.stderr
