"""The real entry of the command line, and what a folder holds before and after."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from trigpoint.cli import app


def call(*arguments: object) -> Any:
    """Run the command; an exception that is no exit fails the test with its traceback."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def snapshot(folder: Path) -> dict[str, str]:
    """Content of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def without_note(said: str) -> str:
    """What was said but for what a model of few validation subjects, or of many instances, cannot tell."""
    return re.sub(r"note: this model cannot tell .*\n", "", said)
