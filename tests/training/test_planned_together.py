"""Processes of one training have one plan: that of the first."""

import os
import socket
import subprocess
import sys

SCRIPT = """
import os, time
from trigpoint.training.planning.shared import from_first

def plan():
    assert os.environ["RANK"] == "0", "only the first plans"
    time.sleep(0.3)
    {act}
    return {{"values": {{"train": {{"epochs": 7, "patience": None}}}}, "text": "é"}}

print(from_first(plan))
"""


def started(act: str, processes: int = 3) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of processes that are told of each other as torchrun does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "TORCHELASTIC_RUN_ID": "one", "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(act=act)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": port},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    told = [process.communicate(timeout=120) for process in running]
    return [(process.returncode, *texts) for process, texts in zip(running, told, strict=True)]


def test_all_get_the_plan_of_the_first() -> None:
    results = started("pass")
    expected = "{'values': {'train': {'epochs': 7, 'patience': None}}, 'text': 'é'}\n"
    assert [result[:2] for result in results] == [(0, expected)] * 3, results


def test_what_stops_the_plan_is_told_once_and_ends_all() -> None:
    first, *others = started("raise ValueError('too little time')", 2)
    assert first[0] == 1
    assert "too little time" in first[2]
    assert others == [(0, "", "")]
