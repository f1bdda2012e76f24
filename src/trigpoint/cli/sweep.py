"""``trigpoint sweep``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.cli.console import note, say, show_table, tell_hidden
from trigpoint.cli.predict_many import JOBS, Jobs, Launcher, Slurm, check_local, slurm_options
from trigpoint.errors import counted

if TYPE_CHECKING:
    import optuna

    from trigpoint.experiments.spaces import Space

_SHOWN = 10


def sweep(
    recipe: Annotated[str, typer.Argument(help="A recipe: a file, or the name of one of the package.")],
    keys: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUES...",
            help="Keys of the recipe and where to draw them from: choice(a,b), uniform(a,b), loguniform(a,b), "
            "integer(a,b); or a value that all trials have.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the sweep, with a run for each trial.")],
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="Trainings in all.")] = 20,
    storage: Annotated[
        str | None,
        typer.Option(
            help="URL of a database that several machines share, or journal:FILE. Default: a file in the folder."
        ),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="End trainings early that are worse than most at that epoch.")
    ] = True,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
    launcher: Launcher = "local",
    jobs: Jobs = None,
    slurm: Slurm = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress of single trainings.")] = False,
) -> None:
    """Train a recipe many times with values drawn from spaces, and list what they led to.

    The values follow what worked so far (Optuna's TPE sampler). In place of a recipe a dataset can be given: each trial
    is then planned anew. A trial is a run like any other, in OUT/trial-0000 and
    so on; the validation error decides. The same command goes on where it stopped, with more --trials too; started in
    several terminals, or with --storage on several machines, it shares the trials. --launcher submitit shares them
    among Slurm jobs. OUT/trials.csv has them all.

    Example: trigpoint sweep fast data.path=data/faces "train.optimizer.lr=loguniform(1e-4,1e-2)" --out sweeps/lr
    """
    from trigpoint.experiments.spaces import divided
    from trigpoint.experiments.sweep import Sweep, sweep_in_jobs

    spaces, fixed = divided(keys)
    whole = Sweep(recipe, spaces, fixed, out, trials, storage, prune, seed)
    check_local(launcher, jobs, slurm or ())
    options = slurm_options(slurm or ())
    try:
        study = (
            whole.go_on(note, not quiet) if launcher == "local" else sweep_in_jobs(whole, jobs or JOBS, options, note)
        )
    except KeyboardInterrupt as stop:
        stop.add_note(f"{out}: {len(whole.done(whole.study()))} of {trials} trials are done; the same command goes on")
        raise
    _show(study, spaces, out)


def _show(study: optuna.Study, spaces: Mapping[str, Space], out: Path) -> None:
    """Write the trials as a table and a figure, and show the best ones."""
    from trigpoint.data.files import column_text, write_text
    from trigpoint.experiments.sweep import chosen_by, rows
    from trigpoint.report.figures import sweep_plot
    from trigpoint.report.style import save

    found = rows(study, spaces)
    table = {key: [row.get(key) for row in found] for key in ("run", "state", "error", "minutes", *spaces)}
    write_text(out / "trials.csv", column_text(table), overwrite=True)
    numbers, error = {key: table[key] for key in spaces}, chosen_by(study)
    kinds = {kind: [key for key in spaces if spaces[key].kind == kind] for kind in ("loguniform", "choice")}
    save(sweep_plot(numbers, table["error"], kinds["loguniform"], kinds["choice"], error), out / "trials.png")
    shown = [{key: _short(row[key]) if key in spaces else row[key] for key in row} for row in found[:_SHOWN]]
    headings = {key: error if key == "error" else key for key in shown[0]} if shown else None
    title = f"{out}: {counted(len(found), 'trial')}, the best first"
    hidden = show_table(shown, headings, title=title, hide=("minutes", "state"))
    tell_hidden(hidden, f"{out / 'trials.csv'}")
    best = next((row for row in found if row["state"] == "complete"), None)
    if best is None:
        note(f"{out}: no trial was finished")
        raise typer.Exit(1)
    say(f"best                 {out / best['run']}  ({error} {best['error']:.4g} on the validation images)")
    say(f"all trials           {out / 'trials.csv'}, {out / 'trials.png'}")


def _short(value: Any) -> Any:
    """A number that was drawn, with as many digits as tell it from others."""
    return f"{value:.3g}" if isinstance(value, float) else value
