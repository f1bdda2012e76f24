"""Whether a run can be gone on with, and from where: its checkpoints, its recipe, and what changed since it began."""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from lightning.pytorch.plugins import TorchCheckpointIO

from trigpoint.data.files import write_bytes
from trigpoint.data.input.loading import InputDataset
from trigpoint.data.input.skips import SkipLog
from trigpoint.data.quality.fingerprint import differences, last_records, read_records, take
from trigpoint.errors import ConfigError, RunError
from trigpoint.recipe import Recipe, SourceRecipe
from trigpoint.runs import LandmarkFile, RunFolder
from trigpoint.training.plateau import ended_early

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe | SourceRecipe)
REMEDY = "put it back, or train into another --out"


# -- checkpoints ---------------------------------------------------------------------------------------------


class Checkpoints(TorchCheckpointIO):
    """Checkpoints that are on the disk whole or not at all, as every other file of a run, with the one before."""

    def __init__(self, run: RunFolder, sound: bool) -> None:
        super().__init__()
        self.run = run
        self.sound = sound  # whether the last one is worth keeping

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` in place of what ``path`` holds; raises OSError, which names the file."""
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        write_bytes(path, stream.getbuffer(), overwrite=True, keep=self.run.previous if self.sound else None)
        self.sound = True


class ResumePoint(NamedTuple):
    """The checkpoint to go on from, None for the start; the epochs finished in it; what is wrong with newer ones."""

    file: Path | None
    epochs: int
    wrong: Sequence[str] = ()


def resume_point(run: RunFolder) -> ResumePoint:
    """Where a run goes on. Raises RunError when no checkpoint is whole, or the best weights are gone, of a run with
    finished epochs, whose work a new start would write over."""
    wrong = []
    for file in (run.last, run.previous):
        try:
            kept = read_checkpoint(file)
        except ValueError as error:
            wrong.append(f"{file}: {error}")
            continue
        if kept["callbacks"]["Recorder"]["best"] < float("inf"):
            run.load_weights()  # raises: better ones may never come
        return ResumePoint(file, kept["epoch"] + 1, wrong)
    noted = int(run.load_weights()[1].get("epoch", 1)) if run.weights.is_file() else 0
    if run.last.exists() or run.previous.exists() or max(noted, run.epochs_done()) > 1:  # the first epoch ends with one
        raise RunError(f"{'; '.join(wrong)}. The run has finished epochs and cannot go on without; {REMEDY}")
    return ResumePoint(None, 0)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What training saved. Raises ValueError when it is not there or damaged; nothing in it is executed.

    The file is a zip archive with a checksum of each record, which torch writes but does not compare.
    """
    if not file.exists():
        raise ValueError("is missing")
    try:
        with zipfile.ZipFile(file) as records:
            if (bad := records.testzip()) is not None:
                raise zipfile.BadZipFile(f"wrong checksum of {bad}")
        kept = torch.load(file, map_location="cpu", weights_only=True)
        found = {key: kept[key] for key in ("epoch", "state_dict", "loops", "callbacks")}
        if not (isinstance(found["epoch"], int) and float(found["callbacks"]["Recorder"]["best"]) >= 0):
            raise ValueError("no numbers where they belong")
    except Exception as error:  # whatever a damaged archive, or what it holds, makes its readers raise
        reason = str(error) if isinstance(error, zipfile.BadZipFile | OSError) else "no checkpoint of a training"
        raise ValueError(f"is damaged ({reason})") from None
    return found


def told(run: RunFolder, point: ResumePoint, epochs: int) -> str:
    """What a resumed run goes on from, in words; nothing for a new one."""
    if point.file is None:
        return ""
    text = f"{run.folder}: {point.epochs} of {epochs} epochs are done, resuming at epoch {point.epochs + 1}"
    if point.wrong:
        text = f"{'; '.join(point.wrong)}; going on from {point.file.name}. {text}"
    if (done := run.epochs_done()) > point.epochs:
        text += f"; computing again what was done until epoch {done}"
    return text if run.metrics.is_file() or not point.epochs else f"{text}; {run.metrics} was gone and is written again"


def trained(run: RunFolder, recipe: Recipe | SourceRecipe) -> bool:
    """Whether all epochs of ``recipe`` are done, or the training ended early and was not made longer since."""
    if not run.metrics.is_file():
        return False
    rows = [{str(key): value for key, value in row.items()} for row in run.history_table().to_dict("records")]
    longer = recipe.train.num_epochs > run.any_recipe().train.num_epochs
    return len(rows) >= recipe.train.num_epochs or (not longer and ended_early(rows, recipe.train.patience))


# -- recipes -------------------------------------------------------------------------------------------------


def check_same(recipe: Recipe | SourceRecipe, stored: Recipe | SourceRecipe, run: RunFolder) -> None:
    """Refuse to go on with a run of another recipe; its words, where its data and runs lie, which are compared by what
    they hold, and where and how fast it is computed, may change."""
    free = {
        "data": {"workers", "cache", "on_error", "on_change"},
        "train": {"accelerator", "devices", "num_nodes", "strategy", "threads", "logger"},
    }
    ours, theirs = recipe.model_dump(mode="json"), stored.model_dump(mode="json")
    for section in sorted(set(ours) - {"name", "description"}):
        mine, other = ours[section], theirs[section]
        keys = mine.keys() if isinstance(mine, dict) else [None]
        for key in keys:
            a, b = (mine, other) if key is None else (mine[key], other.get(key))
            if _meant(a, key) != _meant(b, key) and key not in free.get(section, ()):
                name = section if key is None else f"{section}.{key}"
                raise RunError(
                    f"{run.folder}: holds a run of another recipe ({name}: {b} there, {a} here); "
                    "give another --out, or the recipe that it was started with"
                )


def _meant(value: Any, key: str | None = None) -> Any:
    """A part of a recipe without where things lie: ./a.safetensors is a.safetensors, a folder of data or of a run is
    what it holds."""
    if isinstance(value, dict):
        return {inner: _meant(part, inner) for inner, part in value.items()}
    if isinstance(value, str):
        return "somewhere" if key in ("path", "run", "coarse_run", "init") else os.path.abspath(value)
    return value


def extended(recipe: AnyRecipe, run: RunFolder, more_epochs: int) -> AnyRecipe:
    """``recipe`` with ``more_epochs`` added to its epochs, checked against ``run``, if there is one; writes nothing.

    Counted from the recipe, not from where the run stands: the same call repeated, after a kill, extends it once.
    Raises ConfigError for a negative number; RunError for a run of another recipe, without a run, for one already
    longer, and when its last checkpoint cannot be gone on from: one before would take other steps to the same epoch.
    """
    if more_epochs < 0:
        raise ConfigError(f"more_epochs: expected a number of epochs to add, got {more_epochs}; give 1 or more")
    if not run.exists():
        if more_epochs:
            raise RunError(f"{run.folder}: expected a run to go on with, got none; train it first, without more epochs")
        return recipe
    longer = of_length(recipe, recipe.train.num_epochs + more_epochs)
    stored = run.recipe() if isinstance(recipe, Recipe) else run.source_recipe()
    if more_epochs and stored.train.num_epochs > longer.train.num_epochs:
        least = stored.train.num_epochs - recipe.train.num_epochs
        raise RunError(
            f"{run.folder}: was extended to {stored.train.epochs} epochs already, {least} more than the recipe's "
            f"{recipe.train.epochs}; expected at least {least} more, got {more_epochs}"
        )
    # processes that start together: the first one may have written the new length already
    check_same(of_length(recipe, stored.train.num_epochs) if more_epochs else recipe, stored, run)
    if stored.train.num_epochs < longer.train.num_epochs and (point := resume_point(run)).wrong:
        raise RunError(
            f"{'; '.join(point.wrong)}. More epochs go on from the last one; {REMEDY}, or go on from the end of epoch "
            f"{point.epochs}, under the new length: rename {run.previous.name} to {run.last.name}"
        )
    return longer


def of_length(recipe: AnyRecipe, epochs: int) -> AnyRecipe:
    """``recipe`` with a number of epochs."""
    return cast(AnyRecipe, recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": epochs})}))


def settled(recipe: AnyRecipe, images: int | RunFolder) -> AnyRecipe:
    """``recipe`` with ``auto`` epochs as a number: for so many training images, or as the run, if there is one, has
    been begun with."""
    if recipe.train.epochs != "auto":
        return recipe
    if isinstance(images, RunFolder):
        if not images.exists():
            return recipe
        images = len(images.parts(begun=True).get("train", ()))
    return cast(AnyRecipe, recipe.model_copy(update={"train": recipe.train.for_images(images)}))


def note_recipe(recipe: Recipe | SourceRecipe, run: RunFolder) -> None:
    """Write a new length, which makes the run unfinished, and new places of its data and of what it began from."""
    stored = run.any_recipe()
    if stored.train.num_epochs < recipe.train.num_epochs:
        if isinstance(recipe, Recipe):
            known = run.read_landmarks()
            run.write_landmarks(LandmarkFile(known.landmarks, known.spacing_mm, untaught=known.untaught))  # no radii
        run.history.unlink(missing_ok=True)
    places: dict[str, Any] = {"data": stored.data.model_copy(update={"path": recipe.data.path})}
    if isinstance(recipe, Recipe):
        places["method"] = recipe.method
    now = of_length(stored, recipe.train.num_epochs).model_copy(update=places)
    if now != stored:
        run.write_recipe(now)


# -- data ----------------------------------------------------------------------------------------------------


def note_data(
    recipe: Recipe | SourceRecipe, inputs: dict[str, InputDataset], run: RunFolder, point: ResumePoint
) -> None:
    """Write what the images and annotations are, or refuse to go on with others than the run was begun with.

    Without the ``data.csv`` of a run with finished epochs nobody can say whether they are others, so it is refused too.
    """
    skip = any(data.skips is not None for data in inputs.values())
    if skip:
        SkipLog.begin(run.skipped)
    accept = isinstance(recipe, Recipe) and recipe.data.on_change == "accept"
    way_out = ", or go on with {}: data.on_change=accept" if isinstance(recipe, Recipe) else ""
    if point.epochs and not run.data.is_file() and not accept:
        raise RunError(
            f"{run.data}: is missing, so images and annotations cannot be compared with those that the run was begun "
            f"with; {REMEDY}{way_out.format('what they are now')}"
        )
    before = read_records(run.data) if run.data.is_file() else []
    records = []
    for part, data in inputs.items():
        for name, source in zip((part, "unlabelled"), data.sources, strict=False):
            records += take(source, name, before, skip=skip, read=data.reader())
    changed, known = differences(before, records), last_records(before)
    lost = [record for record in records if before and (record.part, record.image) not in known]
    if lost and not accept:
        raise RunError(
            f"{run.data}: expected a row of each image, got none of '{lost[0].image}', so it cannot be compared; "
            f"{REMEDY}{way_out.format('what it is now')}"
        )
    if changed and not accept:
        image, what = min(changed.items())
        raise RunError(
            f"{run.folder}: {len(changed)} of {len(last_records(records))} images are no longer what the run was begun "
            f"with, such as '{image}' (another {what}); put back what it had, give another --out"
            f"{way_out.format('both')}"
        )
    read = {key for key, record in known.items() if record.pixels}
    new = [r for r in records if r.image in changed or (r.pixels and (r.part, r.image) not in read)]
    if new or not before:
        run.write_data([*before, *(new if before else records)])
