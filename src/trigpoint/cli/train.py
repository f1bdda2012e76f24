"""``trigpoint train``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.cli.console import note, say
from trigpoint.errors import ConfigError

if TYPE_CHECKING:
    from trigpoint.recipe import Recipe, SourceRecipe
    from trigpoint.runs import RunFolder

MINUTES = 10.0  # as trigpoint.training.planning, whose import takes seconds


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|RECIPE",
            help="A dataset, whose training is then planned, a recipe file, or a name that 'trigpoint recipes' lists.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The run folder: a new one, or an unfinished run to resume.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options to change, such as train.epochs=50.")
    ] = None,
    more_epochs: Annotated[
        int, typer.Option(min=0, metavar="N", help="Train until the run has N epochs more than the recipe says.")
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help=f"How long a planned training of FOLDER may take; default: {MINUTES:g}."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a landmark detector or a source model. The same command resumes a stopped run.

    Of a dataset, the training is planned: each choice is told with its reason, and the whole recipe is RUN/plan.yaml.

    Example: trigpoint train data/faces --out runs/faces
    With a recipe: trigpoint train fast data.path=data/faces train.epochs=50 --out runs/fast
    To train longer, repeat the command with --more-epochs 20.
    """
    from trigpoint.prediction.engine import first_process
    from trigpoint.recipe import SourceRecipe, load_any_recipe
    from trigpoint.runs import RunFolder
    from trigpoint.training import train as fit
    from trigpoint.training.planning import is_dataset, planned
    from trigpoint.training.resuming import settled

    plan = None
    if is_dataset(recipe):
        chosen, plan = planned(recipe, overrides or [], minutes, RunFolder(out), note)
    else:
        if minutes is not None:
            raise ConfigError("--minutes: expected a dataset to plan for, got a recipe, which says itself how long")
        chosen = load_any_recipe(recipe, overrides or [])
    before = RunFolder(out).epochs_done() if RunFolder(out).exists() else 0
    if before and first_process() and before >= settled(chosen, RunFolder(out)).train.num_epochs + more_epochs:
        note(f"{out}: all {before} epochs are done")
    run = fit(chosen, out=out, progress=not quiet, more_epochs=more_epochs, plan=plan)
    if first_process():
        _show_source(run, chosen) if isinstance(chosen, SourceRecipe) else _show(run, chosen)


def best_line(run: RunFolder) -> str:
    """What validation measured when the weights were chosen, and when that was."""
    table, note = run.history_table(), run.load_weights()[1] if run.weights.is_file() else {}
    if "validated" in note:
        return f"{note['validated']} (epoch {note['epoch']} of {len(table)})"
    measured = [(column, float(value)) for column, value in note.items() if column.startswith("val_")]
    if not measured:
        return "no validation error was measured"
    column, value = measured[0]  # of a version that noted no words
    return f"{column} {value:.2f} (epoch {note['epoch']} of {len(table)})"


def _show(run: RunFolder, recipe: Recipe) -> None:
    from trigpoint.runs.record import error_told, read_record

    marks, record = run.read_landmarks(), read_record(run)
    shaped = ", with the shapes" if run.shape.is_file() else ""
    say(f"best validation      {best_line(run)}")
    if record is not None and (shaped or record.interval is not None):
        say(f"validation error     {error_told(record, marks.spacing_mm)}{shaped}")
    say(f"run folder           {run.folder}  (weights.safetensors, metrics.csv, config.yaml)")
    say(f"curves               {', '.join(str(file) for file in run.curves().values())}")
    if all(math.isnan(value) for value in marks.radius):
        say("radius               none: to say how far points may be off takes 9 validation subjects or more")
    say(f"measure it           trigpoint evaluate {run.folder} --data {_to_measure_on(recipe)}")
    say(f"use it               trigpoint predict {run.folder} IMAGES... --out predictions.csv")


def _to_measure_on(recipe: Recipe) -> str:
    """Images that the run has not seen: the test subset, else those of another folder."""
    from trigpoint.data import LandmarkDataset

    splits = LandmarkDataset.load(str(recipe.data.path), check_images=False).splits()
    kept = [name for name in splits if name not in (recipe.data.train, recipe.data.val)]
    if not kept:
        return "OTHER --split all  (OTHER: labelled images that it has not seen)"
    return f"{recipe.data.path} --split {'test' if 'test' in kept else kept[0]}"


def _show_source(run: RunFolder, recipe: SourceRecipe) -> None:
    say(f"best validation         {best_line(run)}")
    say(f"run folder              {run.folder}  (weights.safetensors, classes.csv, metrics.csv, config.yaml)")
    say(f"learn landmarks with it trigpoint train cross-task method.network.encoder={recipe.encoder} \\")
    given = json.dumps(recipe.data.input.model_dump(exclude_none=True, mode="json"))
    for setting in (f"method.transfer.source={{run: {run.folder}}}", f"data.input={given}"):
        say(f"                        '{setting}' \\")
    say("                        data.path=FOLDER --out RUN")
