"""One training at a time in a run folder."""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trigpoint.errors import RunError
from trigpoint.runs import RunFolder
from trigpoint.runs import lock as module
from trigpoint.runs.lock import locked

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


@contextmanager
def another(file: Path) -> Iterator[int]:
    """A process that holds the lock, and has a child that outlives it for a while, as those that prepare batches do."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        module._HELD.clear()
        try:
            with locked(file):
                if os.fork():
                    os.write(tell, b"held")
                time.sleep(3)
        finally:
            os.write(tell, b"not ")
            os._exit(0)
    try:
        assert os.read(told, 4) == b"held"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(told)
        os.close(tell)


def test_the_second_is_told_who_the_first_is_and_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with another(file) as pid:
        words = rf"is being trained by process {pid} on {socket.gethostname()}; wait for it or end it"
        for _ in range(2):  # looking does not take it away
            with pytest.raises(RunError, match=words), locked(file):
                pass
    with locked(file) as works:
        assert works


def test_one_process_does_not_hold_it_twice(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with locked(file):
        with pytest.raises(RunError, match=f"process {os.getpid()}"), locked(tmp_path / "." / ".lock"):
            pass
        with pytest.raises(AssertionError), another(file):  # nor did asking twice drop it
            pass
    with locked(file) as works:
        assert works


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(module, "_lock", none)
    with locked(tmp_path / ".lock") as works:
        assert not works


def test_a_foreign_folder_gets_no_lock(tmp_path: Path) -> None:
    (tmp_path / "photo.txt").touch()
    with pytest.raises(RunError, match="folder with other files"):
        RunFolder(tmp_path).open_new()
    assert [path.name for path in tmp_path.iterdir()] == ["photo.txt"]
