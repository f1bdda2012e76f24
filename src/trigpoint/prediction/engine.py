"""Prediction on several devices or machines by Lightning's engine: each image once, the parts joined in their order."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from trigpoint.landmarks import ImageDetections, Prediction
from trigpoint.prediction.predictor import Predictor

_STARTED = ("WORLD_SIZE", "SLURM_NTASKS")  # processes that torchrun, or Slurm, started together


def processes(devices: int | str = 1) -> int:
    """How many processes predict together: those started by torchrun or Slurm, else one per device."""
    started = next((int(os.environ[name]) for name in _STARTED if os.environ.get(name, "").isdigit()), 1)
    return max(started, devices if isinstance(devices, int) else 1)


def first_process() -> bool:
    """Whether this process speaks and writes for all of them."""
    return int(cast(Any, rank_zero_only).rank or 0) == 0


def predict_in_parallel(
    predictor: Predictor, files: Sequence[Path], names: Sequence[str], batch_size: int, devices: int | str = 1
) -> Prediction:
    """Predict ``files`` on all processes, each of which is given the same list and returns the joined result."""
    for logger in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    shared = _Shared(predictor, files, names, batch_size)
    count = processes(devices)
    nodes = max(1, int(os.environ.get("SLURM_NNODES", os.environ.get("GROUP_WORLD_SIZE", "1"))))
    trainer = L.Trainer(
        accelerator={"cuda": "gpu"}.get(predictor.device.type, predictor.device.type),
        devices=count // nodes,
        num_nodes=nodes,
        strategy="ddp",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # which would give some images twice
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.predict(shared, return_predictions=False)
    found = [shared.joined[i] for i in range(len(files))]
    return predictor.joined(found)


class _Shared(L.LightningModule):
    """A process's share of the images, and in the end those of all."""

    def __init__(self, predictor: Predictor, files: Sequence[Path], names: Sequence[str], batch_size: int) -> None:
        super().__init__()
        self.predictor, self.files, self.names, self.batch_size = predictor, files, names, batch_size
        self.method = predictor.method  # so that it is moved to the device of the process
        self.found: dict[int, ImageDetections] = {}
        self.joined: dict[int, ImageDetections] = {}

    def predict_dataloader(self) -> DataLoader[Any]:
        """Positions of the images of this process."""
        own = range(self.trainer.global_rank, len(self.files), self.trainer.world_size)
        return DataLoader(own, batch_size=self.batch_size, collate_fn=list)  # type: ignore[arg-type]

    def predict_step(self, batch: list[int], batch_idx: int) -> None:
        """Predict the images at these positions."""
        self.predictor.device = self.device
        images, names = [self.files[i] for i in batch], [self.names[i] for i in batch]
        self.found |= zip(batch, self.predictor.predict(images, len(batch), names=names).detections, strict=True)

    def on_predict_epoch_end(self) -> None:
        """Every process gets what all have found."""
        parts: list[Any] = [self.found]
        if self.trainer.world_size > 1:
            parts = [None] * self.trainer.world_size
            dist.all_gather_object(parts, self.found)
        for part in parts:
            self.joined |= part
