"""``trigpoint reproduce``: an experiment of the papers, our numbers beside theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from trigpoint.cli.console import note, say, show_table
from trigpoint.errors import ConfigError

Scale = Literal["small", "paper"]


def reproduce(
    name: Annotated[str, typer.Argument(help="adaloss-catheter, adaloss-300w or adaloss-muct.")],
    scale: Annotated[
        Scale, typer.Option("--scale", "-s", help="small: minutes on a CPU; paper: the paper's setting, for a GPU.")
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write. Default: reproduced/NAME-SCALE.")
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Seeds of the runs, such as 0,1,2.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Your dataset (adaloss-muct) or copy of 300-W (adaloss-300w).")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", help="Runs at the same time, one thread each if more than 1.")
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Repeat an experiment of the papers and print our table beside the paper's.

    The same command takes up where it was stopped; finished runs are used as they are.

    Example: trigpoint reproduce adaloss-catheter --scale small
    """
    from trigpoint.reproduce import EXPERIMENTS, Request, run_experiment

    request = Request(
        name,
        Path("reproduced") / f"{name}-{scale}" if out is None else out,
        scale,
        parse_seeds(seeds),
        data,
        say=_silent if quiet else note,
        progress=not quiet and name in EXPERIMENTS and EXPERIMENTS[name].long_runs,
        jobs=jobs,
    )
    findings = run_experiment(request)
    say(f"{findings.title}\n\n{findings.setting}")
    for warning in findings.warnings:
        note(f"warning: {warning}")
    for table in findings.tables:
        say()
        show_table(table.rows, title=table.title)
        say(table.note)
    say("\nVerdict")
    for claim in findings.claims:
        say(f"- {claim.text}: {claim.verdict.upper()}. {claim.numbers}")
    say(f"\n{request.out / 'table.md'}, {request.out / 'results.json'}, {len(findings.figures)} figures beside them")


def parse_seeds(text: str | None) -> tuple[int, ...] | None:
    """Seeds from ``0,1,2``. Raises ConfigError.

    >>> parse_seeds("0, 2"), parse_seeds(None)
    ((0, 2), None)
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ConfigError(f"--seeds: expected whole numbers such as 0,1,2, got '{text}'")
    return tuple(int(part) for part in parts)


def _silent(text: str) -> None:
    """No progress is wanted."""
