"""``trigpoint label``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trigpoint.cli.console import note, progress
from trigpoint.errors import ConfigError


def label(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of images, a dataset or one of its tables, or a video.")
    ],
    landmarks: Annotated[
        str | None, typer.Option("--landmarks", "-l", metavar="A,B,C", help="Names of the landmarks of a new set.")
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="RUN", help="Show what a run predicts, beside the labels; twice: compare two."),
    ] = None,
    learn: Annotated[
        bool | None,
        typer.Option(help="Learn while you label, and propose points. Default: yes, unless --run is given."),
    ] = None,
    annotator: Annotated[
        str,
        typer.Option(
            "--annotator", metavar="NAME", help="Who labels: opens the table of NAME, if dataset.yaml has it."
        ),
    ] = "",
    every: Annotated[
        int | None, typer.Option("--every", min=1, metavar="N", help="Of a video: take every N-th frame.")
    ] = None,
    instances: Annotated[
        bool, typer.Option("--instances", help="A new set with any number of objects in an image.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Default: 8765, or one that is free.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Another address lets other machines in, with --password.")
    ] = "127.0.0.1",
    password: Annotated[
        str | None, typer.Option("--password", envvar="TRIGPOINT_PASSWORD", help="What the page asks for, with --host.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, and change nothing.")] = False,
) -> None:
    """Label images in the browser. A folder of images becomes a dataset with the first label.

    Every change is saved at once, to landmarks.csv of the folder. Nothing leaves this machine.

    Example: trigpoint label photos/ --landmarks left_eye,right_eye,chin
    """
    from trigpoint.app.folder import frames_folder
    from trigpoint.app.serving import Wanted, serve

    if folder.is_file() and folder.suffix.lower() not in (".csv", ".yaml"):
        with progress("reading frames") as advance:
            folder = frames_folder(folder, every or 1, advance, note)
        note(f"frames are in {folder}")
    elif every is not None:
        raise ConfigError("--every: expected a video, got a folder; leave it out")
    runs = tuple(run or ())
    if len(runs) > 2:
        raise ConfigError(f"--run: expected at most two runs, got {len(runs)}; leave out the others")
    names = tuple(name.strip() for name in (landmarks or "").split(",") if name.strip())
    path = folder.parent if folder.suffix.lower() == ".yaml" else folder
    learns = not runs if learn is None else learn
    serve(Wanted(path, names, annotator, host, port, password, instances, read_only, runs, learns), note)
