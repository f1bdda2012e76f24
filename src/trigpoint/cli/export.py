"""``trigpoint export``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from trigpoint.cli.console import note, progress, refuse


class Target(StrEnum):
    """What a run can be exported to."""

    ONNX = "onnx"


class Precision(StrEnum):
    """What the networks compute in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def export(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    to: Annotated[Target, typer.Option("--to", help="The kind of file.")] = Target.ONNX,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; default: RUN.onnx.")] = None,
    precision: Annotated[
        Precision, typer.Option("--precision", help="float16 is half as large, int8 a quarter; both move points.")
    ] = Precision.FLOAT32,
    check: Annotated[
        list[Path] | None,
        typer.Option("--check", help="Images or folders to check the file on; default: the validation images."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance", min=0.0, help="Pixels that a point may differ from the run; default: 0.05 in float32."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a run as one ONNX file, from stored pixels to points in original pixels.

    The file is checked before it is written: it has to find what the run finds, in its validation images and in other
    forms of them (16 bits, colour, other sizes, turned). 'trigpoint predict FILE.onnx IMAGES' needs no PyTorch.

    Example: trigpoint export runs/faces --to onnx --out faces.onnx
    """
    from trigpoint.prediction.files import image_files

    target = Path(f"{run.resolve().name}.onnx") if out is None else out
    refuse(target, force)
    from trigpoint.export import export_run

    images = None if not check else image_files(check, passed=lambda count: note(f"passed over {count} other files"))
    with progress("checking") as advance:
        made = export_run(
            run,
            target,
            precision=precision.value,
            check=images,
            tolerance=tolerance,
            overwrite=force,
            progress=advance,
        )
    size = made.file.stat().st_size / 2**20
    note(f"wrote {made.file}: {size:.1f} MB, {precision.value}")
    note(
        f"checked on {made.images} images, other forms of some included: its points are {made.mean:.2g} px from those "
        f"of the run on average, {made.largest:.2g} px at most"
    )
