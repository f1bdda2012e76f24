"""Every verb starts, and those that no other test calls by the command line do their work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from cli_entry import call

from trigpoint.cli import app
from trigpoint.prediction import load_predictor


def commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of each group and each verb in it, the empty ones of the program itself first."""
    yield before
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


COMMANDS = list(commands(typer.main.get_command(app)))


def test_all_verbs_are_there() -> None:
    verbs = {words[0] for words in COMMANDS if words}
    assert verbs >= {"label", "train", "evaluate", "predict", "export", "serve", "data", "runs", "reproduce", "demo"}
    assert {"check", "show", "convert", "split", "merge", "tile"} <= {words[1] for words in COMMANDS if len(words) > 1}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_verb_starts(words: tuple[str, ...]) -> None:
    result = call(*words, "--help")
    assert result.exit_code == 0, result.output
    assert "Usage: " in result.stdout
    assert "--help" in result.stdout


def test_export_writes_a_file_that_finds_what_the_run_finds(trained: Path, drawn: Path, tmp_path: Path) -> None:
    image, out = drawn / "images" / "00003.png", tmp_path / "tip.onnx"
    result = call("export", trained, "--out", out, "--check", image)
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.stderr
    points = [load_predictor(source, "cpu").predict([image]).points for source in (trained, out)]
    np.testing.assert_allclose(points[1], points[0], atol=0.05)
    again = call("export", trained, "--out", out)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    wrong = call("export", trained, "--to", "html", "--out", tmp_path / "tip.onnx.txt")
    assert wrong.exit_code == 2
    assert "expected a name that ends in .html" in " ".join(wrong.stderr.split())
