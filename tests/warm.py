"""Processes of their own that need not import torch and Lightning first, which takes more than what most tests do.

They are forked from one that has imported all of it. Whatever they start themselves (Lightning's or torchrun's other
processes, workers) is begun as ever. Figures stay blank, as in the tests.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.multiprocessing

from painting import blank

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["trigpoint.training", "trigpoint.evaluation", "trigpoint.cli.predict", "trigpoint.serving.decoder", "warm"]
)


def environment(**more: object) -> dict[str, str]:
    """That of a command which a user starts, not of a test."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    variables |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    return variables | {key: str(value) for key, value in more.items()}


class Started:
    """``python ARGUMENTS``, with what is needed here of ``subprocess.Popen``."""

    def __init__(self, *arguments: object, cwd: Path | None = None, **variables: object) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / name for name in ("out", "err")]
        self.arguments = [str(argument) for argument in arguments]
        about = (environment(**variables), str(cwd or Path.cwd()), resource.getrlimit(resource.RLIMIT_FSIZE))
        given = (self.arguments, *about, *map(str, self._files))
        self._process = CONTEXT.Process(target=_run, args=given)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def ended(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Wait for it; raises TimeoutExpired when it hangs, and kills it."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        out, err = (file.read_text() if file.is_file() else "" for file in self._files)
        self._folder.cleanup()
        if code is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout, out, err)
        return subprocess.CompletedProcess(self.arguments, code, out, err)


def together(work: Callable[..., None], arguments: tuple[Any, ...], count: int = 2) -> None:
    """Call ``work(rank, *arguments)`` in ``count`` processes; raises what one of them raised."""
    torch.multiprocessing.start_processes(work, arguments, count, start_method="forkserver")


def _run(
    arguments: list[str], variables: Mapping[str, str], cwd: str, limit: tuple[int, int], out: str, err: str
) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)  # that of the test, for it is not its parent
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, wherever the tests were begun
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    for handle, file in ((1, out), (2, err)):
        written = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(written, handle)
        os.close(written)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(os.dup(handle), mode, 1) for handle, mode in enumerate("rww"))
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            with blank():
                runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path[0] = str(Path(arguments[0]).parent)
            with blank():
                runpy.run_path(arguments[0], run_name="__main__")
    finally:
        sys.stdout.flush()
