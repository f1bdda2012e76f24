"""``trigpoint evaluate``."""

from pathlib import Path
from typing import Annotated

import typer

from trigpoint.cli.console import note, progress, refuse, say, show_table, write_json

_LISTED = 20  # landmarks that are shown one by one; the files have all


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    data: Annotated[Path, typer.Option("--data", "-d", help="The dataset folder.")],
    split: Annotated[str, typer.Option("--split", "-s", help="The subset to measure on; all: every row.")] = "test",
    json: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file ('-': stdout).")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a report with figures to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
) -> None:
    """Measure a run on one subset of a dataset.

    Example: trigpoint evaluate runs/faces --data data/faces --split test --html report.html
    """
    from trigpoint.data.files import write_text
    from trigpoint.evaluation import evaluate as measure
    from trigpoint.report.tables import landmark_rows, measurement_rows, metric_rows

    for file in (json, html):
        refuse(file, force)
    with progress("predicting") as advance:
        report = measure(run, data, split=None if split == "all" else split, device=device, progress=advance)
    for warning in report.warnings:
        note(f"warning: {warning}")
    if str(json) != "-":
        metrics = report.metrics
        columns = {"measure": "Measure", "value": "Value", "rule": "Rule"}
        subjects = metrics["n_subjects"]
        where = "all rows" if split == "all" else f"split {split}"
        counted = f"{metrics['n_images']} images of {subjects} subject{'' if subjects == 1 else 's'}"
        show_table(metric_rows(metrics), columns, f"{run} on {where}: {counted}")
        for key in ("per_group", "per_landmark", "detection", "detection_lenient", "detection_total"):
            rows = landmark_rows(metrics.get(key))
            if 1 < len(rows) <= _LISTED or (rows and key.startswith("detection")):
                first = {"landmark": "counting"} if key == "detection_total" else {}
                show_table(rows, {name: name for name in rows[0]} | first, title=key.replace("_", " "))
        if rows := measurement_rows(metrics):
            show_table(rows, title="measurements (predicted minus annotated)")
        for line in report.outlook:
            say(line)
    if json is not None:
        write_json(json, report.to_dict())
    if html is not None:
        write_text(html, report.to_html(), overwrite=True)
    for file in (json, html):
        if file is not None and str(file) != "-":
            note(f"wrote {file}")
