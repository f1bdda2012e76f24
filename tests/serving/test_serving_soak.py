"""Ten thousand good and bad requests: every one is answered, none with a fault of the service, and nothing leaks."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from benchmarks.serving import load, memory, mixed, served
from served_models import png, write_model

REQUESTS, PARTS = 10_000, 5
GROWS = 20.0  # MB that the service may hold more after all requests than after the first part of them


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read where Linux tells it")
def test_many_good_and_bad_requests_leave_no_trace(tmp_path: Path) -> None:
    every = mixed(png(9, (320, 240)), REQUESTS)
    held, seen = [], set[int]()
    with served(write_model(tmp_path / "points.onnx")) as process:
        before = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        for part in range(PARTS):
            statuses, _, _ = asyncio.run(load(every[part::PARTS], 8))
            assert sum(statuses.values()) == REQUESTS // PARTS
            seen |= set(statuses)
            held.append(memory(process))
        assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) <= before + 4
    assert {200, 400, 403, 404, 422} <= seen <= {200, 400, 403, 404, 413, 422, 429}
    assert held[-1] - held[0] < GROWS, held
    assert process.returncode == 128 + signal.SIGTERM
