"""``trigpoint export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trigpoint.cli.console import note, progress, refuse
from trigpoint.errors import counted

if TYPE_CHECKING:
    from trigpoint.export import Exported


class Target(StrEnum):
    """What a run can be exported to."""

    ONNX = "onnx"
    HTML = "html"


class Precision(StrEnum):
    """What the networks compute in."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def export(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    to: Annotated[Target, typer.Option("--to", help="The kind of file.")] = Target.ONNX,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write; default: RUN.onnx or RUN.html.")
    ] = None,
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
    """Write a run as one file: ONNX, from stored pixels to points in original pixels, or a page with a whole detector.

    The file is checked before it is written: it has to find what the run finds, in its validation images and in other
    forms of them (16 bits, colour, other sizes, turned). 'trigpoint predict FILE.onnx IMAGES' needs no PyTorch.

    --to html writes a page that opens by a double click and works without a network: drop images, correct the points,
    save the table. It is tried in Chromium, where there is one.

    Example: trigpoint export runs/faces --to onnx --out faces.onnx
    """
    from trigpoint.prediction.files import image_files

    target = Path(f"{run.resolve().name}.{to.value}") if out is None else out
    refuse(target, force)
    from trigpoint.export import export_html, export_run

    images = None if not check else image_files(check, passed=note)
    how: dict[str, Any] = {"check": images, "tolerance": tolerance, "overwrite": force}
    with progress("checking") as advance:
        made = (export_run if to is Target.ONNX else export_html)(
            run, target, precision=precision.value, progress=advance, **how
        )
    size = made.file.stat().st_size / 1e6
    note(f"wrote {made.file}: {size:.1f} MB, {precision.value}")
    note(
        f"checked on {counted(made.images, 'image')}, other forms of some included: its points are "
        f"{made.mean:.2g} px from those of the run on average, {made.largest:.2g} px at most"
    )
    if to is Target.HTML:
        _tell_page(made)


def _tell_page(made: Exported) -> None:
    """What became of the page in a browser."""
    from trigpoint.export import ExportedPage
    from trigpoint.export.html import USUAL

    assert isinstance(made, ExportedPage)
    if made.browser is None:
        note(f"the page was not tried in a browser: {made.untried}")
    else:
        note(
            f"tried in Chromium on {counted(made.browser.images, 'image')}, {1 / made.seconds:.1f} a second: "
            f"{made.browser.mean:.2g} px on average, {made.browser.largest:.2g} px at most"
        )
    if made.refused:
        image, reason = next(iter(made.refused.items()))
        note(f"warning: the page reads none of {len(made.refused)} of these images, such as {image}, which {reason}")
    if made.file.stat().st_size > USUAL:
        note("the page is above 25 MB, which some mail refuses; --precision float16 makes it smaller")
