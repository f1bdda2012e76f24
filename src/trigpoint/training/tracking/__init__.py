"""Where a training is recorded besides ``metrics.csv``: TensorBoard, Weights & Biases or MLflow, as Lightning does it.

Nothing leaves the machine unless the environment variables of these tools say so. Each run of ours is one run there,
which a resumed training and a later evaluation go on with: ``tracking.json`` in the run folder has its id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trigpoint.errors import ConfigError, RunError
from trigpoint.prediction.engine import first_process
from trigpoint.recipe import Recipe, SourceRecipe, TrainConfig
from trigpoint.runs import RunFolder
from trigpoint.runs.record import CARD, RECORD, read_record
from trigpoint.training.tracking.base import NOTE, Tracker, flat, noted
from trigpoint.training.tracking.tools import TRACKERS

__all__ = ["Tracker", "check_logger", "final_measures", "noted", "record_evaluation", "tracked"]

_KEPT = (CARD, RECORD, "config.yaml", "metrics.csv", "history.png", "sigma.png", "classes.csv")


def check_logger(config: TrainConfig) -> None:
    """Raise ConfigError, before any work, where the tool of ``train.logger`` is not installed."""
    TRACKERS[config.logger].check()


@contextmanager
def tracked(recipe: Recipe | SourceRecipe, run: RunFolder, tell: Callable[[str], None]) -> Iterator[Tracker | None]:
    """The record of a training, in the first process alone; when the block ends by itself, with the numbers of the best
    epoch and the model card. Raises ConfigError where it cannot be opened."""
    if not first_process():
        yield None
        return
    tracker = TRACKERS[recipe.train.logger](run, tell)
    tracker.check()
    tracker.begin(recipe)
    ended: BaseException | None = None
    try:
        yield tracker
        values, epoch = final_measures(run)
        tracker.measures(values, epoch)
        tracker.files([file for file in (run.folder / name for name in _KEPT) if file.is_file()])
    except BaseException as error:
        ended = error
        raise
    finally:
        tracker.close(ended)


def record_evaluation(
    run: RunFolder, split: str, metrics: Mapping[str, Any], files: Sequence[Path], tell: Callable[[str], None]
) -> bool:
    """Add what an evaluation measured, and what it wrote, to the record of a run; False where it has none elsewhere.

    What cannot be recorded is told: the evaluation stands.
    """
    found = noted(run)
    if found is None:
        return False
    if found[0] not in TRACKERS:
        raise RunError(f"{run.folder / NOTE}: is damaged (logger {found[0]}); remove it, and the run is recorded anew")
    tracker = TRACKERS[found[0]](run, tell)
    try:
        tracker.check()
        tracker.open()
    except ConfigError as error:
        tell(f"warning: not recorded: {error}")
        return False
    whole = {
        key: value for key, value in metrics.items() if not key.startswith("per_")
    }  # these are many; files have them
    numbers = {f"{split}/{key}": value for key, value in flat(whole, "/").items() if isinstance(value, int | float)}
    tracker.measures(numbers, run.epochs_done())
    tracker.files(files)
    tracker.close(None)
    return True


def final_measures(run: RunFolder) -> tuple[dict[str, float], int]:
    """The numbers of the epoch whose weights were kept, as ``best/val_...``, the error that the run notes of itself,
    and its mean radius; with the number of epochs."""
    rows = [{str(key): float(value) for key, value in row.items()} for row in run.history_table().to_dict("records")]
    columns = [name for name in rows[0] if name.startswith("val_")] if rows else []
    validated = [row for row in rows if columns and not math.isnan(row[columns[0]])]
    found: dict[str, float] = {}
    if validated:
        best = min(validated, key=lambda row: row[columns[0]])
        found = {f"best/{name}": best[name] for name in ("epoch", *columns)}
    if (record := read_record(run)) is not None:
        radius = run.read_landmarks().radius
        found["final/val_mre_px"] = record.error
        found["final/mean_radius_px"] = float(radius.mean()) if len(radius) else math.nan
    return found, len(rows)
