"""``trigpoint serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trigpoint.cli.console import note


def serve(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, or a model that was exported (.onnx).")],
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Default: 8766, or one that is free.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Another address lets other machines in, with --token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="TRIGPOINT_TOKEN", help="What requests have to bring: Authorization: Bearer TOKEN."
        ),
    ] = None,
    max_mb: Annotated[float, typer.Option("--max-mb", min=0.001, help="Most megabytes of a request.")] = 32.0,
    max_pixels: Annotated[int, typer.Option("--max-pixels", min=1, help="Most pixels of an image.")] = 50_000_000,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Most time of a request.")] = 30.0,
    queue: Annotated[int, typer.Option("--queue", min=1, help="Most images at a time, those that wait included.")] = 64,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Run folders: most images predicted together.")
    ] = 16,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
    model_version: Annotated[
        str | None, typer.Option("--model-version", help="What answers call the model; default: digits of its hash.")
    ] = None,
) -> None:
    """Answer requests with landmarks: an image is posted to /predict, points come back as JSON.

    No image is kept or logged. Ctrl-C or SIGTERM finishes what is accepted and refuses the rest.

    Example: trigpoint serve faces.onnx, then: curl --data-binary @photo.jpg http://127.0.0.1:8766/predict
    """
    from trigpoint.serving.limits import Limits
    from trigpoint.serving.serve import Wanted
    from trigpoint.serving.serve import serve as run

    limits = Limits(bytes=int(max_mb * 2**20), pixels=max_pixels, seconds=seconds, queue=queue)
    run(Wanted(model, host, port, token, limits, batch_size, device, model_version), note)
