"""``trigpoint doctor``."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from trigpoint.cli.console import say

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def doctor() -> None:
    """Show versions, devices and settings: what a bug report needs.

    Example: trigpoint doctor
    """
    from trigpoint.runs import environment_text

    say(environment_text().rstrip("\n"))
    for line in (*_devices(), *_cpu(), *_machine()):
        say(line)


def _devices() -> Iterator[str]:
    import torch

    from trigpoint.fitting import fast_precision

    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {card.name}, {card.total_memory / 2**30:.1f} GiB, compute {card.major}.{card.minor}"
    if not torch.cuda.is_available():
        built = torch.version.cuda or "none"
        yield f"cuda not available (this torch was built for CUDA: {built})"
    if torch.backends.mps.is_available():
        yield "mps available"
    yield f"precision auto means {fast_precision()}"


def _cpu() -> Iterator[str]:
    import torch

    info = Path("/proc/cpuinfo")
    words = set(info.read_text(encoding="utf-8", errors="replace").split()) if info.is_file() else set()
    found = [flag for flag in _FLAGS if flag in words]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield f"cpu {usable} of {os.cpu_count()} cores usable, torch uses {torch.backends.cpu.get_cpu_capability()}"
    yield f"cpu features {', '.join(found) or 'unknown'}"


def _machine() -> Iterator[str]:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        yield f"memory {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    disk = shutil.disk_usage(Path.cwd())
    yield f"disk {disk.free / 2**30:.1f} GiB free of {disk.total / 2**30:.1f} in {Path.cwd()}"
    shared = Path("/dev/shm")
    if shared.is_dir():
        yield f"shared memory {shutil.disk_usage(shared).free / 2**30:.1f} GiB free (for data.workers)"
    for name in _VARIABLES:
        if name in os.environ:
            yield f"{name}={os.environ[name]}"
