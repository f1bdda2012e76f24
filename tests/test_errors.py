"""Signals that ask to stop; one that is ignored stays ignored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from trigpoint.errors import STOPPING, Stopped, stoppable, unstopped

WORK = """
import os, signal, time
from trigpoint.errors import end_in_time, stoppable, unstopped
end_in_time()
with stoppable():
    print("ready", flush=True)
    with unstopped() as asked:
        os.kill(os.getpid(), signal.{name})
    time.sleep(1)
    print("done", list(asked), flush=True)
"""


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_stops_the_block_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = [signal.getsignal(each) for each in STOPPING]
    with pytest.raises(Stopped) as stopped, stoppable():
        signal.raise_signal(number)
    assert stopped.value.number == number
    assert [signal.getsignal(each) for each in STOPPING] == before


@pytest.mark.parametrize("number", STOPPING)
def test_an_ignored_signal_stays_ignored(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stoppable(), unstopped() as asked:
            assert signal.getsignal(number) == signal.SIG_IGN
            os.kill(os.getpid(), number)
        assert list(asked) == []
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", STOPPING)
def test_a_process_begun_with_a_signal_ignored_goes_on(number: signal.Signals) -> None:
    command = [sys.executable, "-c", WORK.format(name=number.name)]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_IGN)
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.send_signal(number)
    assert started.communicate(timeout=60)[0] == "done []\n"
    assert started.returncode == 0
