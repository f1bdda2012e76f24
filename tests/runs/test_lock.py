"""One training at a time in a run folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trigpoint.errors import RunError
from trigpoint.runs import RunFolder
from trigpoint.runs import lock as module
from trigpoint.runs.lock import locked

HOLD = """
import os, sys, time
from pathlib import Path
from trigpoint.runs.lock import locked
with locked(Path(sys.argv[1])):
    if "fork" in sys.argv and os.fork() == 0:  # as a worker that outlives it for a while
        time.sleep(60)
    print("held", flush=True)
    time.sleep(60)
"""


def holder(file: Path, *options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file), *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_the_first_is_and_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    first = holder(file, *(["fork"] if hasattr(os, "fork") else []))
    try:
        words = rf"is being trained by process {first.pid} on {socket.gethostname()}; wait for it or end it"
        for _ in range(2):  # looking does not take it away
            with pytest.raises(RunError, match=words), locked(file):
                pass
    finally:
        first.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        first.wait()
    with locked(file) as works:
        assert works


def test_one_process_does_not_hold_it_twice(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with locked(file):
        with pytest.raises(RunError, match=f"process {os.getpid()}"), locked(tmp_path / "." / ".lock"):
            pass
        second = subprocess.run([sys.executable, "-c", HOLD, str(file)], capture_output=True, text=True, check=False)
        assert f"is being trained by process {os.getpid()}" in second.stderr
    with locked(file) as works:
        assert works


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(module, "_lock", none)
    with locked(tmp_path / ".lock") as works:
        assert not works


def test_a_foreign_folder_gets_no_lock(tmp_path: Path) -> None:
    (tmp_path / "photo.txt").touch()
    with pytest.raises(RunError, match="folder with other files"):
        RunFolder(tmp_path).open_new()
    assert [path.name for path in tmp_path.iterdir()] == ["photo.txt"]
