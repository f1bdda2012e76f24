"""Work on a file in a process of its own: what it gives, and what becomes of errors, hangs and crashes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from trigpoint.data.isolated import isolated
from trigpoint.errors import ConfigError, DataError


def _echo(file: Path, *values: object) -> list[object]:
    return [file.name, *values]


def _fails(file: Path, kind: str) -> None:
    kinds = {"data": DataError("ours"), "config": ConfigError("theirs"), "other": KeyError("x"), "end": SystemExit(3)}
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(60)
    raise kinds[kind]


def test_plain_values_come_back(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    values = [1.5, ["b", None], {"c": "ü" * 1_000_000}]
    assert isolated(_echo, file, *values) == ["a", *values]


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        ("data", DataError, "^ours$"),
        ("config", ConfigError, "^theirs$"),
        ("other", DataError, r"a: expected a file that its library can read, got a damaged one \('x'\)"),
        ("end", DataError, "a: expected a whole file, got one that crashes its library"),
        ("crash", DataError, "a: expected a whole file, got one that crashes its library"),
        ("hang", DataError, "a: expected a file that is read within 1 s"),
    ],
)
def test_errors_hangs_and_crashes(tmp_path: Path, kind: str, error: type[Exception], expected: str) -> None:
    file = tmp_path / "a"
    file.touch()
    with pytest.raises(error, match=expected):
        isolated(_fails, file, kind, seconds=1 if kind == "hang" else 30)
