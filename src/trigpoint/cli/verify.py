"""``trigpoint verify``."""

from pathlib import Path
from typing import Annotated

import typer

from trigpoint.cli.console import note, progress, show_table


def verify(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
) -> None:
    """Check that a run is as it was made.

    Its weights are compared with their noted hash, the images and labels of its dataset with those it was trained on,
    the installed versions with those it was made with; and it predicts its validation images again, whose error and
    radii have to be the recorded ones. The exit code is 1 if weights, data, error or radii differ; other versions alone
    are told.

    Example: trigpoint verify runs/faces
    """
    from trigpoint.evaluation.verify import OTHER, verify

    with progress("predicting") as advance:
        checks = verify(run, device, advance)
    show_table([check._asdict() for check in checks], title=str(run))
    differ = [check.what for check in checks if check.outcome == OTHER and check.what != "versions"]
    if differ:
        note(f"{run}: is not as it was made: {', '.join(differ)}")
        raise typer.Exit(1)
