"""Libraries in C read files of strangers in a process of their own: one that hangs or crashes them ends only that."""

import json
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from trigpoint.errors import ConfigError, DataError, TrigpointError

_PATIENCE, _EACH = 60.0, 2e-6  # seconds, and for each byte of the file


def isolated(work: Callable[..., Any], file: Path, *arguments: Any, seconds: float | None = None) -> Any:
    """``work(file, *arguments)`` in another process; it gives plain values, as JSON has them.

    Raises the work's own DataError and ConfigError, and DataError for anything else that it raises, for a crash, and
    when it takes longer than ``seconds`` (default: a minute and two seconds for each megabyte of the file).
    """
    fork = sys.platform == "linux"  # faster, and safe for a child that only reads a file
    context: Any = multiprocessing.get_context("fork" if fork else "spawn")
    limit = _PATIENCE + _EACH * file.stat().st_size if seconds is None else seconds
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, work, file, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit):
            expected = f"expected a file that is read within {limit:.0f} s"
            raise DataError(f"{file}: {expected}, got one that takes longer, so it is damaged; save it again")
        kind, value = json.loads(ours.recv_bytes())
    except EOFError:
        raise DataError(f"{file}: expected a whole file, got one that crashes its library; save it again") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if kind != "value":
        raise (ConfigError if kind == "config" else DataError)(value)
    return value


def _child(answers: Connection, work: Callable[..., Any], file: Path, arguments: tuple[Any, ...]) -> None:
    kind, value = "value", None
    try:
        value = work(file, *arguments)
    except TrigpointError as error:
        kind, value = "config" if isinstance(error, ConfigError) else "data", str(error)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        kind, value = "data", f"{file}: expected a file that its library can read, got a damaged one ({reason})"
    answers.send_bytes(json.dumps([kind, value]).encode())
    answers.close()
