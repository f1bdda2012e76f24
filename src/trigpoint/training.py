"""``train``: from a recipe and a dataset folder to a run folder, on Lightning.

The same call resumes an unfinished run. The best weights are chosen by the error on the validation part of the data;
the split that is kept for testing is never opened.
"""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DataLoader

from trigpoint.callbacks import Progress, Recorder, Timer
from trigpoint.config import parse
from trigpoint.data import LandmarkDataset
from trigpoint.data.augment import InputPipeline
from trigpoint.data.images import image_size
from trigpoint.data.loading import EpochBatches, InputDataset, Item, loader
from trigpoint.data.splits import grouped_split
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.inference import Predictor
from trigpoint.landmarks import FloatArray
from trigpoint.methods import CascadeMethod, LandmarkMethod
from trigpoint.methods.base import NotFinite
from trigpoint.metrics import radial_error
from trigpoint.recipe import Recipe, TrainConfig, build_method, load_recipe
from trigpoint.report.figures import error_curve, sigma_curves
from trigpoint.report.style import save
from trigpoint.runs import COVERAGE, LandmarkFile, RunFolder

_OPTIMIZERS: dict[str, Any] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adadelta": torch.optim.Adadelta,
    "sgd": torch.optim.SGD,
}


def train(
    recipe: str | Path | Recipe, overrides: Sequence[str] = (), out: str | Path = "run", progress: bool = True
) -> RunFolder:
    """Train, or resume what ``out`` holds of the same recipe; returns the run folder.

    ``recipe`` is a file, the name of a recipe of the package or a ``Recipe``; ``overrides`` are dotted, such as
    ``train.epochs=5``. Raises ConfigError and DataError before anything is written, RunError when ``out`` holds another
    run or the loss is not finite (naming the images), KeyboardInterrupt when stopped (the same call resumes).
    """
    chosen = load_recipe(recipe, overrides)
    run = RunFolder(out)
    parts = _parts(chosen, run)
    L.seed_everything(chosen.seed, workers=True, verbose=False)  # before the weights are drawn
    method = build_method(chosen, parts["train"].landmarks)
    if run.exists() and _finished(run, chosen):
        return run
    inputs = _inputs(chosen, parts)
    if not run.exists() and first_process():
        names = {part: [data.image_name(sample) for sample in data.samples] for part, data in parts.items()}
        run.begin(chosen, LandmarkFile(parts["train"].landmarks, _common_spacing(parts["train"])), names)
    if chosen.train.threads:
        torch.set_num_threads(chosen.train.threads)
    if isinstance(method, CascadeMethod):
        _prepare_coarse(chosen, method, inputs["val"], run, progress)
        L.seed_everything(chosen.seed, workers=True, verbose=False)  # as if there had been no other training
    _fit(chosen, method, inputs, run, progress)
    if first_process():
        finish(run, parts["val"])
    return run


def dataset_of(recipe: Recipe) -> LandmarkDataset:
    """The whole dataset that the recipe names. Raises ConfigError when it names none."""
    if recipe.data.path is None:
        raise ConfigError("data.path: expected a dataset folder, got none; add data.path=FOLDER")
    return LandmarkDataset.load(recipe.data.path, names=recipe.data.landmarks)


# -- data ----------------------------------------------------------------------------------------------------


def _parts(recipe: Recipe, run: RunFolder) -> dict[str, LandmarkDataset]:
    """The training and the validation part; those of an existing run are taken from its ``split.csv``."""
    data = dataset_of(recipe)
    if run.exists():
        _check_same(recipe, run)
        by_name = {data.image_name(sample): i for i, sample in enumerate(data.samples)}
        stored = run.parts()
        lost = [name for names in stored.values() for name in names if name not in by_name]
        if lost:
            raise RunError(f"{run.split}: image '{lost[0]}' is no longer in {recipe.data.path}; put it back")
        return {part: data.subset([by_name[name] for name in names]) for part, names in stored.items()}
    splits = data.splits()
    if recipe.data.train in splits:
        training = data.only(recipe.data.train)
    elif not splits:
        training = data
    else:
        training = data.only(recipe.data.train)  # raises with the splits that exist
    if recipe.data.val in splits:
        validation = data.only(recipe.data.val)
    else:
        share = recipe.data.val_share
        drawn = grouped_split(training.groups, {"train": 1 - share, "val": share}, recipe.seed)
        validation = training.subset([i for i, part in enumerate(drawn) if part == "val"])
        training = training.subset([i for i, part in enumerate(drawn) if part == "train"])
    if recipe.data.limit is not None:
        training = training.limit(recipe.data.limit, recipe.seed)
    for part, samples in (("training", training), ("validation", validation)):
        if not (samples.visibility > 0).any():
            raise DataError(f"{recipe.data.path}: expected annotated landmarks in the {part} part, got none")
    return {"train": training, "val": validation}


def _check_same(recipe: Recipe, run: RunFolder) -> None:
    """Refuse to go on with a run of another recipe; where and how fast it is computed may change."""
    free = {"data": {"workers", "cache"}, "train": {"accelerator", "devices", "num_nodes", "strategy", "threads"}}
    ours, theirs = recipe.model_dump(mode="json"), run.recipe().model_dump(mode="json")
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


def first_process() -> bool:
    """Whether this process speaks and writes for a training on several."""
    return int(cast(Any, rank_zero_only).rank or 0) == 0


def _finished(run: RunFolder, recipe: Recipe) -> bool:
    """Whether nothing is left to do; the radii are the last thing that ``finish`` writes."""
    if run.epochs_done() < recipe.train.epochs or not run.weights.is_file():
        return False
    return bool(np.isfinite(run.read_landmarks().radius).any())


def _common_spacing(data: LandmarkDataset) -> float | None:
    spacings = np.unique(data.spacings)
    return float(spacings[0]) if len(spacings) == 1 and np.isfinite(spacings[0]) else None


def _inputs(recipe: Recipe, parts: dict[str, LandmarkDataset]) -> dict[str, InputDataset]:
    """What the loaders draw from; refuses augmentation and data that the method cannot take."""
    made = {}
    for part, augment in (("train", recipe.data.augment), ("val", None)):
        pipeline = InputPipeline(recipe.data.input, parts[part].landmarks, augment)
        made[part] = InputDataset(parts[part], pipeline, recipe.seed, recipe.data.cache)
        made[part].preload()
    return made


def _loaders(
    recipe: Recipe, inputs: dict[str, InputDataset], trainer: L.Trainer
) -> tuple[DataLoader[Item], DataLoader[Item]]:
    settings, size = recipe.data, recipe.train.batch_size
    workers = settings.workers if settings.workers is not None else min(8, max(1, (os.cpu_count() or 2) // 2))
    rank, world = trainer.global_rank, trainer.world_size
    made = []
    for part, data in inputs.items():
        batches = EpochBatches(len(data), size, recipe.seed, part == "train", rank, world)
        made.append(loader(data, batches, workers, pin=trainer.strategy.root_device.type == "cuda"))
    return made[0], made[1]


def _prepare_coarse(
    recipe: Recipe, method: CascadeMethod, validation: InputDataset, run: RunFolder, progress: bool
) -> None:
    """Train the coarse stage into the run's folder ``coarse``, or take the run that is named, and measure it."""
    options = cast(CascadeMethod.Config, recipe.method)
    if options.coarse_run is None:
        coarse = train(parse(Recipe, options.coarse, "method.coarse"), out=run.folder / "coarse", progress=progress)
    else:
        coarse = RunFolder(options.coarse_run)
    predictor, data = Predictor.load(coarse), validation.dataset
    if predictor.landmarks.names != data.landmarks.names:
        raise ConfigError(
            f"{coarse.folder}: expected a run for the landmarks {', '.join(data.landmarks.names)}, got "
            f"{', '.join(predictor.landmarks.names)}; set data.landmarks, or let method.coarse train one"
        )
    learned = set(coarse.parts().get("train", []))
    unseen = data.subset([i for i, sample in enumerate(data.samples) if data.image_name(sample) not in learned])
    if not len(unseen):
        raise ConfigError(
            f"{coarse.folder}: was trained on all validation images of this run, so its errors cannot be measured; "
            "train it with the same seed and data.val_share, or let method.coarse train one"
        )
    found = predictor.predict(unseen, batch_size=4).points
    errors = []
    for sample, points in zip(unseen.samples, found, strict=True):
        pair = np.stack([points, sample.points])
        there, truth = validation.pipeline.points(image_size(sample.image), pair)
        errors.append(there - truth)
    method.take_coarse(coarse.load_weights()[0], torch.stack(errors))


# -- fitting -------------------------------------------------------------------------------------------------


def _fit(
    recipe: Recipe, method: LandmarkMethod, inputs: dict[str, InputDataset], run: RunFolder, progress: bool
) -> None:
    timer, bar = Timer(), Progress()
    recorder = Recorder(run, timer, bar.announce)
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


def _trainer(config: TrainConfig, run: RunFolder, callbacks: list[L.Callback], method: LandmarkMethod) -> L.Trainer:
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


# -- after the last epoch ------------------------------------------------------------------------------------


def finish(run: RunFolder, data: LandmarkDataset) -> None:
    """Draw the curves of ``metrics.csv`` and calibrate the radii on the validation part."""
    table, marks = run.history_table(), run.read_landmarks()
    epochs, errors = table["epoch"].to_list(), table["val_mre_px"]
    best = None if errors.isna().all() else float(epochs[int(np.nanargmin(errors.to_numpy()))])
    save(error_curve(epochs, table["train_loss"].to_list(), errors.to_list(), best=best), run.history)
    members = marks.landmarks.groups or {name: (name,) for name in marks.landmarks.names}
    columns = {group: [f"sigma_{name}" for name in names] for group, names in members.items()}
    if all(set(names) <= set(table.columns) for names in columns.values()):  # else no target widths
        widths = {group: table[names].mean(axis=1).to_list() for group, names in columns.items()}
        save(sigma_curves(epochs, widths), run.folder / "sigma.png")
    errors_px = radial_error(Predictor.load(run).predict(data).points, data.points)
    radius = np.array([conformal_radius(errors_px[:, k], COVERAGE) for k in range(len(marks.landmarks))])
    run.write_landmarks(replace(marks, radius=radius))


def conformal_radius(errors: FloatArray, coverage: float) -> float:
    """Distance that a new error stays below with probability ``coverage``: split conformal prediction.

    ``errors`` (N,), NaN = not annotated. The ceil((n + 1) * coverage)-th smallest error, or the largest when n is too
    small for that (Vovk et al. 2005); NaN without errors. Valid for images like those of the validation part; a little
    too small because the same part chose the weights.

    >>> conformal_radius(np.arange(1.0, 20.0), 0.9)
    18.0
    """
    known = np.sort(errors[~np.isnan(errors)])
    if not len(known):
        return float("nan")
    return float(known[min(math.ceil((len(known) + 1) * coverage), len(known)) - 1])
