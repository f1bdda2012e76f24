"""``trigpoint reproduce``: an experiment of the papers, our numbers beside theirs."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trigpoint.cli.console import note, say, show_table
from trigpoint.errors import ConfigError

if TYPE_CHECKING:
    from trigpoint.experiments.findings import Findings

Scale = Literal["small", "paper"]
Launcher = Literal["local", "submitit"]
NAMES = (
    "adaloss-catheter, adaloss-widths, adaloss-annotators, adaloss-300w, adaloss-muct, foveated-isbi2015, "
    "foveated-ablation, cross-task or endovis"
)


def reproduce(
    name: Annotated[str, typer.Argument(help=f"{NAMES}, or the YAML file of a study of your own.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Options of the experiment, such as labels=junior, and of Slurm, such as slurm.partition=gpu.",
        ),
    ] = None,
    scale: Annotated[
        Scale, typer.Option("--scale", "-s", help="small: minutes on a CPU; paper: the paper's setting, for a GPU.")
    ] = "small",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write. Default: reproduced/NAME-SCALE.")
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Seeds of the runs, such as 0,1,2.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="Your copy of the dataset, where the experiment needs one.")
    ] = None,
    stand_in: Annotated[
        str | None,
        typer.Option("--stand-in", help="What takes the place of a dataset that may not be passed on; as stand_in=..."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", help="Runs at the same time. Default: 1 on this machine, as Slurm jobs all."),
    ] = None,
    launcher: Annotated[
        Launcher,
        typer.Option("--launcher", help="Where runs are trained: on this machine, or submitit: as Slurm jobs."),
    ] = "local",
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", "-m", help="Begin no training after so many; the same command goes on later."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Repeat an experiment of the papers and print our table beside the paper's.

    The same command takes up where it was stopped; finished runs are used as they are.

    Example: trigpoint reproduce adaloss-catheter --scale small
    """
    from trigpoint.experiments import Request, load_study, run_study
    from trigpoint.experiments.study import TimeUp, silent

    study = load_study(name)
    request = Request(
        study.name,
        Path("reproduced") / f"{study.name}-{scale}" if out is None else out,
        scale,
        parse_seeds(seeds),
        data,
        say=silent if quiet else note,
        progress=not quiet and study.bars,
        jobs=jobs,
        launcher=launcher,
        options=parse_options([*(options or []), *([] if stand_in is None else [f"stand_in={stand_in}"])]),
        minutes=minutes,
    )
    try:
        findings = run_study(study, request)
    except TimeUp as left:
        say(f"{left}. Go on with\n\n    {shlex.join(['trigpoint', *sys.argv[1:]])}\n")
        return
    _show(findings, request.out)


def _show(findings: "Findings", out: Path) -> None:
    """Tables and claims; the figures are named."""
    say(findings.title, prose=True)
    say()
    say(findings.setting, prose=True)
    for warning in findings.warnings:
        note(f"warning: {warning}")
    for table in findings.tables:
        say()
        show_table(table.rows, title=table.title, parts=True)
        say(table.note, prose=True)
    if findings.claims:
        say("\nClaims")
    for claim in findings.claims:
        say(f"- {claim.text}: {claim.outcome.upper()}. {claim.numbers}", prose=True)
    say()
    say(f"{out / 'table.md'}, {out / 'results.json'}, {len(findings.figures)} figures beside them", prose=True)


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


def parse_options(texts: Sequence[str]) -> dict[str, str]:
    """Options from ``KEY=VALUE`` each. Raises ConfigError.

    >>> parse_options(["labels=junior", "runs=shared,cascade"])
    {'labels': 'junior', 'runs': 'shared,cascade'}
    """
    options: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"'{text}': expected KEY=VALUE, such as labels=junior")
        if key in options:
            raise ConfigError(f"{key}: expected one value, got {options[key]} and {value}; leave one out")
        options[key] = value
    return options
