"""Prediction on several devices or machines, whose processes Lightning, torchrun or Slurm starts: each image once."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigpoint.errors import ConfigError, Stopped, TrigpointError, needed, unstopped
from trigpoint.landmarks import ImageDetections
from trigpoint.prediction.base import Progress

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

    from trigpoint.prediction.predictor import Predictor

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")  # where Lightning looks


def first_process() -> bool:
    """Whether this process speaks and writes for all of them."""
    environment = started_by()
    if environment is not None:  # what Lightning knows is that of its import, or of the processes it has joined
        return environment.global_rank() == 0
    module = sys.modules.get("lightning.fabric.utilities.rank_zero")
    if module is not None:
        return int(module.rank_zero_only.rank or 0) == 0
    return int(next((os.environ[key] for key in _RANKS if key in os.environ), "0")) == 0


def processes(devices: int = 1) -> int:
    """How many processes predict together: those that torchrun or srun started, else one per device.

    Raises ConfigError for a number of devices that is not that of the processes which were started.
    """
    environment = started_by()
    if environment is None:
        return devices
    started = environment.world_size()
    if devices not in (1, started):
        raise ConfigError(f"--devices: expected {started}, as many processes were started, got {devices}; leave it out")
    return started


def tells_errors() -> bool:
    """Whether this process tells what all processes of its machine meet, such as a table that is there already."""
    environment = started_by()
    return environment is None or environment.local_rank() == 0


def quiet() -> None:
    """Let Lightning warn only: what it tells besides, of processes, hardware and tips, is not about the work."""
    for name in ("lightning.fabric", "lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)


def started_by() -> ClusterEnvironment | None:
    """By what this process was started; None: by itself, and ``_together`` starts the others."""
    # Slurm describes the job to a shell and to a batch script as well, where srun has started nothing
    by_slurm = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    if "TORCHELASTIC_RUN_ID" not in os.environ and not by_slurm:
        return None  # without Lightning, which takes long to import
    with needed("several processes"):
        from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
        from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if by_slurm and SLURMEnvironment.detect():
        try:
            return SLURMEnvironment()
        except RuntimeError as error:
            raise ConfigError(f"srun: {error}") from None
    return None


def predict_in_parallel(
    predictor: Predictor,
    files: Sequence[Path],
    names: Sequence[str],
    found: list[ImageDetections],
    batch_size: int,
    devices: int = 1,
    progress: Progress | None = None,
) -> None:
    """Add what is found in ``files``, in their order, to ``found``; raises what ended the work in any of the processes.

    Every process is given the same arguments and finds the same; the first raises, the others end.
    """
    import torch.distributed as dist

    fabric = _together(predictor.device.type, devices)
    predictor.device = fabric.device
    predictor.method.to(fabric.device)
    size = max(1, min(batch_size, -(-len(files) // fabric.world_size)))
    with unstopped() as asked:  # after the same batch, then all end
        for start in range(0, len(files), size * fabric.world_size):
            first = start + size * fabric.global_rank
            own = slice(first, first + size)
            parts: list[Any] = [None] * fabric.world_size
            dist.all_gather_object(parts, _part(predictor, files[own], names[own], asked))
            ended = next((part for part in parts if isinstance(part, BaseException)), None)
            if ended is not None:
                # with another code Lightning would kill the first process, which tells why
                raise ended if fabric.is_global_zero else SystemExit(0)
            found += [one for part in parts for one in part]
            if progress is not None:
                progress(len(found), len(files))


def _together(kind: str, devices: int) -> Fabric:
    """All processes, the missing ones started."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.strategies.ddp import DDPStrategy
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    quiet()
    count, environment = processes(devices), started_by() or LightningEnvironment()
    slurm = isinstance(environment, SLURMEnvironment)
    nodes = int(os.environ["SLURM_NNODES"]) if slurm else count // int(os.environ.get("LOCAL_WORLD_SIZE", count))
    try:
        fabric = Fabric(
            accelerator=kind,
            devices=count // nodes,
            num_nodes=nodes,
            strategy=DDPStrategy(cluster_environment=environment),
        )
    except MisconfigurationException as error:  # there are fewer
        raise ConfigError(f"--devices: {error}") from None
    fabric.launch()
    return fabric


def _part(
    predictor: Predictor, files: Sequence[Path], names: Sequence[str], asked: list[int]
) -> list[ImageDetections] | BaseException:
    """What one process found, or why all have to end; it is for all processes, so nothing is raised."""
    if asked:
        return Stopped(asked[0])
    try:
        return predictor.predict(files, len(files), names=names).detections if files else []
    except TrigpointError as error:
        return error
