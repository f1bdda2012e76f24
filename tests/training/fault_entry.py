"""``python fault_entry.py train ...``: the command line, with one fault that the environment asks for.

FAULT is one of

- ``step:N`` ``validation:N``: SIGKILL in the N-th training step, or validation step, of this process
- ``write:N`` ``checkpoint:N``: SIGKILL while the N-th file, or checkpoint, of this process is under its temporary name
- ``after:SECONDS``: SIGKILL so long after the first training step began, wherever the run is by then
- ``rank:R:N``: SIGKILL of process R in its N-th training step
- ``call:MODULE:NAME``: SIGKILL where this function is called

SIGNAL=NUMBER sends another signal than SIGKILL; WORKERS=FILE writes which processes this one has started, and sends it
to them first, as Slurm does. MARKED=FILE is there from then on.
SAVE_EVERY=SECONDS replaces the time between checkpoints; NO_NORM=1 builds networks without batch statistics, which
several processes would not share.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import torch

import trigpoint.training.callbacks as callbacks
from trigpoint.cli import main
from trigpoint.methods import HeatmapMethod


def die() -> None:
    number = int(os.environ.get("SIGNAL", signal.SIGKILL))
    if "MARKED" in os.environ:
        Path(os.environ["MARKED"]).touch()
    if "WORKERS" in os.environ:
        started = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        Path(os.environ["WORKERS"]).write_text(started)
        for child in started.split() if number != signal.SIGKILL else ():
            os.kill(int(child), number)
    os.kill(os.getpid(), number)


def counted(owner: Any, name: str, number: int, act: Any = die, counts: Any = None) -> None:
    """Act in the ``number``-th call of a function that ``counts`` (of its arguments), all without."""
    original, calls = getattr(owner, name), [0]

    def call(*args: Any, **kwargs: Any) -> Any:
        calls[0] += counts is None or counts(*args)
        if calls[0] == number:
            calls[0] += 1
            act()
        return original(*args, **kwargs)

    setattr(owner, name, call)


def later(seconds: float) -> Any:
    def wait() -> None:
        time.sleep(seconds)
        die()

    return lambda: threading.Thread(target=wait, daemon=True).start()


def plant(fault: str) -> None:
    kind, _, value = fault.partition(":")
    if kind == "step":
        counted(HeatmapMethod, "training_step", int(value))
    elif kind == "validation":
        counted(HeatmapMethod, "validation_step", int(value))
    elif kind == "write":
        counted(os, "fsync", int(value))  # the temporary file is full, its name is not yet taken
    elif kind == "checkpoint":
        counted(os, "fsync", int(value), counts=lambda handle: "last.ckpt" in os.readlink(f"/proc/self/fd/{handle}"))
    elif kind == "after":
        counted(HeatmapMethod, "training_step", 1, later(float(value)))
    elif kind == "call":
        module, name = value.split(":")
        counted(importlib.import_module(module), name, 1)
    elif kind == "rank":
        rank, number = value.split(":")
        if os.environ.get("LOCAL_RANK", "0") == rank:
            counted(HeatmapMethod, "training_step", int(number))
    else:
        raise ValueError(f"FAULT={fault}")


if __name__ == "__main__":
    if "SAVE_EVERY" in os.environ:
        callbacks.SAVE_EVERY = float(os.environ["SAVE_EVERY"])
    if "NO_NORM" in os.environ:
        torch.nn.BatchNorm2d = torch.nn.Identity  # type: ignore[assignment, misc]
    if "WORKERS" in os.environ:  # else of the start method of the tests
        multiprocessing.set_start_method("fork", force=True)
    if "FAULT" in os.environ:
        plant(os.environ["FAULT"])
    main()
