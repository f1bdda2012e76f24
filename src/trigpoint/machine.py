"""What of this machine a process may use."""

import os


def usable_cores() -> int:
    """Cores that this process may use: fewer than the machine's in a container or a job."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def free_memory() -> float:
    """Bytes of memory that nothing uses; 0 where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # Windows; macOS
        return 0.0
