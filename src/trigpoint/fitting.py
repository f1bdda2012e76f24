"""Fitting a module to data with Lightning: the engine, its loaders, optimizer and callbacks, and errors in our words.

What is learned, landmarks (``training``) or classes (``classification``), is not known here.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from trigpoint.callbacks import LANDMARK_ERROR, Measure, Progress, Recorder, Timer
from trigpoint.data.loading import EpochBatches, InputDataset, Item, loader
from trigpoint.errors import DataError, RunError
from trigpoint.methods.base import NotFinite, TrainedModule
from trigpoint.recipe import Recipe, SourceRecipe, TrainConfig
from trigpoint.runs import RunFolder

_OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adadelta": torch.optim.Adadelta,
    "sgd": torch.optim.SGD,
}


def first_process() -> bool:
    """Whether this process speaks and writes for a training on several."""
    return int(cast(Any, rank_zero_only).rank or 0) == 0


def check_same(recipe: Recipe | SourceRecipe, stored: Recipe | SourceRecipe, run: RunFolder) -> None:
    """Refuse to go on with a run of another recipe; where and how fast it is computed may change."""
    free = {"data": {"workers", "cache"}, "train": {"accelerator", "devices", "num_nodes", "strategy", "threads"}}
    ours, theirs = recipe.model_dump(mode="json"), stored.model_dump(mode="json")
    for section in sorted(ours):
        mine, other = ours[section], theirs[section]
        keys = mine.keys() if isinstance(mine, dict) else [None]
        for key in keys:
            a, b = (mine, other) if key is None else (mine[key], other.get(key))
            if a != b and key not in free.get(section, ()):
                name = section if key is None else f"{section}.{key}"
                raise RunError(
                    f"{run.folder}: holds a run of another recipe ({name}: {b} there, {a} here); "
                    "give another --out, or the recipe that it was started with"
                )


def fit(
    recipe: Recipe | SourceRecipe,
    method: TrainedModule,
    inputs: dict[str, InputDataset],
    run: RunFolder,
    progress: bool,
    measure: Measure = LANDMARK_ERROR,
) -> None:
    """Train ``method`` on the input "train", choosing the weights on "val", from where ``run`` stands.

    Raises RunError when the loss is not finite (naming the images) or a worker dies, KeyboardInterrupt when stopped.
    """
    timer, bar = Timer(), Progress(measure)
    recorder = Recorder(run, timer, bar.announce, measure)
    trainer = _trainer(recipe.train, run, [timer, recorder, *([bar] if progress else [])], method)
    training, validation = _loaders(recipe, inputs, trainer)
    method.observe(inputs["train"].points())
    method.clip = recipe.train.clip
    method.make_optimizers = lambda parameters, steps: make_optimizers(recipe.train, parameters, steps)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*The number of training batches.*")
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            last = run.last if run.last.is_file() else None
            trainer.fit(method, training, validation, ckpt_path=last, weights_only=True)
    except NotFinite as error:
        names = [inputs["train"].dataset.samples[i].image.name for i in error.index]
        raise RunError(
            f"training loss is not finite in epoch {trainer.current_epoch + 1}, images {', '.join(names)}; nothing was "
            "changed by this batch. Look at these images, or lower train.optimizer.lr, or set train.clip=1"
        ) from None
    except DataError as error:
        raise DataError(_own_words(str(error))) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(
            "a process that prepares batches was ended from outside, mostly for lack of memory or of shared memory; "
            "train with data.workers=0 or data.cache=false (the same --out resumes)"
        ) from None
    except SystemExit:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None


def _own_words(message: str) -> str:
    """An error's message without the traceback that a worker process of the DataLoader puts around it.

    >>> _own_words("Caught DataError in worker 0.\\n  ...\\ntrigpoint.errors.DataError: a.png: truncated")
    'a.png: truncated'
    """
    return re.split(r"^trigpoint\.[\w.]*Error: ", message, flags=re.MULTILINE)[-1].strip()


def _trainer(config: TrainConfig, run: RunFolder, callbacks: list[L.Callback], method: TrainedModule) -> L.Trainer:
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return L.Trainer(
        accelerator=config.accelerator,
        devices=config.devices if config.devices != "auto" or torch.cuda.is_available() else 1,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=cast(Any, fast_precision() if config.precision == "auto" else config.precision),
        max_epochs=config.epochs,
        gradient_clip_val=config.clip if method.automatic_optimization else None,  # else the method clips by itself
        check_val_every_n_epoch=config.val_every,
        callbacks=callbacks,
        logger=TensorBoardLogger(run.folder, name="", version="tensorboard"),
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )


def fast_precision() -> str:
    """``bf16-mixed`` where the device multiplies bfloat16 matrices in hardware (CUDA from Ampere on, CPUs with AMX)."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32"
    cpuinfo = Path("/proc/cpuinfo")
    return "bf16-mixed" if cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text(encoding="utf-8") else "32"


def make_optimizers(config: TrainConfig, parameters: list[torch.nn.Parameter], steps: int) -> dict[str, Any]:
    """Optimizer, and the learning rate as a function of the share of all ``steps`` done."""
    options: dict[str, Any] = {"lr": config.optimizer.lr, "weight_decay": config.optimizer.weight_decay}
    if config.optimizer.name == "sgd":
        options |= {"momentum": config.optimizer.momentum, "nesterov": config.optimizer.momentum > 0}
    optimizer = _OPTIMIZERS[config.optimizer.name](parameters, **options)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: config.lr_schedule.factor(step / steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}


def _loaders(
    recipe: Recipe | SourceRecipe, inputs: dict[str, InputDataset], trainer: L.Trainer
) -> tuple[DataLoader[Item], DataLoader[Item]]:
    settings, size = recipe.data, recipe.train.batch_size
    workers = settings.workers if settings.workers is not None else min(8, max(1, (os.cpu_count() or 2) // 2))
    rank, world = trainer.global_rank, trainer.world_size
    made = []
    for part, data in inputs.items():
        extra = (len(data) - data.labelled, recipe.data.unlabelled if isinstance(recipe, Recipe) else 0)
        batches = EpochBatches(data.labelled, size, recipe.seed, part == "train", rank, world, extra)
        made.append(loader(data, batches, workers, pin=trainer.strategy.root_device.type == "cuda"))
    return made[0], made[1]
