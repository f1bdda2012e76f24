"""Fitting a module to data with Lightning: the engine, its loaders, optimizer and callbacks, and errors in our words.

What is learned, landmarks (``training``) or classes (``classification``), is not known here.
"""

import io
import os
import re
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import lightning as L
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader

from trigpoint.data.files import write_bytes
from trigpoint.data.input.loading import EpochBatches, InputDataset, Item, loader
from trigpoint.data.input.skips import SkipLog, summary
from trigpoint.data.quality.fingerprint import differences, last_records, read_records, take
from trigpoint.errors import REFUSED, ConfigError, DataError, RunError, Stopped, unstopped
from trigpoint.methods.base import NotFinite, TrainedModule
from trigpoint.methods.validation import ValidationMetric
from trigpoint.prediction.engine import first_process, quiet
from trigpoint.recipe import Recipe, SourceRecipe, TrainConfig
from trigpoint.report.figures import error_curve
from trigpoint.report.style import save
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.training.callbacks import OneModel, Progress, Recorder, Steady, Stop, Timer
from trigpoint.training.optimizers import fast_precision, make_optimizers

_LOST_PEER = re.compile(r"gloo|nccl|closed by peer|reset by peer|broken pipe", re.IGNORECASE)
AnyRecipe = TypeVar("AnyRecipe", bound=Recipe | SourceRecipe)


class WholeFile(TorchCheckpointIO):
    """Checkpoints that are on the disk whole or not at all, as every other file of a run."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` in place of what ``path`` holds; raises OSError, which names the file."""
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        write_bytes(path, stream.getbuffer(), overwrite=True)


def check_same(recipe: Recipe | SourceRecipe, stored: Recipe | SourceRecipe, run: RunFolder) -> None:
    """Refuse to go on with a run of another recipe; its words, and where and how fast it is computed, may change."""
    free = {
        "data": {"workers", "cache", "on_error", "on_change"},
        "train": {"accelerator", "devices", "num_nodes", "strategy", "threads"},
    }
    ours, theirs = recipe.model_dump(mode="json"), stored.model_dump(mode="json")
    for section in sorted(set(ours) - {"name", "description"}):
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


def extended(recipe: AnyRecipe, run: RunFolder, more_epochs: int) -> AnyRecipe:
    """``recipe`` with ``more_epochs`` added to its epochs, and ``run``, which is of the recipe, made ready to go on.

    Counted from the recipe, not from where the run stands: the same call repeated, after a kill, extends it once.
    Raises ConfigError for a negative number; RunError without a run, for one of another recipe or already longer, and
    when its last checkpoint is gone.
    """
    if more_epochs < 0:
        raise ConfigError(f"more_epochs: expected a number of epochs to add, got {more_epochs}; give 1 or more")
    if not more_epochs:
        return recipe
    if not run.exists():
        raise RunError(f"{run.folder}: expected a run to go on with, got none; train it first, without more epochs")
    longer = _of_length(recipe, recipe.train.num_epochs + more_epochs)
    stored = _stored(recipe, run)
    until = time.monotonic() + 60  # processes that start together: the first one writes
    while not first_process() and stored.train.num_epochs < longer.train.num_epochs and time.monotonic() < until:
        time.sleep(0.1)
        stored = _stored(recipe, run)
    if stored.train.num_epochs > longer.train.num_epochs:
        least = stored.train.num_epochs - recipe.train.num_epochs
        raise RunError(
            f"{run.folder}: was extended to {stored.train.epochs} epochs already, {least} more than the recipe's "
            f"{recipe.train.epochs}; expected at least {least} more, got {more_epochs}"
        )
    check_same(_of_length(recipe, stored.train.num_epochs), stored, run)
    if stored.train.num_epochs < longer.train.num_epochs and first_process():
        if run.epochs_done() and not run.last.is_file():
            raise RunError(f"{run.last}: is missing, so the run cannot go on; put it back, or train into another --out")
        if isinstance(recipe, Recipe):
            known = run.read_landmarks()
            run.write_landmarks(LandmarkFile(known.landmarks, known.spacing_mm))  # no radii: it is not finished
        run.history.unlink(missing_ok=True)
        run.write_recipe(longer)
    return longer


def _stored(recipe: Recipe | SourceRecipe, run: RunFolder) -> Recipe | SourceRecipe:
    return run.recipe() if isinstance(recipe, Recipe) else run.source_recipe()


def settled(recipe: AnyRecipe, images: int | RunFolder) -> AnyRecipe:
    """``recipe`` with ``auto`` epochs as a number: for so many training images, or as the run, if there is one, has."""
    if recipe.train.epochs != "auto":
        return recipe
    if isinstance(images, RunFolder):
        if not images.exists():
            return recipe
        images = len(images.parts().get("train", ()))
    return cast(AnyRecipe, recipe.model_copy(update={"train": recipe.train.for_images(images)}))


def _of_length(recipe: AnyRecipe, epochs: int) -> AnyRecipe:
    return cast(AnyRecipe, recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": epochs})}))


def fit(
    recipe: Recipe | SourceRecipe,
    method: TrainedModule,
    inputs: dict[str, InputDataset],
    run: RunFolder,
    progress: bool,
) -> None:
    """Train ``method`` on the input "train", choosing the weights on "val", from where ``run`` stands.

    Raises RunError when the loss is not finite (naming the images), a worker or another process of the training dies,
    the disk is full or read-only (naming the file), or images or annotations are no longer those of the run; DataError
    for an image that cannot be read; Stopped, a KeyboardInterrupt, when any of the processes was asked to stop.
    """
    timer, bar = Timer(), Progress()
    recorder = Recorder(run, timer, bar.announce)
    steady = Steady(recipe.seed)
    watching: list[L.Callback] = [steady, OneModel(), timer, recorder, Stop(recorder)]
    watching += [bar] if progress else []
    trainer = _trainer(recipe.train, run, watching, method)
    if first_process():
        with writing(run):
            run.sweep()
            _note_data(recipe, inputs, run)
    for data in inputs.values():
        if data.skips is not None:
            data.skips.file = run.skipped
    training, validation = _loaders(recipe, inputs, trainer)
    steady.batches = cast(EpochBatches, training.batch_sampler)
    method.observe(inputs["train"].points())
    method.metric, method.clip = method.validation_metric(), recipe.train.clip
    method.make_optimizers = lambda parameters, steps: make_optimizers(recipe.train, parameters, steps)
    try:
        with warnings.catch_warnings(), writing(run), unstopped() as recorder.asked:
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # data.workers is the user's
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # a source is
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # between Lightning and torch
            last = run.last if run.last.is_file() else None
            trainer.fit(method, training, validation, ckpt_path=last, weights_only=True)
    except NotFinite as error:
        names = [inputs["train"].dataset.samples[i].image.name for i in error.index]
        raise RunError(
            f"training loss is not finite in epoch {trainer.current_epoch + 1}, images {', '.join(names)}; nothing was "
            "changed by this batch. Look at these images, or lower train.optimizer.lr, or set train.clip=1"
        ) from None
    except DataError as error:
        skip = ", or leave out what cannot be read: data.on_error=skip" if isinstance(recipe, Recipe) else ""
        how = f"Training has stopped; mend this and run the same command to go on{skip}"
        raise DataError(f"{_own_words(str(error))}. {how}") from None
    except (RuntimeError, SystemExit) as error:
        if isinstance(error, RuntimeError) and not recorder.asked:
            raise _lost_process(error, trainer) from error
        if not first_process():
            raise SystemExit(0) from None  # with another code Lightning would kill the first process, which tells why
        other = signal.SIGTERM if isinstance(error, SIGTERMException) else signal.SIGINT  # what another was sent
        raise Stopped(next(iter(recorder.asked), other)) from None
    if first_process() and (told := summary(run.skipped)):
        bar.console.print(told, highlight=False, soft_wrap=True)


def draw_history(run: RunFolder, metric: ValidationMetric) -> pd.DataFrame:
    """Draw the curves of ``metrics.csv``, which is returned."""
    table = run.history_table()
    errors, epochs = metric.factor * table[metric.columns[0]], table["epoch"].to_list()
    best = None if errors.isna().all() else float(epochs[int(np.nanargmin(errors.to_numpy()))])
    curve = error_curve(epochs, table["train_loss"].to_list(), errors.to_list(), metric.unit, best, metric.title)
    save(curve, run.history)
    return table


def _note_data(recipe: Recipe | SourceRecipe, inputs: dict[str, InputDataset], run: RunFolder) -> None:
    """Write what the images and annotations are, or refuse to go on with others than the run was begun with."""
    skip = any(data.skips is not None for data in inputs.values())
    if skip:
        SkipLog.begin(run.skipped)
    before = read_records(run.data) if run.data.is_file() else []
    records = []
    for part, data in inputs.items():
        for name, source in zip((part, "unlabelled"), data.sources, strict=False):
            records += take(source, name, before, skip=skip, read=data.reader())
    changed = differences(before, records)
    if changed and not (isinstance(recipe, Recipe) and recipe.data.on_change == "accept"):
        image, what = min(changed.items())
        raise RunError(
            f"{run.folder}: {len(changed)} of {len(last_records(records))} images are no longer what the run was begun "
            f"with, such as '{image}' (another {what}); put back what it had, give another --out, or go on with both: "
            "data.on_change=accept"
        )
    read = {key for key, record in last_records(before).items() if record.pixels}
    new = [r for r in records if r.image in changed or (r.pixels and (r.part, r.image) not in read)]
    if new or not before:
        run.write_data([*before, *(new if before else records)])


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


def _trainer(config: TrainConfig, run: RunFolder, callbacks: list[L.Callback], method: TrainedModule) -> L.Trainer:
    quiet()
    trainer = L.Trainer(
        accelerator=config.accelerator,
        devices=config.devices if config.devices != "auto" or torch.cuda.is_available() else 1,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=cast(Any, fast_precision() if config.precision == "auto" else config.precision),
        max_epochs=config.num_epochs,
        gradient_clip_val=config.clip if method.automatic_optimization else None,  # else the method clips by itself
        check_val_every_n_epoch=config.val_every,
        callbacks=callbacks,
        plugins=WholeFile(),
        logger=TensorBoardLogger(run.folder, name="", version="tensorboard"),
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )
    # Lightning's own handler of SIGTERM calls the other processes from wherever this one is: both wait for ever
    cast(Any, trainer)._signal_connector._sigterm_notifier_fn = lambda number, frame: None
    return trainer


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
