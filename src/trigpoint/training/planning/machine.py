"""What this machine has for a training: cores, memory, a GPU."""

from dataclasses import dataclass

import torch

from trigpoint.machine import free_memory, usable_cores


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
        return Machine(usable_cores(), free_memory() or Machine.memory)
    return Machine(
        usable_cores(),
        free_memory() or Machine.memory,
        torch.cuda.get_device_name(),
        float(torch.cuda.mem_get_info()[0]),
    )
