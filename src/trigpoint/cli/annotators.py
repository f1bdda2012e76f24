"""``trigpoint data agreement | consensus``: several annotators of the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trigpoint.cli.console import note, refuse, say, show_table, tell_hidden
from trigpoint.errors import counted

Folder = Annotated[Path, typer.Argument(help="A dataset folder whose dataset.yaml names 'annotators'.")]
_MEASURED = ("unit", "n_images", "n_subjects", "mae", "bias", "sd", "icc")
Force = Annotated[bool, typer.Option("--force", help="Replace what exists.")]


def agreement(
    folder: Folder,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write all rows to this .csv file.")] = None,
    worst: Annotated[int, typer.Option("--worst", "-n", min=0, help="How many of the worst disagreements.")] = 10,
    force: Force = False,
) -> None:
    """Say how far the annotators of a dataset agree, and where they disagree most.

    For each two annotators: the mean radial error (MRE) between them, the bias in x and y (first minus second) with its
    95 % limits of agreement (Bland-Altman), and the intraclass correlation ICC(2,1) of each coordinate. The same for
    the measurements that dataset.yaml names, which --out writes into OUT-measurements.csv.

    Example: trigpoint data agreement data/heads --out agreement.csv
    """
    from trigpoint.data.annotators import described, left_out, read_annotators
    from trigpoint.data.files import csv_text, write_text
    from trigpoint.evaluation.agreement import EVERYBODY, POOLED
    from trigpoint.evaluation.agreement import agreement as compare
    from trigpoint.evaluation.measuring import between_annotators
    from trigpoint.prediction.measurements import beside
    from trigpoint.report.tables import measurement_rows

    refuse(out, force)
    sets = read_annotators(folder)
    for line in left_out(described(folder), sets):
        note(line)
    found, measured = compare(sets, worst), between_annotators(sets)
    second = None if out is None or not any(measured.values()) else beside(out)
    refuse(second, force)
    say(
        f"{len(sets)} annotators: {', '.join(sets)}; {counted(found.images, 'image')} that at least two have labelled",
        prose=True,
    )
    two = len(sets) == 2
    shown = [row for row in found.rows if two or row["landmark"] == POOLED or row["annotators"] == EVERYBODY]
    extra = [f"MRE {'px' if found.unit == 'mm' else 'mm'}", "ICC x", "ICC y", "images"]
    told = [_words(row, found.unit) for row in shown]
    hidden = show_table(told, title=f"Bias and limits in {found.unit}", hide=extra)
    rows = [
        {"annotators": pair} | {key: text for key, text in row.items() if key != "90 % interval"}
        for pair, numbers in measured.items()
        for row in measurement_rows({"measurements": numbers})
    ]
    if rows:
        hidden += show_table(rows, title="Measurements, first minus second", hide=("ICC", "SD", "unit", "n"))
    if found.worst:
        hidden += show_table([_rounded(row) for row in found.worst], title="Furthest apart")
    tell_hidden(hidden, "--out FILE")
    if out is not None:
        cells = [[_cell(value) for value in row.values()] for row in found.rows]
        write_text(out, csv_text([[*found.rows[0]], *cells]), overwrite=force)
        note(f"wrote {out}: {counted(len(found.rows), 'row')}")
    if second is not None:
        lines = [[pair, name, *_plain(one)] for pair, own in measured.items() for name, one in own.items()]
        head = ["annotators", "measurement", *_MEASURED, "low", "high"]
        write_text(second, csv_text([head, *lines]), overwrite=force)
        note(f"wrote {second}: {counted(len(lines), 'row')}")


def _plain(one: dict[str, Any]) -> list[str]:
    """Cells of a measurement, the limits of agreement last."""
    low, high = one["limits"] or (None, None)
    return [_cell(value) for value in (*(one[key] for key in _MEASURED), low, high)]


def _words(row: dict[str, Any], unit: str) -> dict[str, Any]:
    """A row with its limits in one cell each."""
    from trigpoint.report.tables import number

    told = {key: row[key] for key in ("annotators", "landmark", "images")}
    told |= {f"MRE {end}": row[f"mre_{end}"] for end in ("px", "mm") if f"mre_{end}" in row}
    for letter in "xy":
        bias, low, high = (row[f"{what}_{letter}_{unit}"] for what in ("bias", "low", "high"))
        told[f"bias {letter}"] = number(bias, interval=(low, high))
    return told | {"ICC x": number(row["icc_x"], 3), "ICC y": number(row["icc_y"], 3)}


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return "" if value is None else str(value)


def consensus(
    folder: Folder,
    how: Annotated[
        str, typer.Option("--how", metavar="mean|median|NAME", help="Of all annotators, or the labels of one.")
    ] = "mean",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The table to write; default: the set's own, in its folder.")
    ] = None,
    force: Force = False,
) -> None:
    """Make one table of the labels of several annotators, to train on. Subsets and subjects are those of the set.

    A landmark that some have not placed is that of the others.

    Example: trigpoint data consensus data/heads --how mean --out data/heads/landmarks.csv
    """
    from trigpoint.data.annotators import consensus as agree
    from trigpoint.data.annotators import described, left_out, read_annotators, write_consensus

    about = described(folder)
    target = out or about.folder / about.table
    refuse(target, force)
    sets = read_annotators(folder)
    for line in left_out(about, sets):
        note(line)
    samples, marks, fewer = agree(sets, how)
    write_consensus(about, samples, marks, target, force)
    if fewer:
        note(f"{fewer} points are of fewer than {len(sets)} annotators")
    note(
        f"wrote {target}: {counted(len(samples), 'row')}, {counted(len(marks), 'landmark')}, {how} of {', '.join(sets)}"
    )
