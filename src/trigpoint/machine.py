"""What of this machine a process may use: not what a container or a job keeps from it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_OURS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # control groups, of Linux


def usable_cores(ours: Path = _OURS, groups: Path = _GROUPS) -> int:
    """Cores that this process may use: fewer than the machine's in a container or a job."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()  # macOS and Windows know none
    cores = len(allowed) or os.cpu_count() or 1
    for group in _groups(ours, groups, "cpu"):
        quota, period = (*_numbers(group / "cpu.max"), math.nan, math.nan)[:2]  # version 2
        if math.isnan(quota):
            quota, period = (next(_numbers(group / f"cpu.cfs_{what}_us"), math.nan) for what in ("quota", "period"))
        if 0 < quota < math.inf and period > 0:  # -1 of version 1: no bound
            cores = max(1, min(cores, math.ceil(quota / period)))
    return cores


def free_memory(ours: Path = _OURS, groups: Path = _GROUPS) -> float:
    """Bytes of memory that this process may still take; 0 where the system does not tell."""
    try:
        free = float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # Windows; macOS
        return 0.0
    for group in _groups(ours, groups, "memory"):
        for most, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            for limit in _numbers(group / most):
                free = max(0.0, min(free, limit - next(_numbers(group / used), 0.0)))
    return free


def _groups(ours: Path, groups: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that bound this process, of both versions, up to the outermost."""
    lines = ours.read_text(encoding="utf-8").splitlines() if ours.is_file() else []
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = groups / (controller if names else "")
        folder = root / path.lstrip("/")
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _numbers(file: Path) -> Iterator[float]:
    """The numbers of a file of a control group, "max" is infinite; none where there is no such file."""
    try:
        words = file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return
    yield from (math.inf if word == "max" else float(word) for word in words)
