"""``trigpoint demo``: the whole path on drawn images, from nothing to a measured detector."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.cli.console import note, progress, say, show_table, write_json
from trigpoint.cli.train import best_line, state
from trigpoint.errors import DataError

if TYPE_CHECKING:
    from trigpoint.evaluation import Report
    from trigpoint.recipe import Recipe
    from trigpoint.runs import RunFolder

COUNT = 1200  # images: 1000 to learn from, 100 to choose the weights, 100 to measure
SPLITS = {"train": 10 / 12, "val": 1 / 12, "test": 1 / 12}
SIZE = 64  # pixels a side
RECIPE = "demo"
_SHOWN = 12  # test images in predictions.png
_RECIPE_MINUTES = 2.0  # what the recipe takes on two cores


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write.")] = Path("demo"),
    minutes: Annotated[
        float, typer.Option("--minutes", "-m", min=0.05, help="Training time on two cores, about.")
    ] = _RECIPE_MINUTES,
) -> None:
    """Draw X-ray frames with a catheter, train the paper's U-Net with Adaloss to find its tip, and show the result.

    The same command resumes a stopped demo and shows a finished one.

    Example: trigpoint demo --out demo
    """
    from trigpoint.evaluation import evaluate
    from trigpoint.runs import RunFolder
    from trigpoint.training import train

    run, data = RunFolder(out / "run"), out / "data"
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: expected a folder to write to, got a file; give another --out")
    if out.is_dir() and any(out.iterdir()) and not (data / "synthetic.yaml").is_file():
        raise DataError(f"{out}: expected a new folder or a demo, got a folder with other files; give another --out")
    _draw(data)
    recipe = _recipe(run, data, minutes)
    epochs = recipe.train.epochs
    done = run.epochs_done() if run.exists() else 0
    note(state(run.folder, done, epochs) if done else f"training: {epochs} epochs of the recipe 'demo', on {data}")
    train(recipe, out=run.folder)
    with progress("measuring on the test split") as advance:
        report = evaluate(run, data, split="test", progress=advance)
    _write(out, report)
    _show(out, run, report)


def _draw(data: Path) -> None:
    """The images; a set that is there is kept, an interrupted one is drawn again."""
    from trigpoint.data.synthetic import write_catheter

    if (data / "dataset.yaml").is_file():  # written last
        return
    with progress("drawing images") as advance:
        write_catheter(data, COUNT, SIZE, seed=0, splits=SPLITS, progress=advance)
    note(f"drew {COUNT} images of {SIZE} x {SIZE} pixels into {data}")


def _recipe(run: RunFolder, data: Path, minutes: float) -> Recipe:
    """The recipe 'demo' with as many epochs as fit; that of the run where there is one."""
    from trigpoint.recipe import load_recipe

    place = f"data.path={data.resolve()}"  # so that it resumes from any folder
    if run.exists():
        return load_recipe(run.recipe(), [place])
    epochs = load_recipe(RECIPE).train.epochs
    return load_recipe(RECIPE, [place, f"train.epochs={max(3, round(epochs * minutes / _RECIPE_MINUTES))}"])


def _write(out: Path, report: Report) -> None:
    from trigpoint.data.files import write_text
    from trigpoint.report import save

    write_json(out / "metrics.json", report.to_dict())
    write_text(out / "report.html", report.to_html(), overwrite=True)
    save(report.overlay(list(range(min(_SHOWN, len(report.dataset))))), out / "predictions.png")
    for source, name in ((report.run.history, "error.png"), (report.run.folder / "sigma.png", "sigma.png")):
        if source.is_file():
            shutil.copyfile(source, out / name)


def _show(out: Path, run: RunFolder, report: Report) -> None:
    from trigpoint.report.tables import metric_rows

    columns = {"measure": "Measure", "value": "Value", "rule": "Rule"}
    show_table(metric_rows(report.metrics), columns, f"{report.metrics['n_images']} test images of {SIZE} px")
    say(f"best validation MRE  {best_line(run)}")
    say()
    say(f"{out / 'report.html'}      everything on one page; open it in a browser")
    say(f"{out / 'predictions.png'}  true tips (rings) and found tips (crosses) in test images")
    say(f"{out / 'error.png'}        loss and validation error per epoch")
    say(f"{out / 'sigma.png'}        how Adaloss narrowed the target")
    say(f"{out / 'run'}              the trained run: trigpoint predict {out / 'run'} IMAGES...")
    say("On your own images: trigpoint data check FOLDER, then")
    say("trigpoint train fast data.path=FOLDER --out runs/mine")
