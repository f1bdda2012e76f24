"""Fitting a module to data with Lightning: the engine, its loaders, optimizer and callbacks, and errors in our words.

What is learned, landmarks (``training``) or classes (``classification``), is not known here.
"""

import re
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch.utils.data import DataLoader

from trigpoint.data.input.loading import EpochBatches, InputDataset, Item, loader
from trigpoint.data.input.skips import summary
from trigpoint.errors import REFUSED, ConfigError, DataError, RunError, Stopped, counted, unstopped
from trigpoint.machine import usable_cores
from trigpoint.methods.base import NotFinite, TrainedModule
from trigpoint.methods.validation import ValidationMetric
from trigpoint.nn.single import allow_single_values
from trigpoint.prediction.engine import first_process, quiet
from trigpoint.recipe import Recipe, SourceRecipe, TrainConfig
from trigpoint.report.figures import error_curve
from trigpoint.report.style import save
from trigpoint.report.tables import broken
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.runs.lock import locked
from trigpoint.training.callbacks import OneModel, Progress, Recorder, Steady, Stop, Timer, Watch
from trigpoint.training.optimizers import fast_precision, keep_freed_memory, make_optimizers
from trigpoint.training.resuming import REMEDY, Checkpoints, ResumePoint, note_data, note_recipe, resume_point, told
from trigpoint.training.subsets import common_spacing, new_images
from trigpoint.training.tracking import Tracker

_SINGLE = (
    "a batch holds a single image, whose deepest maps have one cell: batch normalisation takes its running statistics "
    "there, because one value has none; for those of several images add images, or raise train.batch_size"
)
SEARCH = 10_000
"""Steps from which on a GPU first tries which convolutions are fastest: on an H100 that seven trainings shared, their
first epochs took 80 s with it, as much as 600 steps of theirs."""
_LOST_PEER = re.compile(r"gloo|nccl|closed by peer|reset by peer|broken pipe", re.IGNORECASE)
_DEFAULTS = TrainConfig.model_fields


def fit(
    recipe: Recipe | SourceRecipe,
    method: TrainedModule,
    inputs: dict[str, InputDataset],
    run: RunFolder,
    point: ResumePoint,
    progress: bool,
    watch: Watch | None = None,
    tracker: Tracker | None = None,
) -> None:
    """Train ``method`` on the input "train", choosing the weights on "val", from ``point`` of ``run`` on.

    Raises RunError when the loss is not finite (naming the images), a worker or another process of the training dies,
    or the disk is full or read-only (naming the file); DataError for an image that cannot be read; Stopped, a
    KeyboardInterrupt, when any of the processes was asked to stop.
    """
    timer, bar = Timer(), Progress()
    recorder = Recorder(run, timer, bar.announce, recipe.train.patience, watch, tracker)
    steady = Steady(recipe.seed)
    watching: list[L.Callback] = [steady, OneModel(), timer, recorder, Stop(recorder)]
    watching += [bar] if progress else []
    keep_freed_memory()
    search = method.steps_per_batch * _batches(recipe, inputs["train"]) >= SEARCH
    trainer = _trainer(recipe.train, Checkpoints(run, sound=not point.wrong), watching, method, search, tracker)
    for data in inputs.values():
        if data.skips is not None:
            data.skips.file = run.skipped
    training, validation = _loaders(recipe, inputs, trainer)
    steady.batches = cast(EpochBatches, training.batch_sampler)
    method.observe(inputs["train"].points())
    method.metric, method.clip = method.validation_metric(), recipe.train.clip
    method.metric.show_in(common_spacing(inputs["train"].dataset))
    method.make_optimizers = lambda parameters, steps: make_optimizers(recipe.train, parameters, steps)
    for note in method.plan(recipe.train.num_epochs, len(training)):
        tell(note, bar.console)
    if cast(EpochBatches, training.batch_sampler).least() == 1:
        allow_single_values(method, lambda: tell(_SINGLE, bar.console))
    try:
        with warnings.catch_warnings(), writing(run), unstopped() as recorder.asked:
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data.workers is the user's
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # a source is
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # between Lightning and torch
            trainer.fit(method, training, validation, ckpt_path=point.file, weights_only=True)
    except NotFinite as error:
        names = [inputs["train"].dataset.samples[i].image.name for i in error.index]
        raise RunError(
            f"training loss is not finite in epoch {trainer.current_epoch + 1}, images {', '.join(names)}; nothing was "
            "saved of this batch. Look at these images, or begin anew in another --out, with a lower "
            "train.optimizer.lr or with train.clip=1"
        ) from None
    except DataError as error:
        skip = ", or leave out what cannot be read: data.on_error=skip" if isinstance(recipe, Recipe) else ""
        how = f"Training has stopped; mend this and run the same command to go on{skip}"
        raise DataError(f"{_own_words(str(error))}. {how}") from None
    except (RuntimeError, SystemExit) as error:
        if isinstance(error, RuntimeError) and not recorder.asked:
            if "loading state_dict" in str(error):
                raise RunError(f"{point.file}: is the checkpoint of another network; {REMEDY}") from None
            raise _lost_process(error, trainer) from error
        if not first_process():
            raise SystemExit(0) from None  # with another code Lightning would kill the first process, which tells why
        other = signal.SIGTERM if isinstance(error, SIGTERMException) else signal.SIGINT  # what another was sent
        raise Stopped(next(iter(recorder.asked), other)) from None
    finally:
        bar.close()
        torch.backends.cudnn.benchmark = False  # Lightning leaves it on, and predictions come in batches of all sizes
    if len(recorder.rows) < recipe.train.num_epochs:
        tell(early(run, recipe), bar.console)
    if told := summary(run.skipped):
        tell(told, bar.console)


def _batches(recipe: Recipe | SourceRecipe, training: InputDataset) -> int:
    return recipe.train.num_epochs * -(-training.labelled // recipe.train.batch_size)


def early(run: RunFolder, recipe: Recipe | SourceRecipe) -> str:
    """That a training ended before its last epoch, in words."""
    return (
        f"{run.folder}: ended after epoch {run.epochs_done()} of {recipe.train.num_epochs}: no smaller error in "
        f"{recipe.train.patience} validations (train.patience)"
    )


@contextmanager
def alone(run: RunFolder) -> Iterator[None]:
    """Hold a run for this training, whose first process does so for all of them.

    Raises RunError when another training has it, and when the folder is that of something else.
    """
    if not first_process():
        yield
        return
    with ExitStack() as stack:
        with writing(run):
            if not run.exists():
                run.open_new()
            works = stack.enter_context(locked(run.lock))
        if not works:
            tell(f"{run.folder}: its file system has no locks; see that nothing else trains into it")
        yield


def go_on(
    recipe: Recipe | SourceRecipe,
    inputs: dict[str, InputDataset],
    run: RunFolder,
    marks: LandmarkFile | None = None,
    new: Mapping[str, list[str]] | None = None,
) -> ResumePoint:
    """Where ``run`` goes on. Notes the data, a new length, and what is accepted: landmarks described anew, images.

    Raises RunError, before anything is written, when images or annotations are no longer those of the run, or its
    checkpoints are damaged or gone.
    """
    point = resume_point(run)
    if first_process():
        with writing(run):
            run.sweep()
            note_data(recipe, inputs, run, point)
            note_recipe(recipe, run)
            if marks is not None:
                run.write_landmarks(marks)
            if new:
                run.join(new, point.epochs + 1)
        if text := told(run, point, recipe.train.num_epochs):
            tell(text)
        if new:
            tell(f"{run.folder}: from now on with {new_images(new)}")
    return point


def tell(text: str, console: Console | None = None) -> None:
    """A note for a person, once for all processes; names in it are no markup."""
    if first_process():
        console = console or Console(stderr=True)
        console.print(broken(text, console), highlight=False, soft_wrap=True, markup=False)


def draw_history(run: RunFolder, metric: ValidationMetric) -> pd.DataFrame:
    """Draw the curves of ``metrics.csv``, which is returned."""
    table = run.history_table()
    errors, epochs = metric.factor * table[metric.columns[0]], table["epoch"].to_list()
    best = None if errors.isna().all() else float(epochs[int(np.nanargmin(errors.to_numpy()))])
    curve = error_curve(epochs, table["train_loss"].to_list(), errors.to_list(), metric.unit, best, metric.title)
    save(curve, run.history)
    return table


@contextmanager
def writing(run: RunFolder) -> Iterator[None]:
    """Raise RunError, naming the file, when the disk takes no more of what is written to the run."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        whole = "last.ckpt and weights.safetensors are whole, as of the last epoch that was saved"
        saved = whole if run.last.is_file() else "no epoch has been saved yet"
        raise RunError(
            f"{error.filename or run.folder}: cannot be written: {error.strerror}; training has stopped, and {saved}. "
            "Make room or make the folder writable, then run the same command to go on"
        ) from None


def _lost_process(error: RuntimeError, trainer: L.Trainer) -> Exception:
    """What a RuntimeError of the engine says in our words, or itself."""
    if "DataLoader worker" in str(error):
        return RunError(
            "a process that prepares batches was ended from outside, mostly for lack of memory or of shared memory; "
            "train with data.workers=0 or data.cache=false (the same --out resumes)"
        )
    if trainer.world_size > 1 and _LOST_PEER.search(str(error)):
        return RunError(
            f"process {trainer.global_rank} of {trainer.world_size} lost another process of this training, which has "
            "died or been ended; its own message stands above, or the machine was out of memory. The same command goes "
            f"on after the last saved epoch ({str(error).splitlines()[0][:120]})"
        )
    return error


def _own_words(message: str) -> str:
    """An error's message without the traceback that a worker process of the DataLoader puts around it.

    >>> _own_words("Caught DataError in worker 0.\\n  ...\\ntrigpoint.errors.DataError: a.png: truncated")
    'a.png: truncated'
    """
    return re.split(r"^trigpoint\.[\w.]*Error: ", message, flags=re.MULTILINE)[-1].strip()


def check_engine(config: TrainConfig, validation: int) -> None:
    """Raise ConfigError, before any work, for devices that are not there or that Lightning cannot train on, and for
    more processes than there are ``validation`` images, of which each needs one."""
    quiet()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # training warns of the same
            trainer = L.Trainer(**_engine(config), logger=False, enable_checkpointing=False)
    except (MisconfigurationException, ImportError, RuntimeError, TypeError, ValueError) as error:
        given = {key: getattr(config, key) for key in ("accelerator", "devices", "num_nodes", "strategy", "precision")}
        usual = {key: _DEFAULTS[key].default for key in given}
        stated = ", ".join(f"train.{key}={value}" for key, value in given.items() if value != usual[key])
        also = [f"train.{k}={usual[k]}" for k in ("num_nodes", "strategy", "precision") if given[k] != usual[k]]
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{stated or 'train'}: expected devices that this machine has, got none to train on ({reason[:200]}); "
            f"set {' '.join(['train.accelerator=auto train.devices=auto', *also])}, and see 'trigpoint doctor'"
        ) from None
    if trainer.world_size > validation:
        raise ConfigError(
            f"train.devices={config.devices}: expected at most one process per validation image, got "
            f"{trainer.world_size} processes and {counted(validation, 'validation image')}; set "
            f"train.devices={max(1, validation // config.num_nodes)}, or add validation images"
        )


def _engine(config: TrainConfig) -> dict[str, Any]:
    return {
        "accelerator": config.accelerator,
        "devices": config.devices if config.devices != "auto" or torch.cuda.is_available() else 1,
        "num_nodes": config.num_nodes,
        "strategy": config.strategy,
        "precision": fast_precision() if config.precision == "auto" else config.precision,
    }


def _trainer(
    config: TrainConfig,
    checkpoints: Checkpoints,
    callbacks: list[L.Callback],
    method: TrainedModule,
    search: bool,
    tracker: Tracker | None,
) -> L.Trainer:
    quiet()
    trainer = L.Trainer(
        **_engine(config),
        max_epochs=config.num_epochs,
        gradient_clip_val=config.clip if method.automatic_optimization else None,  # else the method clips by itself
        check_val_every_n_epoch=min(config.val_every, config.num_epochs),  # or there would be no weights
        callbacks=callbacks,
        plugins=checkpoints,
        logger=False if tracker is None else tracker.logger,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        benchmark=search and torch.cuda.is_available(),
    )
    # Lightning's own handler of SIGTERM calls the other processes from wherever this one is: both wait for ever
    cast(Any, trainer)._signal_connector._sigterm_notifier_fn = lambda number, frame: None
    return trainer


def _loaders(
    recipe: Recipe | SourceRecipe, inputs: dict[str, InputDataset], trainer: L.Trainer
) -> tuple[DataLoader[Item], DataLoader[Item]]:
    settings, size = recipe.data, recipe.train.batch_size
    workers = settings.workers if settings.workers is not None else min(8, max(1, usable_cores() // 2))
    rank, world, device = trainer.global_rank, trainer.world_size, trainer.strategy.root_device
    made = []
    for part, data in inputs.items():
        extra = (len(data) - data.labelled, recipe.data.unlabelled if isinstance(recipe, Recipe) else 0)
        batches = EpochBatches(data.labelled, size, recipe.seed, part == "train", rank, world, extra)
        if data.prepare(part == "train", device):
            made.append(loader(data, batches))
        else:
            made.append(loader(data, batches, workers, pin=device.type == "cuda"))
    return made[0], made[1]
