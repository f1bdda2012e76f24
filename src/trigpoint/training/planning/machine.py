"""What this machine has for a training: cores, memory, a GPU."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """Cores that this process may use, free memory in bytes, and the name and free memory of a GPU, if there is one."""

    cores: int = 1
    memory: float = 4e9
    gpu: str | None = None
    gpu_memory: float = 0.0


def this_machine() -> Machine:
    """Look at the machine that the process runs on."""
    if not torch.cuda.is_available():
        return Machine(_cores(), _free_memory())
    return Machine(_cores(), _free_memory(), torch.cuda.get_device_name(), float(torch.cuda.mem_get_info()[0]))


def _cores() -> int:
    try:
        allowed = len(os.sched_getaffinity(0))  # fewer than the machine's in a container or a job
    except AttributeError:  # not on macOS and Windows
        allowed = os.cpu_count() or 1
    return max(1, allowed)


def _free_memory() -> float:
    """Bytes of memory that are free; where the system does not say so, 4 GB."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return Machine.memory
