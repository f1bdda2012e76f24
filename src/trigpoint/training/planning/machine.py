"""What this machine has for a training: cores, memory, a GPU."""

import os
from dataclasses import dataclass

import torch

from trigpoint.machine import free_memory, usable_cores
from trigpoint.prediction.engine import processes


@dataclass(frozen=True)
class Machine:
    """Cores that this process may use, free memory in bytes, and the name and free memory of a GPU, if there is one;
    ``processes``: how many train together."""

    cores: int = 1
    memory: float = 4e9
    gpu: str | None = None
    gpu_memory: float = 0.0
    processes: int = 1


def this_machine() -> Machine:
    """Look at the machine that the process runs on."""
    share = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # of torchrun; Slurm gives each process its own
    cores, memory = max(1, usable_cores() // share), (free_memory() or Machine.memory) / share
    if not torch.cuda.is_available():
        return Machine(cores, memory, processes=processes())
    gpu, free = torch.cuda.get_device_name(), float(torch.cuda.mem_get_info()[0])
    return Machine(cores, memory, gpu, free, processes())
