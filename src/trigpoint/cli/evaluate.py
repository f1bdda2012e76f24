"""``trigpoint evaluate``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.cli.console import note, progress, refuse, say, show_table, tell_hidden, write_json
from trigpoint.errors import DataError, counted

if TYPE_CHECKING:
    from trigpoint.evaluation import Comparison, Report

_LISTED = 20  # landmarks that are shown one by one; the files have all


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    data: Annotated[Path, typer.Option("--data", "-d", help="The dataset folder.")],
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="RUN...", help="Compare the run with these, on the same images."),
    ] = None,
    split: Annotated[str, typer.Option("--split", "-s", help="The subset to measure on; all: every row.")] = "test",
    json: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file ('-': stdout).")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a report with figures to this file.")] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option(
            "--table",
            metavar="FILE",
            help="Write the numbers of each landmark, image, subject and measurement: .csv, .xlsx, or .tex for a "
            "paper.",
        ),
    ] = None,
    figure: Annotated[
        list[Path] | None,
        typer.Option(
            "--figure",
            metavar="FILE",
            help="Draw the cumulative errors, each landmark and the agreement of measurements: .pdf, .svg or .png.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
) -> None:
    """Measure a run on one subset of a dataset.

    Example: trigpoint evaluate runs/faces --data data/faces --split test --html report.html
    For a paper: trigpoint evaluate runs/faces --data data/faces --table errors.tex --figure errors.pdf
    To compare: trigpoint evaluate runs/faces --data data/faces --against runs/fast runs/old
    """
    from trigpoint.data.files import write_text
    from trigpoint.evaluation import Comparison, compare
    from trigpoint.evaluation import evaluate as measure

    if against and html is not None:
        raise DataError("--html: expected one run, got --against; leave one of the two out, or write --figure")
    _check_new([json, html], table or [], figure or [], force, several=bool(against))
    reports = []
    for each in (run, *(against or [])):
        with progress(f"predicting {each}" if against else "predicting") as advance:
            reports.append(
                measure(each, data, split=None if split == "all" else split, device=device, progress=advance)
            )
    found = compare(reports) if against else reports[0]
    for warning in found.warnings:
        note(f"warning: {warning}")
    where = "all rows" if split == "all" else f"split {split}"
    if str(json) != "-":
        _compared(found, where) if isinstance(found, Comparison) else _show(found, f"{run} on {where}")
    if html is not None:
        write_text(html, reports[0].to_html(), overwrite=True)
    written = _write(found, json, table or [], figure or [])
    files = [] if against else [file for file in (json, html) if file is not None and str(file) != "-"]
    _record(reports, split, files)
    for file in [*filter(None, [html]), *written]:
        note(f"wrote {file}")


def _check_new(
    files: Sequence[Path | None], tables: Sequence[Path], figures: Sequence[Path], force: bool, several: bool
) -> None:
    """Raise DataError for a file that exists, or that two of the options would write, those of measurements among them:
    whether there are any is known only after the work."""
    from trigpoint.evaluation.figures import figure_files
    from trigpoint.evaluation.tables import MEASUREMENTS, SHEETS
    from trigpoint.report.table_files import table_files

    found = [file for file in files if file is not None and str(file) != "-"]
    papers = [] if several else [MEASUREMENTS]
    found += [each for file in tables for each in table_files(file, [*SHEETS[1:], MEASUREMENTS], papers)]
    found += [each for file in figures for each in figure_files(file, measured=not several)]
    for i, file in enumerate(found):
        refuse(file, force)
        if file in found[:i]:
            raise DataError(f"{file}: expected each file once, got it twice; give another name")


def _write(
    found: Report | Comparison, json: Path | None, tables: Sequence[Path], figures: Sequence[Path]
) -> list[Path]:
    """Write all but the page; gives the files."""
    written = list[Path]()
    if json is not None:
        write_json(json, found.to_dict())
        written += [] if str(json) == "-" else [json]
    for file in tables:
        written += found.to_tables(file, overwrite=True)
    for file in figures:
        written += found.to_figures(file, overwrite=True)
    return written


def _record(reports: Sequence[Report], split: str, files: Sequence[Path]) -> None:
    """Add the numbers to what W&B or MLflow have of these runs."""
    from trigpoint.training.tracking import noted, record_evaluation

    for report in reports:
        if record_evaluation(report.run, split, report.metrics, files, note):
            note(f"recorded with {report.run.folder}: {(noted(report.run) or ('',))[0]}")


def _compared(found: Comparison, where: str) -> None:
    first = next(iter(found.reports.values()))
    images = f"{counted(first.metrics['n_images'], 'image')} of {counted(first.metrics['n_subjects'], 'subject')}"
    say(f"Runs compared on {where}: {images}", prose=True)
    hidden = show_table(found.rows(), hide=("worse", "better"))
    what = "F1" if first.detected is not None else "error"
    mark = "fewer instances missed or wrong" if first.detected is not None else "a smaller mean error"
    base = next(iter(found.reports))
    say(
        f"difference: {what} of the run minus that of {base}; better, worse: share of images with {mark} than there, "
        "and the other way round. In brackets: 95 % intervals over subjects.",
        prose=True,
    )
    tell_hidden(hidden, "--table FILE or --json FILE")


def _show(report: Report, where: str) -> None:
    from trigpoint.report.tables import annotator_rows, landmark_rows, measurement_rows, metric_rows

    metrics = report.metrics
    columns = {"measure": "Measure", "value": "Value", "rule": "Rule"}
    images = f"{counted(metrics['n_images'], 'image')} of {counted(metrics['n_subjects'], 'subject')}"
    hidden = list[str]()
    if rows := metric_rows(metrics):
        hidden += show_table(rows, columns, f"{where}: {images}", hide=("rule",))
    else:
        say(f"{where}: {images}", prose=True)
    for key in ("per_group", "per_landmark", "detection", "detection_lenient", "detection_total"):
        rows = landmark_rows(metrics.get(key))
        if 1 < len(rows) <= _LISTED or (rows and key.startswith("detection")):
            first = {"landmark": "counting"} if key == "detection_total" else {}
            headings = {name: name for name in rows[0]} | first
            hidden += show_table(rows, headings, title=key.replace("_", " "), hide=_least_wanted(rows[0]))
    pairs, against = annotator_rows(metrics)
    if pairs:
        hidden += show_table(pairs, title="model and annotators, mean distances")
    if 0 < len(against) <= _LISTED:
        hidden += show_table(against, title="model against annotators", hide=("images",))
    if metrics.get("standing"):
        say(metrics["standing"], prose=True)
    if rows := measurement_rows(metrics):
        title = "measurements (predicted minus annotated)"
        hidden += show_table(rows, title=title, hide=("ICC", "SD", "unit", "n", "90 % interval"))
    for line in report.outlook:
        say(line, prose=True)
    tell_hidden(hidden, "--table FILE, --html FILE or --json FILE")


def _least_wanted(columns: Iterable[str]) -> list[str]:
    """Columns of a table of landmarks that a narrow terminal has no room for, the least wanted first: lengths in px
    beside those in mm, spreads, and success rates at the larger thresholds.

    >>> _least_wanted(["landmark", "n_points", "mre_px", "mre_mm", "sd_mm", "sdr_mm 2.0", "sdr_mm 4.0"])
    ['mre_px', 'sd_mm', 'sdr_mm 4.0', 'sdr_mm 2.0', 'n_points']
    """
    names = list(columns)
    other = [name for name in names if name.endswith("_px") and name.replace("_px", "_mm") in names]
    spreads = [name for name in names if name.startswith("sd_") and name not in other]
    shares = [name for name in names if name.startswith("sdr_")][::-1]
    counts = [name for name in ("true_positives", "false_positives", "misses") if name in names]
    return [*other, *spreads, *shares, *counts, *(name for name in ("n_points", "distance_px") if name in names)]
