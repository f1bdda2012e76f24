"""``trigpoint data check | show | convert | merge | split | tile | audit | next | curve | ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.cli.annotators import agreement, consensus
from trigpoint.cli.auditing import audit, next_images
from trigpoint.cli.console import BAD_INPUT, Flowing, note, progress, refuse, say, show_table, write_json
from trigpoint.cli.convert import Force, Images, convert, merge
from trigpoint.errors import ConfigError, counted

if TYPE_CHECKING:
    from trigpoint.data.quality.checks import CheckReport

app = typer.Typer(
    cls=Flowing,
    help="Check, draw, convert, join and split datasets; tile images; say what to label; compare annotators.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="The dataset folder, or one of its tables.")]


@app.command()
def check(
    folder: Folder,
    json: Annotated[Path | None, typer.Option("--json", help="Write the findings to this file ('-': stdout).")] = None,
    images: Images = None,
    force: Force = False,
) -> None:
    """Report every problem of a dataset in one pass. The exit code is 2 if there is an error.

    Example: trigpoint data check data/faces
    """
    from trigpoint.data.quality.checks import check_dataset

    refuse(json, force)
    with progress("reading images") as advance:
        report = check_dataset(folder, advance, images=images)
    if str(json) != "-":
        _show_report(report)
    if json is not None:
        write_json(json, report.to_dict())
    if not report.ok:
        raise typer.Exit(BAD_INPUT)


def _show_report(report: CheckReport) -> None:
    for problem in report.problems:
        say(f"{problem.severity}: {problem}", prose=True)
    about = report.summary
    sizes = " to ".join(dict.fromkeys(f"{w} x {h}" for w, h in filter(None, (about.smallest, about.largest))))
    say(
        f"{about.name}: {counted(about.images, 'image')}, {counted(about.rows, 'row')}, "
        f"{counted(about.landmarks, 'landmark')}, {counted(about.subjects, 'subject')}"
        + (f", {sizes} pixels" if sizes else ""),
        prose=True,
    )
    if about.annotators:
        named = ", ".join(f"{name} {counted(count, 'image')}" for name, count in about.annotators.items())
        say(f"annotators: {named}", prose=True)
    if about.splits:
        say("splits: " + ", ".join(f"{name} {count}" for name, count in about.splits.items()), prose=True)
    missing = {name: share for name, share in about.unlabelled.items() if share > 0}
    if missing:
        worst = max(missing, key=lambda name: missing[name])
        rarely = f"most often {worst} ({missing[worst]:.1%})"
        say(f"not annotated: {counted(len(missing), 'landmark')} in some rows, {rarely}", prose=True)
    say(f"{counted(len(report.errors), 'error')}, {counted(len(report.warnings), 'warning')}")


@app.command()
def show(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write: .png, .pdf or .svg.")],
    split: Annotated[str | None, typer.Option("--split", "-s", help="Only this subset.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Number of images.")] = 24,
    numbers: Annotated[
        bool | None,
        typer.Option(
            help="Number the points, so that a wrong order shows. Default: from 13 to 30 landmarks; fewer are named.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Draw images with their landmarks as one picture: left landmarks orange, right ones blue.

    Example: trigpoint data show data/faces --out sheet.png
    """
    from trigpoint.data import LandmarkDataset
    from trigpoint.report import contact_sheet, save

    refuse(out, force)
    dataset = LandmarkDataset.load(folder, split=split, check_images=False)
    save(contact_sheet(dataset, count, numbers=numbers), out)
    note(f"wrote {out}")


app.command()(convert)
app.command()(merge)


@app.command()
def split(
    folder: Folder,
    fractions: Annotated[
        str | None,
        typer.Option(
            "--fractions",
            help="Name and share of each subset. Default: train=0.7,val=0.15,test=0.15; with --of train: "
            "train=0.85,test=0.15.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed draws another division.")] = 0,
    of: Annotated[
        str | None, typer.Option("--of", metavar="SUBSET", help="Divide only this subset; the others stay as they are.")
    ] = None,
    only_blank: Annotated[
        bool, typer.Option("--only-blank", help="Keep the subsets that the table has; fill only rows without one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace subsets that the table has.")] = False,
    videos: Annotated[
        bool,
        typer.Option("--videos", help="First name the video as the subject of frames without one, by their names."),
    ] = False,
) -> None:
    """Divide a dataset into subsets by subject and store them in its table.

    To keep subsets that others made, and draw a test from the training images: --of train. Images that are copies of
    one another are kept together. The images of a single subject, such as a video, are
    divided by blocks. Frames of videos that have no subject are told; --videos names it.

    Example: trigpoint data split data/faces --fractions train=0.8,test=0.2 --seed 1
    """
    from trigpoint.data import split_dataset

    ways = {"--of": of is not None, "--only-blank": only_blank, "--force": force}
    if sum(ways.values()) > 1:
        given = " and ".join(name for name, is_given in ways.items() if is_given)
        raise ConfigError(f"expected one of {', '.join(ways)}, which do different things, got {given}; leave one out")
    shares = None if fractions is None else parse_fractions(fractions)
    how = {"force": force, "only_blank": only_blank, "videos": videos}
    told: list[str] = []
    with progress("reading images") as advance:
        counts = split_dataset(folder, shares, seed, of=of, tell=told.append, progress=advance, **how)
    for line in told:
        note(line)
    show_table([{"split": name, "rows": count} for name, count in counts.items()])


@app.command()
def curve(
    run: Annotated[Path, typer.Argument(help="A finished run folder.")],
    shares: Annotated[str, typer.Option("--shares", help="Shares of its labels to train with.")] = "0.25,0.5",
    quick: Annotated[
        bool,
        typer.Option("--quick", help="As many epochs as the run in place of as many steps: less than one training."),
    ] = False,
) -> None:
    """Say what more labels would bring: train with fewer, and draw a law through the errors.

    The trainings are in RUN/curve, and a stopped one is gone on with. 'trigpoint evaluate' then shows the result, too.

    Example: trigpoint data curve runs/faces
    """
    from trigpoint.runs import RunFolder
    from trigpoint.runs.label_curve import outlook
    from trigpoint.training.curve import measure_curve

    try:
        chosen = [float(text) for text in shares.split(",")]
    except ValueError:
        raise ConfigError(f"--shares: expected numbers between 0 and 1, such as 0.25,0.5, got '{shares}'") from None
    for line in outlook(measure_curve(RunFolder(run), chosen, quick, tell=note)):
        say(line, prose=True)


@app.command()
def tile(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Any image, or a zarr folder.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The tiled image to write: .tif or .tiff.")],
    side: Annotated[int, typer.Option("--tile", help="Side of a tile in pixels, a multiple of 16.")] = 256,
    fill_missing: Annotated[
        bool, typer.Option("--fill-missing", help="Treat tiles that IN leaves out as empty; else they are an error.")
    ] = False,
    force: Force = False,
) -> None:
    """Write a tiled copy of an image with all levels of a pyramid. Prediction reads only the tiles that it needs.

    Example: trigpoint data tile slide.tif slide_tiled.tif
    """
    from trigpoint.data.tiled import tile_image

    refuse(target, force)
    with progress("tiling") as advance:
        written = tile_image(
            source,
            target,
            tile=side,
            overwrite=force,
            fill_missing=fill_missing,
            progress=advance,
            on_whole=lambda image: note(f"{source}: decoded whole, {image.width} x {image.height} pixels in memory"),
        )
    note(f"wrote {written}")


app.command()(audit)
app.command()(agreement)
app.command()(consensus)
app.command("next")(next_images)


def parse_fractions(text: str) -> dict[str, float]:
    """Shares by split name.

    >>> parse_fractions("train=0.8, test=0.2")
    {'train': 0.8, 'test': 0.2}
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        try:
            share = float(value) if equals and name else None
        except ValueError:
            share = None
        if share is None or name in shares:
            raise ConfigError(f"--fractions: expected name=share once each, such as train=0.8,test=0.2, got '{part}'")
        shares[name] = share
    return shares
