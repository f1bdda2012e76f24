"""``trigpoint evaluate``: tables, figures and comparisons through the entry of the command line."""

from __future__ import annotations

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
