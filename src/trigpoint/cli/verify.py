"""``trigpoint verify``."""

from pathlib import Path
from typing import Annotated

import typer

from trigpoint.cli.console import note, progress, say, show_table


def verify(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, or an exported model (.onnx).")],
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto; of a run folder.")] = "auto",
) -> None:
    """Check that a run or an exported model is as it was made.

    A run's weights and card.md are compared with their noted hashes, the images and labels of its dataset with those it
    was trained on, the installed versions with those it was made with; and it predicts its validation images again,
    whose error and radii have to be the recorded ones. The exit code is 1 if weights, card, data, error or radii
    differ; other versions alone are told.

    Of an exported model (.onnx) the file itself is checked: that it is whole and unchanged, of a format that is known
    here, and can be run. Its model card is printed: what it was trained and measured on, and what it is not for. A
    damaged file ends with exit code 2. This needs no PyTorch.

    Example: trigpoint verify runs/faces
    """
    from trigpoint.prediction.model_check import OTHER, refuse_other_file
    from trigpoint.prediction.model_file import is_model_file

    if is_model_file(run):
        _model(run)
        return
    refuse_other_file(run)
    from trigpoint.evaluation.verify import verify

    with progress("predicting") as advance:
        checks = verify(run, device, advance)
    show_table([check._asdict() for check in checks], title=str(run))
    differ = [check.what for check in checks if check.outcome == OTHER and check.what != "versions"]
    if differ:
        note(f"{run}: is not as it was made: {', '.join(differ)}")
        raise typer.Exit(1)


def _model(file: Path) -> None:
    """The checks of an exported model, and its card on stdout."""
    from trigpoint.prediction.model_check import NO_CARD, verify_model

    checks, card = verify_model(file)
    show_table([check._asdict() for check in checks], title=str(file))
    if card is None:
        note(f"{file}: {NO_CARD}")
        return
    say()
    for line in card.strip().splitlines():
        say(line, prose=True)
