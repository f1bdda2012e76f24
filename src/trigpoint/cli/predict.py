"""``trigpoint predict``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trigpoint.cli.console import note, progress, refuse
from trigpoint.cli.predict_frames import check_overlay, find, is_video, joined, predict_frames
from trigpoint.errors import ConfigError, DataError

if TYPE_CHECKING:
    from trigpoint.landmarks import FloatArray
    from trigpoint.prediction import Predictor

_LISTED = 20  # unreadable files that are named in one error


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    images: Annotated[
        list[Path], typer.Argument(help="Images and folders of images (not the folders inside them), or one video.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table to write.")] = Path("predictions.csv"),
    overlay: Annotated[
        Path | None, typer.Option("--overlay", help="Draw each image with its points here: a folder, or a video .mp4.")
    ] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Only each N-th image or frame.")] = 1,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Draw how a run that looks at glimpses came to its points here.")
    ] = None,
    group: Annotated[
        float | None,
        typer.Option(
            "--group", min=0.0, help="Several instances: landmarks at most so many pixels apart are one object."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images at a time.")] = 16,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, mps or auto.")] = "auto",
) -> None:
    """Find the landmarks in images or a video and write them as a table.

    The table has a score and a radius per landmark and can be corrected and trained on. Nothing is written unless every
    image could be read; of a video that breaks off, and when stopped with Ctrl-C, what was done is kept.

    Example: trigpoint predict runs/faces photos/ --out predictions.csv --overlay drawn
    """
    refuse(out, force)
    if any(is_video(path) for path in (*images, overlay)):
        source = _one_source(images, trace)
        check_overlay(overlay, force)
        _predict_video(_loaded(run, device, group), source, out, overlay, every, batch_size, force)
        return
    files = image_files(images)[::every]
    drawings = [] if overlay is None else drawing_names(files, overlay)
    paths, stacks = ([] if trace is None else drawing_names(files, trace, what) for what in ("path", "glimpses"))
    for drawing in (*drawings, *paths, *stacks):
        refuse(drawing, force)
    predictor = _loaded(run, device, group)
    if trace is not None:
        _check_traceable(predictor)
    _check_headers(files)
    points = _predict_files(predictor, files, out, batch_size, force)
    if overlay is not None:
        _draw(files, drawings, points, predictor)
        note(f"drew {len(drawings)} images into {overlay}")
    if trace is not None:
        _draw_traces(predictor, files, paths, stacks)
        note(f"drew {len(paths)} paths and {len(stacks)} stacks of glimpses into {trace}")


def _loaded(run: Path, device: str, group: float | None) -> Predictor:
    from trigpoint.prediction import Predictor

    predictor = Predictor.load(run, device)
    if group is not None and not predictor.several:
        found = predictor.recipe.method_name
        raise ConfigError(f"--group: is for runs that find several instances, got one of method {found}; leave it out")
    predictor.group = group
    return predictor


def _predict_files(
    predictor: Predictor, files: Sequence[Path], out: Path, batch_size: int, force: bool
) -> list[FloatArray]:
    """Write the table of these images; the points (N, K, 2) of each. Stopped, the images done are written."""
    from trigpoint.data.table import refuse_formulas
    from trigpoint.prediction.table import write_frame

    folder = _images_of_table(out)
    refuse_formulas([stored_name(file, folder) for file in files], str(out))  # not after an hour of work
    parts, points, stopped = [], [], None
    with progress("predicting") as advance:
        try:
            for start in range(0, len(files), batch_size):
                some = files[start : start + batch_size]
                rows, found = find(predictor, some, [stored_name(file, folder) for file in some])
                parts.append(rows)
                points += found
                advance(len(points), len(files))
        except KeyboardInterrupt as error:
            if not parts:
                raise
            stopped = error
    write_frame(out, joined(parts), overwrite=force)
    counts = "" if predictor.several else f", {len(predictor.landmarks)} landmarks each"
    note(f"wrote {out}: {len(points)} images{counts}")
    if stopped is not None:
        raise stopped
    return points


def _predict_video(
    predictor: Predictor, source: Path, out: Path, overlay: Path | None, every: int, batch_size: int, force: bool
) -> None:
    from trigpoint.data.pixels.frames import Frames

    frames, folder = Frames(source, every), _images_of_table(out)
    inside = source if source.is_dir() else source.parent

    def name(frame: str) -> str:
        return frame if is_video(source) else stored_name(inside / frame, folder)

    predict_frames(predictor, frames, out, name, overlay, batch_size, force)


def _one_source(images: Sequence[Path], trace: Path | None) -> Path:
    """The video, or the folder of which a video is to be drawn."""
    if len(images) != 1:
        raise ConfigError(
            f"expected one video, or one folder to draw a video of, got {len(images)} paths; call it once for each"
        )
    if trace is not None:
        raise ConfigError("--trace: draws single images, got a video; save the frames as images, or leave it out")
    return images[0]


def image_files(given: Sequence[Path]) -> list[Path]:
    """The files as given and the images of each folder in order of their names, each once.

    Raises DataError for a path that is not there and a folder without images.
    """
    from trigpoint.data.pixels.images import SUFFIXES
    from trigpoint.data.tiled import is_tiled

    files: dict[Path, None] = {}
    for path in given:
        if path.is_dir() and is_tiled(path):  # zarr
            files[path] = None
        elif path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise DataError(f"{path}: expected images ({', '.join(SUFFIXES)}), got none in this folder")
            files |= dict.fromkeys(inside)
        elif path.is_file():
            files[path] = None
        else:
            raise DataError(f"{path}: expected an image or a folder of images, got nothing there; check the path")
    return list(files)


def drawing_names(files: Sequence[Path], folder: Path, what: str = "points") -> list[Path]:
    """A file in ``folder`` for each image, named after it; never the image itself. Equal names are numbered.

    >>> [str(path) for path in drawing_names([Path("a/x.png"), Path("b/x.tif")], Path("out"))]
    ['out/x_points.png', 'out/x_points_2.png']
    """
    used: dict[str, int] = {}
    names = []
    for file in files:
        stem = f"{file.stem}_{what}"
        used[stem] = used.get(stem, 0) + 1
        names.append(folder / (f"{stem}.png" if used[stem] == 1 else f"{stem}_{used[stem]}.png"))
    inputs = {file.resolve() for file in files}
    for name in names:
        if name.resolve() in inputs:
            raise DataError(f"{name}: is one of the images and would be overwritten; give another folder")
    return names


def stored_name(file: Path, folder: Path) -> str:
    """The image as the table names it: relative to ``folder`` when inside, so that the table is a dataset as it stands.

    >>> stored_name(Path("faces/images/a.png"), Path("faces/images"))
    'a.png'
    """
    relative = os.path.relpath(file, folder)
    return file.as_posix() if relative.startswith(os.pardir) else Path(relative).as_posix()


def _images_of_table(table: Path) -> Path:
    """The folder that image names in a table at this place are relative to, by the rules of the native format."""
    from trigpoint.data.description import read_description

    about = read_description(table.parent, [])
    default = table.parent / "images"
    return table.parent / about.images if about.images else default if default.is_dir() else table.parent


def _check_headers(files: Sequence[Path]) -> None:
    """Name every file that is no image now rather than one in the middle of the work."""
    from trigpoint.data.pixels.images import image_size
    from trigpoint.data.tiled import open_tiled

    problems = []
    for file in files:
        try:
            if file.is_dir():
                open_tiled(file).close()
            else:
                image_size(file)
        except DataError as error:
            problems.append(str(error))
    if len(problems) > _LISTED:
        problems[_LISTED:] = [f"and {len(problems) - _LISTED} more"]
    if problems:
        raise DataError("\n".join(problems))


def _draw(files: Sequence[Path], drawings: Sequence[Path], points: Sequence[FloatArray], predictor: Predictor) -> None:
    from trigpoint.data.pixels.images import read_image
    from trigpoint.data.tiled import open_tiled
    from trigpoint.geometry import to_grid
    from trigpoint.prediction import is_lazy
    from trigpoint.report import prediction_overlay, save
    from trigpoint.report.detection_figures import instance_overlay

    names = predictor.landmarks.names
    with progress("drawing") as advance:
        for index, (file, drawing, own) in enumerate(zip(files, drawings, points, strict=True)):
            if is_lazy(file):
                with open_tiled(file) as image:
                    preview, stride = image.preview()
                pixels, own = preview, to_grid(own, stride)
            else:
                pixels = read_image(file).pixels
            if predictor.several:
                figure = instance_overlay(
                    [pixels], None, [list(own.swapaxes(0, 1))], 1.0, names, [file.name], columns=1
                )
            else:
                figure = prediction_overlay([pixels], None, own, names, [file.name], columns=1)
            save(figure, drawing)
            advance(index + 1, len(files))


def _check_traceable(predictor: Predictor) -> None:
    """Refuse a run without glimpses before its predictions are made."""
    from trigpoint.prediction.trace import check_traceable

    check_traceable(predictor)


def _draw_traces(predictor: Predictor, files: Sequence[Path], paths: Sequence[Path], stacks: Sequence[Path]) -> None:
    from trigpoint.prediction.trace import trace
    from trigpoint.report import save

    with progress("drawing traces") as advance:
        for index, (file, path, stack) in enumerate(zip(files, paths, stacks, strict=True)):
            followed = trace(predictor, file)
            save(followed.guess_path(), path)
            save(followed.glimpse_stack(), stack)
            advance(index + 1, len(files))
