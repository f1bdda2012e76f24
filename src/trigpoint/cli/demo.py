"""``trigpoint demo``: the whole path on drawn images, from nothing to a measured detector."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from trigpoint.cli.console import note, progress, say, show_table, write_json
from trigpoint.cli.train import best_line
from trigpoint.errors import DataError, counted, did_you_mean

if TYPE_CHECKING:
    from trigpoint.evaluation import Report
    from trigpoint.recipe import Recipe
    from trigpoint.runs import RunFolder

_SHOWN = 12  # test images in predictions.png
_CURVES = {"Training": "error.png", "Target width": "sigma.png"}  # as they are called in the folder of the demo
_PICTURES = {
    "error.png": "loss and validation error per epoch",
    "sigma.png": "how Adaloss narrowed the target",
}


def demo(
    method: Annotated[str, typer.Option("--method", help="What to show: heatmap or foveated.")] = "heatmap",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder to write. Default: demo, or demo-foveated."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", "-m", min=0.05, help="Training time on two cores. Default: 2, or 5 for foveated."),
    ] = None,
) -> None:
    """Draw images, train a detector, measure it on other images, and show the result.

    heatmap finds the tip of a catheter in X-ray frames with the U-Net of the Adaloss paper. foveated finds three
    landmarks in head radiographs of 2048 x 1664 pixels at full resolution. The same command resumes a stopped demo and
    shows a finished one.

    Example: trigpoint demo --out demo
    """
    from trigpoint.evaluation import evaluate
    from trigpoint.runs import RunFolder
    from trigpoint.training import train

    demos = stated_demos()
    if method not in demos:
        raise DataError(f"--method: unknown demo '{method}'; {did_you_mean(method, demos)}")
    chosen = SimpleNamespace(method=method, **demos[method])
    place = Path(chosen.out) if out is None else out
    run, data = RunFolder(place / "run"), place / "data"
    _check(place, data, chosen)
    _draw(data, chosen)
    recipe = _recipe(run, data, chosen, chosen.minutes if minutes is None else minutes)
    epochs = recipe.train.num_epochs
    done = run.epochs_done() if run.exists() else 0
    if done >= epochs:
        note(f"{run.folder}: all {epochs} epochs are done")
    elif not done:  # else training says where it goes on
        note(f"training: {epochs} epochs of the recipe '{chosen.recipe}', on {data}")
    train(recipe, out=run.folder)
    with progress("measuring on the test split") as advance:
        report = evaluate(run, data, split="test", progress=advance)
    _write(place, report)
    _show(place, run, report, chosen)


def stated_demos() -> dict[str, dict[str, Any]]:
    """What ``demos.yaml`` says of each demo, by the method that it shows."""
    demos: dict[str, dict[str, Any]] = yaml.safe_load((files("trigpoint.cli") / "demos.yaml").read_text("utf-8"))
    return demos


def _check(out: Path, data: Path, chosen: SimpleNamespace) -> None:
    """Refuse a folder with anything but this demo."""
    from trigpoint.config import read_yaml

    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: expected a folder to write to, got a file; give another --out")
    mark = data / "synthetic.yaml"
    if out.is_dir() and any(out.iterdir()) and not mark.is_file():
        raise DataError(f"{out}: expected a new folder or a demo, got a folder with other files; give another --out")
    kind = read_yaml(mark).get("kind") if mark.is_file() else chosen.kind
    if kind != chosen.kind:
        raise DataError(f"{out}: expected the demo of the method {chosen.method}, got another; give another --out")


def _draw(data: Path, chosen: SimpleNamespace) -> None:
    """The images; a set that is there is kept, an interrupted one is drawn again."""
    from trigpoint import synthetic

    if (data / "dataset.yaml").is_file():  # written last
        return
    write: Callable[..., Path] = getattr(synthetic, chosen.write)
    with progress("drawing images") as advance:
        write(data, chosen.count, tuple(chosen.size), seed=0, splits=chosen.splits, progress=advance)
    note(f"drew {counted(chosen.count, 'image')} of {chosen.size[1]} x {chosen.size[0]} pixels into {data}")


def _recipe(run: RunFolder, data: Path, chosen: SimpleNamespace, minutes: float) -> Recipe:
    """The demo's recipe with as many epochs as fit; that of the run where there is one."""
    from trigpoint.recipe import load_recipe

    place = f"data.path={data.resolve()}"  # so that it resumes from any folder
    if run.exists():
        return load_recipe(run.recipe(), [place])
    epochs = load_recipe(chosen.recipe).train.num_epochs
    return load_recipe(chosen.recipe, [place, f"train.epochs={max(3, round(epochs * minutes / chosen.minutes))}"])


def _write(out: Path, report: Report) -> None:
    from trigpoint.data.files import copy_file, write_text
    from trigpoint.report import save

    write_json(out / "metrics.json", report.to_dict())
    write_text(out / "report.html", report.to_html(), overwrite=True)
    save(report.overlay(list(range(min(_SHOWN, len(report.dataset))))), out / "predictions.png")
    for title, source in report.run.curves().items():
        copy_file(source, out / _CURVES[title], overwrite=True)


def _show(out: Path, run: RunFolder, report: Report, chosen: SimpleNamespace) -> None:
    from trigpoint.data import LandmarkDataset
    from trigpoint.report.tables import metric_rows

    columns = {"measure": "Measure", "value": "Value", "rule": "Rule"}
    title = f"{report.metrics['n_images']} test images of {chosen.size[1]} x {chosen.size[0]} px"
    show_table(metric_rows(report.metrics), columns, title, hide=("rule",))  # report.html has the rules, too
    names, drawn = report.dataset.landmarks.names, len(LandmarkDataset.load(out / "data").landmarks)
    if len(names) < drawn:
        say(f"landmarks            {', '.join(names)} (of the {drawn} that are drawn; data.landmarks in the recipe)")
    say(f"best validation      {best_line(run)}")
    say()
    told = {"report.html": "everything on one page; open it in a browser", "predictions.png": chosen.predictions}
    for name, what in (told | _PICTURES).items():
        if (out / name).is_file():
            say(f"{out / name!s:<{len(str(out)) + 16}}  {what}")
    say(f"{out / 'run'!s:<{len(str(out)) + 16}}  the trained run: trigpoint predict {out / 'run'} IMAGES...")
    say("On your own images: trigpoint data check FOLDER, then")
    say(chosen.own)
