"""Folders, lists of files and videos to one table, batch after batch; what was done is kept when it ends early."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from trigpoint.data.columns import check_table
from trigpoint.data.files import whole
from trigpoint.data.pixels.frames import Frame, Frames, VideoWriter
from trigpoint.data.table import refuse_formulas
from trigpoint.data.table_names import TableNames
from trigpoint.errors import ConfigError, DataError, unstopped
from trigpoint.landmarks import FloatArray, ImageDetections, Prediction, Spacing
from trigpoint.metrics.difficulty import SUBJECTS
from trigpoint.metrics.trust import UNLIKE_ADVICE
from trigpoint.prediction.base import ImagePredictor, Progress
from trigpoint.prediction.broken import predict_sound, refuse_all
from trigpoint.prediction.engine import first_process, predict_in_parallel, processes
from trigpoint.prediction.exported import ExportedPredictor
from trigpoint.prediction.files import ADVICE, is_video
from trigpoint.prediction.table import write_predictions
from trigpoint.report.frame_overlay import draw_points

if TYPE_CHECKING:
    from trigpoint.prediction.predictor import Predictor

RATE = 25  # frames per second of a video made from a folder of images
Draw = Callable[[Frame, FloatArray], None]


def predict_files(
    predictor: ImagePredictor,
    files: Sequence[Path],
    out: str | Path,
    *,
    batch_size: int = 16,
    overwrite: bool = False,
    progress: Progress | None = None,
    devices: int = 1,
    spacing_mm: Spacing | None = None,
    tell: Callable[[str], None] | None = None,
    flag: bool = False,
    broken: dict[str, str] | None = None,
) -> Prediction:
    """What is found in these images, written as a table to ``out``, in which they are named as its reader takes them.

    Measurements of the run are in a table of their own, see ``prediction.measurements.beside``, in mm where an image
    states its pixel size or else ``spacing_mm`` does; ``tell`` is given what to know of it, and in what the images are
    unlike those of validation. With ``flag`` the table says which images a person should look at; ConfigError where
    the run cannot tell.
    However it ends early, the table has the images that were done, and the error that goes on its way says so. With
    several ``devices``, or where several processes were started together (torchrun, Slurm), each image is predicted
    once by one of them, and the first process writes and tells errors; the others end with it.

    Images that cannot be read are left out where ``broken`` is given, to which their names in the table are added with
    the reason, not with several processes; DataError where none is left.
    """
    check_flags(predictor, flag)
    check_table(out)
    write = TableNames.of(Path(out)).write
    names = [write(file) for file in files]  # refused now, not after an hour of work
    found = list[ImageDetections]()
    bad = {} if broken is None else broken

    def spacings() -> list[Spacing | None]:
        sound = [file for file, name in zip(files, names, strict=True) if name not in bad]
        return _spacings(sound[: len(found)], spacing_mm)

    table = _Tables(predictor, found, Path(out), overwrite, tell, spacings, flag)
    with _kept(table, len(files)):
        if processes(devices) > 1:
            if broken is not None:
                raise ConfigError("--skip-broken: expected one process, got several (--devices); take --processes")
            if isinstance(predictor, ExportedPredictor):
                raise ConfigError("--devices: an exported model predicts in one process, got several; leave it out")
            predict_in_parallel(cast("Predictor", predictor), files, names, found, batch_size, devices, progress)
        else:
            for start in range(0, len(files), batch_size):
                some = slice(start, start + batch_size)
                if broken is None:
                    found += _predicted(predictor, files[some], names[some], batch_size)
                else:
                    for name, one in zip(
                        names[some], predict_sound(predictor, files[some], names[some], batch_size), strict=True
                    ):
                        if isinstance(one, str):
                            broken[name] = one
                        else:
                            found.append(one)
                if progress is not None:
                    progress(min(start + batch_size, len(files)), len(files))
            refuse_all(bad, len(files))
    return predictor.joined(found)


def _predicted(
    predictor: ImagePredictor, files: Sequence[Path], names: Sequence[str], batch_size: int
) -> list[ImageDetections]:
    try:
        return predictor.predict(files, batch_size, names=names).detections
    except DataError as error:
        error.add_note(ADVICE)
        raise


def predict_frames(
    predictor: ImagePredictor,
    source: str | Path,
    out: str | Path,
    *,
    overlay: str | Path | None = None,
    every: int = 1,
    batch_size: int = 16,
    overwrite: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
    spacing_mm: Spacing | None = None,
    flag: bool = False,
) -> Prediction:
    """As ``predict_files`` for every ``every``-th frame of a video or of a file of several frames, or of a folder in
    natural order, one batch in memory.

    The table has the time of each frame where the file states it. ``tell`` is given what is wrong with the frames of a
    video, such as gaps between them. With ``overlay`` also a video, or a folder of pictures, with the points. A video
    that is drawn is finished where the work is stopped or the source is damaged (DataError), and is gone where the disk
    takes no more of it.
    """
    check_flags(predictor, flag)
    check_table(out)
    place = Path(source)
    drawn = None if overlay is None or is_video(Path(overlay)) else Path(overlay)
    frames, write = Frames(place, every, [drawn]), TableNames.of(Path(out)).write
    inside = place if place.is_dir() else place.parent
    called = {name: write(inside / name) for name in frames.names or ()}  # refused now, not after an hour of work
    target = None if overlay is None else Path(overlay)
    found, sizes = list[ImageDetections](), list[Spacing | None]()
    table = _Tables(predictor, found, Path(out), overwrite, tell, lambda: sizes, flag)
    with _overlay(target, frames, overwrite) as draw, _kept(table, frames.count):
        for batch in _batches(frames, batch_size):
            names = [called.get(f.name, f.name) for f in batch]
            refuse_formulas(names, str(out))
            some = predictor.predict([frame.image for frame in batch], batch_size, names=names)
            for frame, own in zip(batch, some.detections, strict=True):
                own.time_s = frame.time_s
                with unstopped():  # a row and its drawing, or neither
                    found.append(own)
                    sizes.append(frame.image.spacing_mm or spacing_mm)
                    draw(frame, own.points)
            if progress is not None:
                progress(len(found), max(frames.count or 0, len(found)))
    if tell is not None:
        for note in frames.notes:
            tell(f"{place}: {note}")
    return predictor.joined(found)


def check_flags(predictor: ImagePredictor, flag: bool) -> None:
    """Raise ConfigError where ``flag`` is asked of a run that cannot tell."""
    if flag and predictor.trust is None:
        fix = f", ask who made the model for one with {SUBJECTS} validation subjects or more, or train one"
        raise ConfigError(
            f"--flag: expected a model that knows which images need a look, got one that cannot tell "
            f"{predictor.cannot_tell}; leave it out{fix if predictor.threshold is None else ''}"
        )


class _Tables(NamedTuple):
    """The tables of what is ``found`` so far: points, and measurements where the run has any."""

    predictor: ImagePredictor
    found: list[ImageDetections]
    out: Path
    overwrite: bool
    tell: Callable[[str], None] | None
    spacings: Callable[[], Sequence[Spacing | None]]
    flag: bool

    def write(self) -> None:
        """Both, each whole or not at all."""
        prediction = self.predictor.joined(self.found)
        trust = self.predictor.trust
        flags = trust.flags(self.found) if trust is not None and self.flag else None
        write_predictions(self.out, prediction, self.overwrite, flags)
        if trust is not None and self.tell is not None and (unlike := trust.told(self.found)):
            self.tell(f"not as in the validation images: {'; '.join(unlike)}. {UNLIKE_ADVICE}")
        if self.predictor.measures:
            from trigpoint.prediction.measurements import beside, write_measurements

            given = (self.predictor.widths, self.spacings(), self.overwrite)
            for note in write_measurements(beside(self.out), prediction, *given):
                if self.tell is not None:
                    self.tell(f"{beside(self.out)}: {note}")


def _spacings(files: Sequence[Path], otherwise: Spacing | None) -> list[Spacing | None]:
    from trigpoint.prediction.measurements import spacings_of

    return spacings_of(files, otherwise)


@contextmanager
def _kept(table: _Tables, total: int | None) -> Iterator[None]:
    """Write the tables when the block ends, however it ends; a part of them is told in a note to what ended it."""
    found = table.found
    try:
        yield
    except BaseException as error:
        with unstopped():
            if found and first_process():
                table.write()
                of = "" if total is None else f" of {total}"
                error.add_note(f"{table.out}: is partial, it holds the first {len(found)}{of} images")
            raise
    if first_process():
        with unstopped():
            table.write()


def check_overlay(overlay: Path | None, overwrite: bool) -> None:
    """Raise DataError where an overlay of frames would be drawn over anything, before any work is done."""
    if overlay is None or is_video(overlay):
        return
    if overlay.is_file():
        raise DataError(f"{overlay}: expected a folder or the name of a video, got a file; give another name")
    if overlay.is_dir() and any(overlay.iterdir()) and not overwrite:
        raise DataError(f"{overlay}: expected an empty folder to draw into, got other files; give another or --force")


@contextmanager
def _overlay(target: Path | None, frames: Frames, overwrite: bool) -> Iterator[Draw]:
    """A function that adds a frame and its points to the overlay."""
    if target is None:
        yield lambda frame, points: None
    elif is_video(target):
        early: BaseException | None = None
        try:
            with VideoWriter(target, frames.rate or RATE, overwrite=overwrite) as video:
                try:
                    yield lambda frame, points: video.add(_drawn(frame, points))
                except (KeyboardInterrupt, DataError) as error:
                    if not video.frames:
                        raise
                    early = error
        except OSError as error:
            for line in (*getattr(early, "__notes__", ()), f"{target}: could not be finished and is gone"):
                error.add_note(line)
            raise
        if early is not None:
            early.add_note(f"{target}: is partial as well")
            raise early
    else:
        folder = target

        def save(frame: Frame, points: FloatArray) -> None:
            place = folder / frame.name
            with whole(place.with_name(f"{place.stem}_points.png"), overwrite=True) as stream:
                Image.fromarray(_drawn(frame, points)).save(stream, format="PNG")

        try:
            yield save
        except BaseException as error:
            error.add_note(f"{target}: is partial as well")
            raise


def _drawn(frame: Frame, points: FloatArray) -> npt.NDArray[np.uint8]:
    return draw_points(frame.image.pixels, points, frame.image.window)


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
