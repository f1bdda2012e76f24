"""What holds for every test: one thread per process, no network, the same random examples on every run."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings

import installed  # noqa: F401
from painting import blank, painting

mpl.use("Agg")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # tests begun in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

settings.register_profile("steady", deadline=None, derandomize=True, print_blob=True, max_examples=50)
settings.register_profile("soak", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails and says so, also where there is a network."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        local = isinstance(address, str | bytes) or str(address[0]) in ("127.0.0.1", "::1", "localhost")
        if not local:
            raise OSError(f"tests do not use the network, got a connection to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def _no_signal_watch() -> Iterator[None]:
    """``end_in_time`` is for a process of its own: here it would end all tests, some time after one raised a signal."""
    yield
    left = signal.set_wakeup_fd(-1)
    assert left == -1, "expected no watch over signals after a test, got one; start the program in a process of its own"


@pytest.fixture(scope="session", autouse=True)
def _blank_figures() -> Iterator[None]:
    """Figures stay blank. Tests of what they show ask for ``painted``."""
    with blank():
        yield


@pytest.fixture(scope="module")
def painted() -> Iterator[None]:
    """Figures are painted as ever in the rest of this module."""
    with painting():
        yield
