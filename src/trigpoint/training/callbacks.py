"""What watches a training run: the record in the run folder, and progress for a person.

``Recorder`` writes the last checkpoint, the best weights (by the first number of the method's validation metric,
nothing else) and one row of ``metrics.csv`` per epoch. ``Progress`` shows a bar with the time left, or a line per epoch
where there is no terminal. ``Timer`` measures what both report. ``Steady`` makes an epoch the same whatever happened
before it, ``OneModel`` keeps several processes at one model, and ``Stop`` ends them together when one is asked to.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import lightning as L
import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch.nn.parallel import DistributedDataParallel

from trigpoint.data.files import write_text
from trigpoint.data.input.loading import EpochBatches
from trigpoint.methods.base import TrainedModule
from trigpoint.methods.validation import ValidationMetric
from trigpoint.prediction.engine import first_process
from trigpoint.runs import RunFolder
from trigpoint.training.plateau import Plateau
from trigpoint.training.tracking import Tracker

Watch = Callable[[dict[str, Any]], None]  # is given each row of metrics.csv
SAVE_EVERY = 10.0
"""Seconds of training that a kill may cost, beside the epoch under way."""


class Timer(L.Callback):
    """Training minutes without validation, and the share of them spent waiting for data, in the epoch under way."""

    def __init__(self) -> None:
        self.minutes = 0.0  # over all epochs
        self.wait_share = 0.0  # of the last finished epoch
        self._wait = self._busy = self._mark = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._wait = self._busy = 0.0
        self._mark = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._wait, self._mark = self._wait + now - self._mark, now

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._busy, self._mark = self._busy + now - self._mark, now
        if batch_idx + 1 == trainer.num_training_batches:  # before validation, which follows inside the epoch
            total = self._wait + self._busy
            self.wait_share = self._wait / total if total else 0.0
            self.minutes += total / 60

    def state_dict(self) -> dict[str, Any]:
        return {"minutes": self.minutes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.minutes = float(state_dict["minutes"])


class Recorder(Checkpoint):
    """Keeps the run folder up to date; see the module's docstring.

    A ``Checkpoint`` only so that Lightning calls its epoch end after the module's, which moves the schedule.
    """

    asked: Sequence[int] = ()  # signals to stop that have come

    def __init__(
        self,
        run: RunFolder,
        timer: Timer,
        announce: Callable[[L.Trainer, dict[str, Any]], None],
        patience: int | None = None,
        watch: Watch | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        super().__init__()
        self.run, self.tracker = run, tracker
        self.plateau = Plateau(patience)
        self.epochs = 0  # that the last checkpoint has
        self.timer = timer
        self.announce, self.watch = announce, watch
        self.best = math.inf
        self.rows: list[dict[str, Any]] = []
        self._columns: dict[str, float] = {}
        self._validated: dict[str, float] = {}
        self._saved: float | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing is left to do when a kill came between the end of training and what follows it."""
        self.plateau.begin(self.rows, int(trainer.max_epochs or 0))
        self._end(trainer, pl_module)

    def _end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End training on a plateau; the rows are those of all processes, so all of them end."""
        if self.plateau.reached(self.rows, cast(TrainedModule, pl_module).metric.columns[0]):
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note what the method trains this epoch with, such as the widths of its targets."""
        self._columns = cast(TrainedModule, pl_module).epoch_columns()
        self._validated = {}

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to measure."""
        cast(TrainedModule, pl_module).metric.reset()

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The numbers of all images and processes."""
        self._validated = cast(TrainedModule, pl_module).metric.compute()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Row, best weights, last checkpoint, in this order: a kill in between repeats what follows the checkpoint."""
        method = cast(TrainedModule, pl_module)
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "minutes": round(self.timer.minutes, 4),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": method.epoch_loss,
            "data_wait_share": round(self.timer.wait_share, 4),
            **(self._validated or dict.fromkeys(method.metric.columns, math.nan)),
            **method.epoch_results(),
            **self._columns,
        }
        self.rows.append(row)
        self._end(trainer, pl_module)
        if self.tracker is not None:
            self.tracker.row({key: value for key, value in row.items() if key != "epoch"}, row["epoch"])
        if trainer.is_global_zero:
            self._keep_best(method, row)
            self._write()
            self.announce(trainer, row)
        # epochs of a second would otherwise spend most of their time on writing checkpoints
        due = self._saved is None or time.monotonic() - self._saved >= SAVE_EVERY
        stop = trainer.strategy.reduce_boolean_decision(bool(self.asked), all=False)
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if trainer.strategy.broadcast(due or stop or last):
            trainer.save_checkpoint(self.run.last)  # by every process; whole or not at all: resuming.Checkpoints
            self._saved, self.epochs = time.monotonic(), trainer.current_epoch + 1
        if self.watch is not None and trainer.world_size == 1:  # of several processes one alone cannot end
            self.watch(row)
        if stop:
            raise SIGTERMException

    def _write(self) -> None:
        write_text(self.run.metrics, pd.DataFrame(self.rows).to_csv(index=False), overwrite=True)

    def _keep_best(self, method: TrainedModule, row: dict[str, Any]) -> None:
        column = method.metric.columns[0]
        error = self._validated.get(column, math.nan)
        if error < self.best:
            self.best = error
            note = {"epoch": str(row["epoch"]), column: f"{error:.6f}", "validated": method.metric.told(row)}
            self.run.save_weights(method.inference_network().state_dict(), note)

    def state_dict(self) -> dict[str, Any]:
        """Best error so far and the rows of ``metrics.csv``."""
        return {"best": self.best, "rows": self.rows, "plateau": self.plateau.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up where ``state_dict`` was called."""
        self.best, self.rows = float(state_dict["best"]), list(state_dict["rows"])
        self.epochs = len(self.rows)
        if self.rows and self.rows[0]["epoch"] == 0:  # of a version that counted from 0
            self.rows = [{**row, "epoch": row["epoch"] + 1} for row in self.rows]
        if "plateau" in state_dict:  # not of an older version
            self.plateau.load_state_dict(state_dict["plateau"])
        self.plateau.after = max(self.plateau.after, self.run.since("val") - 1)
        if self.run.since("val") > len(self.rows):  # errors on fewer images are not compared with those to come
            self.best = math.inf
        if not self.run.metrics.is_file() and first_process():
            self._write()


class Steady(L.Callback):
    """Random numbers and learning rate of an epoch follow from seed, epoch and process alone, so that a resumed run
    goes on as if it had never been stopped, and an extended one by the schedule of its new length."""

    batches: EpochBatches | None = None  # of the training loader

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Tell the batches the epoch before worker processes begin to fetch them; Lightning tells them afterwards.

        Called before anything asks for the loaders, as even counting the optimizer's steps does.
        """
        if self.batches is not None:
            self.batches.set_epoch(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The rate that is due; a checkpoint brings that of the length, and of the batches an epoch, of then."""
        steps = int(trainer.estimated_stepping_batches) * cast(TrainedModule, pl_module).steps_per_batch
        for entry in trainer.lr_scheduler_configs:
            scheduler = cast(torch.optim.lr_scheduler.LambdaLR, entry.scheduler)
            scheduler.last_epoch = steps * trainer.current_epoch // int(trainer.max_epochs or 1)
            groups = scheduler.optimizer.param_groups
            for group, base, factor in zip(groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True):
                group["lr"] = base * factor(scheduler.last_epoch)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing of this package draws from the global generators; the layers of others may (dropout)."""
        drawn = np.random.SeedSequence((self.seed, trainer.current_epoch, trainer.global_rank)).generate_state(3)
        random.seed(int(drawn[0]))
        np.random.seed(int(drawn[1]))  # noqa: NPY002  (that of others)
        torch.manual_seed(int(drawn[2]))


class OneModel(L.Callback):
    """Buffers of a model that several processes train: each its own within an epoch, those of the first afterwards.

    Left alone, DDP copies every buffer of the first process to the others before each forward pass, which destroys the
    sums over the epoch that they keep: the losses that move the widths of the targets were wrong by several percent.
    """

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the copying over."""
        if isinstance(trainer.model, DistributedDataParallel):
            trainer.model.broadcast_buffers = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Before validation, which follows inside the epoch: the statistics that are validated are those kept."""
        if dist.is_available() and dist.is_initialized() and batch_idx + 1 == trainer.num_training_batches:
            kept = pl_module.state_dict()  # no sums over the epoch, these are not kept
            for name, buffer in pl_module.named_buffers():
                if name in kept:
                    dist.broadcast(buffer, 0)


class Stop(L.Callback):
    """Ends a training that one of its processes was asked to stop, all of them after the same batch.

    Where epochs are so short that the last ones are not in the checkpoint, at the end of the epoch: ``Recorder``.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        asked = trainer.strategy.reduce_boolean_decision(bool(self.recorder.asked), all=False)
        if asked and self.recorder.epochs == trainer.current_epoch:
            raise SIGTERMException

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        loader = cast(Any, trainer.val_dataloaders)
        if batch_idx < cast(EpochBatches, loader.batch_sampler).common:  # else some processes are not here
            self.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


_NARROW, _WIDE = 80, 110  # columns of a terminal up to which the bar has no loss, and no time waited for data


class Progress(L.Callback):
    """A bar over all epochs with the time left; without a terminal one line per epoch."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar: Bar | None = None
        self.metric: ValidationMetric | None = None
        self.validated = ""  # the latest numbers of the validation images, which not every epoch looks at

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the bar, from where a resumed run stands."""
        self.metric = cast(TrainedModule, pl_module).metric
        if not trainer.is_global_zero:
            return
        narrow = self.console.width <= _NARROW
        columns = [TextColumn("{task.description}"), BarColumn(6 if narrow else 20)]
        columns += [] if narrow else [TimeElapsedColumn()]
        self.bar = Bar(*columns, TimeRemainingColumn(), TextColumn("left"), console=self.console)
        total = int(trainer.num_training_batches) * int(trainer.max_epochs or 1)
        self.task = self.bar.add_task("training", total=total, completed=self._batches_done(trainer, 0))
        if self.console.is_terminal:
            self.bar.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One step on."""
        if self.bar is not None:
            self.bar.update(self.task, completed=self._batches_done(trainer, batch_idx + 1))

    @staticmethod
    def _batches_done(trainer: L.Trainer, in_epoch: int) -> int:
        return int(trainer.current_epoch) * int(trainer.num_training_batches) + in_epoch

    def announce(self, trainer: L.Trainer, row: dict[str, Any]) -> None:
        """Show a finished epoch's numbers."""
        if self.bar is None or self.metric is None:
            return
        done, epochs = row["epoch"], int(trainer.max_epochs or 1)
        if not math.isnan(row[self.metric.columns[0]]):
            self.validated = f"  val {self.metric.told(row)}"
        elif self.validated and not self.validated.endswith(")"):
            self.validated += f" (epoch {done - 1})"
        text = f"epoch {done}/{epochs}  loss {row['train_loss']:.4g}{self.validated}"
        waited = f"  data wait {row['data_wait_share']:.0%}"
        # the time left is worth more than the rest, and takes half of a line with the bar
        self.bar.update(self.task, description=text + waited if self.console.width > _WIDE else text)
        if self.console.width <= _NARROW:
            self.bar.update(self.task, description=f"epoch {done}/{epochs}{self.validated.split(' (')[0]}")
        text += waited
        if not self.console.is_terminal:
            left = (epochs - done) * row["minutes"] / done
            text += f"  {row['minutes']:.1f} min, about {left:.1f} left"
            self.console.print(text, highlight=False, soft_wrap=True)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was; also after Ctrl-C, of which Lightning does not tell ``teardown``."""
        if self.bar is not None and self.console.is_terminal:  # stopping would print a blank line elsewhere
            self.bar.stop()
        self.bar = None
