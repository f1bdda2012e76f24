"""What this machine has for a training: cores, memory, a GPU."""

import os
from dataclasses import dataclass

import torch

from trigpoint.machine import free_memory, usable_cores
from trigpoint.prediction.engine import processes


@dataclass(frozen=True)
class Machine:
    """Cores that this process may use, free memory in bytes, and the name and free memory of a GPU, if there is one;
    ``processes``: how many train together, ``local`` of them on this machine."""

    cores: int = 1
    memory: float = 4e9
    gpu: str | None = None
    gpu_memory: float = 0.0
    processes: int = 1
    local: int = 1


def this_machine() -> Machine:
    """Look at the machine that the process runs on."""
    count, share = processes(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun
    local = share if share > 1 else min(count, int(os.environ.get("SLURM_NTASKS_PER_NODE", "1")))
    # Slurm gives each process its own cores and memory, torchrun does not
    cores, memory = max(1, usable_cores() // share), (free_memory() or Machine.memory) / share
    if not torch.cuda.is_available():
        return Machine(cores, memory, processes=count, local=local)
    gpu, free = torch.cuda.get_device_name(), float(torch.cuda.mem_get_info()[0])
    return Machine(cores, memory, gpu, free, count, local)
