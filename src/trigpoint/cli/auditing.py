"""``trigpoint data audit | next``: which labels to look at again, and which images to label."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.cli.console import note, progress, refuse, show_table, tell_hidden, write_json
from trigpoint.errors import ConfigError

if TYPE_CHECKING:
    from trigpoint.data import LandmarkDataset
    from trigpoint.landmarks import FloatArray


def audit(
    folder: Annotated[Path, typer.Argument(help="The dataset folder, or one of its tables.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many rows to list.")] = 20,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="A run to compare the labels with; several: each judges what it has not learned."),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Train so many runs first, each without a part of the images, to compare."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="How long each of these takes; default: 10.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where they are kept, so that the same command goes on; none: nowhere.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="For runs: cpu, cuda, mps or auto.")] = "auto",
    images: Annotated[bool, typer.Option(help="Read the images too, and list copies whose labels differ.")] = True,
    json: Annotated[Path | None, typer.Option("--json", help="Write all of them to this file ('-': stdout).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what exists.")] = False,
) -> None:
    """List the labels that are likely wrong: shifted points, swapped ones, and copies that are labelled apart.

    Without a run, labels are compared with the shapes of the others; a run also looks at the images.

    Example: trigpoint data audit data/faces --count 50 --folds 2 --minutes 10
    """
    from trigpoint.data import LandmarkDataset
    from trigpoint.data.quality.apart import copies_apart, with_copies
    from trigpoint.data.quality.audit import audit as look

    refuse(json, force)
    if folds is None and (minutes is not None or out is not None):
        raise ConfigError("--minutes and --out: expected --folds beside them, got none; leave them out, or give it")
    dataset = LandmarkDataset.load(folder, check_images=False)
    with TemporaryDirectory() as spare:
        runs = [*(run or []), *_fold_runs(dataset, folds, minutes, out or Path(spare))]
        found = _found(runs, dataset, device) if runs else None
    audited = look(dataset, found)
    copies = []
    if images:
        with progress("looking for copies") as advance:
            copies = copies_apart(dataset, audited, advance)
    rows: list[dict[str, Any]] = []
    for one in with_copies(audited, copies):
        sample = dataset.samples[one.row]
        place = "" if one.expected is None else f"{one.expected[0]:.1f}, {one.expected[1]:.1f}"
        rows.append(
            {
                "row": sample.row,
                "image": dataset.image_name(sample) + (f" ({sample.instance})" if sample.instance else ""),
                "likely": one.kind,
                "landmarks": ", ".join(one.landmarks) or "all pairs",
                "score": round(one.score, 1),
                "expected at": place,
            }
        )
    if str(json) != "-":
        tell_hidden(show_table(rows[:count], hide=("expected at", "row")), "--json FILE")
    if json is not None:
        write_json(json, {"rows": rows})


def _fold_runs(dataset: LandmarkDataset, folds: int | None, minutes: float | None, out: Path) -> list[Path]:
    """Runs that were each trained without a part of the set; none where no folds are asked for."""
    if folds is None:
        return []
    from trigpoint.training.folds import fold_runs
    from trigpoint.training.planning import MINUTES

    return fold_runs(dataset, folds, MINUTES if minutes is None else minutes, out, note)


def _found(runs: list[Path], dataset: LandmarkDataset, device: str) -> FloatArray:
    """What the runs find, telling what they know already."""
    from trigpoint.prediction.unseen import unseen_points

    with progress("predicting") as advance:
        points, learned = unseen_points(runs, dataset, device, advance)
    if known := int(learned.sum()):
        who = "the run was" if len(runs) == 1 else "all runs were"
        note(
            f"note: {who} trained on {known} of {len(dataset)} rows and may have learned their faults; "
            "a second --run, trained on others, would judge them better"
        )
    return points


def next_images(
    folder: Annotated[Path, typer.Argument(help="A dataset, or one of its tables, with images that are not labelled.")],
    run: Annotated[Path, typer.Option("--run", help="A run that predicts them.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 20,
    json: Annotated[Path | None, typer.Option("--json", help="Write them to this file ('-': stdout).")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace what exists.")] = False,
) -> None:
    """Say which images to label next: those that the run is unsure of and that are unlike the others.

    Labelled images whose labels are far more likely wrong than others come between them, to be looked at again.

    Example: trigpoint data next photos --run runs/first --count 20
    """
    from trigpoint.app.auditing import surely_wrong
    from trigpoint.app.choosing import appearance, choose, woven
    from trigpoint.app.folder import open_folder
    from trigpoint.app.pictures import Picture
    from trigpoint.app.project import Entry, Project
    from trigpoint.data.pixels.images import read_image
    from trigpoint.prediction import Predictor
    from trigpoint.prediction.base import is_lazy
    from trigpoint.prediction.looks import Looks
    from trigpoint.prediction.views import mean_apart, predict_views

    refuse(json, force)
    predictor = Predictor.load(run, device)
    project = Project(open_folder(folder), read_only=True)
    project.scan()

    def apart(entry: Entry) -> float:
        return mean_apart(predict_views(predictor, entry.file)[1])

    lazy = any(is_lazy(entry.file) for entry in project.entries if not entry.broken)
    looks = Looks() if Looks.known() and not lazy else None

    def look(entry: Entry) -> FloatArray:
        if looks is None:
            return appearance(Picture(entry.file))
        found: FloatArray = looks.of([read_image(entry.file)])[0]
        return found

    with progress("predicting") as advance:
        chosen = choose(project, apart, count, advance, look)
    rows: list[dict[str, Any]] = [
        {"image": one.entry.called, "why": "no labels", "apart_px": round(one.apart, 2), "unlike": round(one.unlike, 3)}
        for one in chosen
    ]
    wrong = [
        {"image": project.entry(number).called, "why": f"likely {words}", "apart_px": math.nan, "unlike": math.nan}
        for number, words in surely_wrong(project).items()
    ]
    rows = woven(rows, wrong)[:count]
    if str(json) != "-":
        tell_hidden(show_table(rows, hide=("unlike", "apart_px")), "--json FILE")
    if json is not None:
        known = [{key: value for key, value in row.items() if value == value} for row in rows]
        write_json(json, {"images": known})
