"""``trigpoint predict`` on a video, frame after frame; what was done is kept when it is stopped or breaks off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trigpoint.cli.console import note, progress, refuse
from trigpoint.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from trigpoint.data.pixels.frames import Frame, Frames
    from trigpoint.landmarks import FloatArray
    from trigpoint.prediction import Predictor

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".ts")
RATE = 25  # frames per second of a video made from a folder of images
Draw = Callable[["Frame", "FloatArray"], None]


def is_video(path: Path | None) -> bool:
    """Whether a name is that of a video.

    >>> is_video(Path("a/OP.MP4")), is_video(Path("drawn")), is_video(None)
    (True, False, False)
    """
    return path is not None and path.suffix.lower() in VIDEOS


def find(predictor: Predictor, images: Sequence[Any], names: Sequence[str]) -> tuple[pd.DataFrame, list[FloatArray]]:
    """Rows of the table, and the points (N, K, 2) of each image, of a run of any method; all images at once."""
    from trigpoint.prediction.table import instance_frame, prediction_frame

    if predictor.several:
        found = predictor.predict_instances(images, batch_size=len(images))
        named = [replace(one, image=name) for one, name in zip(found, names, strict=True)]
        return instance_frame(named, predictor.landmarks, predictor.radius), [one.points for one in named]
    one_each = predictor.predict(images, batch_size=len(images))
    return prediction_frame(replace(one_each, images=tuple(names))), list(one_each.points[:, None])


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts, one after the other."""
    import pandas as pd

    return pd.concat(parts, ignore_index=True)


def predict_frames(
    predictor: Predictor,
    frames: Frames,
    out: Path,
    name: Callable[[str], str],
    overlay: Path | None = None,
    batch_size: int = 16,
    force: bool = False,
) -> None:
    """Write the table of all frames, and with ``overlay`` a video or a folder of pictures with the points.

    ``name`` gives the image of the table for the name of a frame. When stopped (KeyboardInterrupt), or where the video
    is damaged (DataError), table and overlay keep what was done before; then the error goes on its way.
    """
    from trigpoint.data.table import refuse_formulas
    from trigpoint.prediction.table import write_frame

    parts: list[pd.DataFrame] = []
    done, stopped = 0, None
    with _overlay(overlay, frames, force) as draw, progress("predicting") as advance:
        try:
            for batch in _batches(frames, batch_size):
                names = [name(frame.name) for frame in batch]
                refuse_formulas(names, str(out))
                rows, points = find(predictor, [frame.image for frame in batch], names)
                for frame, own in zip(batch, points, strict=True):
                    draw(frame, own)
                parts.append(rows)
                done += len(batch)
                advance(done, max(frames.count or 0, done))
        except (KeyboardInterrupt, DataError) as error:
            if not parts:
                raise
            stopped = error
    write_frame(out, joined(parts), overwrite=force)
    note(f"wrote {out}: {done} frames" + ("" if stopped is None else ", those before it ended"))
    if overlay is not None:
        note(f"drew {done} frames into {overlay}")
    if stopped is not None:
        raise stopped


def check_overlay(overlay: Path | None, force: bool) -> None:
    """Refuse to draw over anything, before any work is done."""
    if overlay is None:
        return
    if is_video(overlay):
        refuse(overlay, force)
    elif overlay.is_file():
        raise DataError(f"{overlay}: expected a folder or the name of a video, got a file; give another name")
    elif overlay.is_dir() and any(overlay.iterdir()) and not force:
        raise DataError(f"{overlay}: expected an empty folder to draw into, got other files; give another or --force")


@contextmanager
def _overlay(target: Path | None, frames: Frames, force: bool) -> Iterator[Draw]:
    """A function that adds a frame and its points to the overlay."""
    from PIL import Image

    from trigpoint.data.pixels.frames import VideoWriter
    from trigpoint.report.frame_overlay import draw_points

    if target is None:
        yield lambda frame, points: None
    elif is_video(target):
        with VideoWriter(target, frames.rate or RATE, overwrite=force) as video:
            yield lambda frame, points: video.add(draw_points(frame.image.pixels, points))
    else:
        folder = target

        def save(frame: Frame, points: FloatArray) -> None:
            file = (folder / frame.name).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_points(frame.image.pixels, points)).save(file)

        yield save


def _batches(frames: Frames, size: int) -> Iterator[list[Frame]]:
    """So many frames at a time; those before a damaged one are given before its error."""
    batch: list[Frame] = []
    try:
        for frame in frames:
            batch.append(frame)
            if len(batch) == size:
                yield batch
                batch = []
    except DataError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
