"""What moves the weights, in which numbers: optimizers, their learning rates, and the precision that is fast here."""

import ctypes
import inspect
from pathlib import Path
from typing import Any

import torch

from trigpoint.recipe import TrainConfig


def fast_precision() -> str:
    """``bf16-mixed`` where the device multiplies bfloat16 matrices in hardware (CUDA from Ampere on, CPUs with AMX)."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    cpuinfo = Path("/proc/cpuinfo")
    return "bf16-mixed" if cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8") else "32"


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for the next step needs as much; whether the C library can (glibc does).

    Else every large tensor of a step on the CPU is memory that the system has to clear first, page by page: a tenth to
    a fifth of the time of networks with large maps.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows
        return False
    largest, pad, mapped = -1, -2, -4  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX of malloc.h
    return all([mallopt(mapped, 0), mallopt(largest, 2**30), mallopt(pad, 2**26)])


def make_optimizers(config: TrainConfig, parameters: list[torch.nn.Parameter], steps: int) -> dict[str, Any]:
    """Optimizer, and the learning rate as a function of the share of all ``steps`` done."""
    kind = next(kind for name, kind in vars(torch.optim).items() if name.lower() == config.optimizer.name)
    takes = inspect.signature(kind).parameters
    options: dict[str, Any] = {"lr": config.optimizer.lr, "weight_decay": config.optimizer.weight_decay}
    if "momentum" in takes:
        options |= {"momentum": config.optimizer.momentum, "nesterov": config.optimizer.momentum > 0}
    if "fused" in takes and {p.device.type for p in parameters} <= {"cpu", "cuda"}:
        options["fused"] = True  # one pass over all weights: several times faster, which small networks feel
    optimizer = kind(parameters, **options)
    # a fused step could undo the scaling of 16-mixed by itself, but then Lightning refuses to clip; let it do both
    optimizer._step_supports_amp_scaling = False
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: config.lr_schedule.factor(step / steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
