"""``trigpoint data audit | next``: which labels to look at again, and which images to label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.cli.console import note, progress, refuse, show_table, write_json

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
    device: Annotated[str, typer.Option("--device", help="For --run: cpu, cuda, mps or auto.")] = "auto",
    json: Annotated[Path | None, typer.Option("--json", help="Write all of them to this file ('-': stdout).")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what exists.")] = False,
) -> None:
    """List the labels that are likely wrong: shifted points, and left and right or neighbours that are swapped.

    Without a run, labels are compared with the shapes of the others; a run also looks at the images.

    Example: trigpoint data audit data/faces --count 50 --run runs/faces
    """
    from trigpoint.data import LandmarkDataset
    from trigpoint.data.quality.audit import audit as look

    refuse(json, force)
    dataset = LandmarkDataset.load(folder, check_images=False)
    found = _found(run, dataset, device) if run else None
    rows: list[dict[str, Any]] = []
    for one in look(dataset, found).suspects:
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
        show_table(rows[:count])
    if json is not None:
        write_json(json, {"rows": rows})


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

    Example: trigpoint data next photos --run runs/first --count 20
    """
    from trigpoint.app.choosing import choose
    from trigpoint.app.folder import open_folder
    from trigpoint.app.project import Entry, Project
    from trigpoint.prediction import Predictor
    from trigpoint.prediction.views import mean_apart, predict_views

    refuse(json, force)
    predictor = Predictor.load(run, device)
    project = Project(open_folder(folder), read_only=True)
    project.scan()

    def apart(entry: Entry) -> float:
        return mean_apart(predict_views(predictor, entry.file)[1])

    with progress("predicting") as advance:
        chosen = choose(project, apart, count, advance)
    rows: list[dict[str, Any]] = [
        {"image": one.entry.called, "apart_px": round(one.apart, 2), "unlike": round(one.unlike, 3)} for one in chosen
    ]
    if str(json) != "-":
        show_table(rows)
    if json is not None:
        known = [{key: value for key, value in row.items() if value == value} for row in rows]
        write_json(json, {"images": known})
