"""Two processes must move Adaloss by the same numbers as one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

import warm
from trigpoint.config import parse
from trigpoint.methods import HeatmapMethod

# sums of misfits and energies, points near, and counts of two landmarks on each process, in each of five epochs
SUMS = torch.tensor(
    [[[[9.0 / e, 3.0], [4.0, 4.0], [1, 1], [3, 1]], [[1.0, 5.0 + e], [2.0, 8.0], [0, 2], [1, 5]]] for e in range(1, 6)]
).double()


def method() -> HeatmapMethod:
    values = {"network": {"name": "unet", "width": 2, "depth": 1}, "schedule": "adaloss"}
    return HeatmapMethod(parse(HeatmapMethod.Config, values), ("a", "b"), 1, (32, 32), epochs=20)


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    m = method()
    for sums in SUMS:
        m.epoch_sums.copy_(sums[rank])
        m.on_train_epoch_end()
    torch.save(m.schedule.sigma, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_sigma_is_that_of_one_process() -> None:
    alone = method()
    for sums in SUMS:
        alone.epoch_sums.copy_(sums.sum(0))
        alone.on_train_epoch_end()
    assert (alone.schedule.sigma != 8).any()  # or nothing has been compared
    with tempfile.TemporaryDirectory() as folder:
        warm.together(worker, (folder,))
        both = [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert torch.equal(both[0], both[1])
    assert torch.equal(both[0], alone.schedule.sigma)
