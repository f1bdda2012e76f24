"""A folder as it is opened for labelling: a dataset, a folder of images that becomes one, or the frames of a video."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from trigpoint.app.describing import check_names
from trigpoint.app.table import Stamp, stamp
from trigpoint.data.description import Description, Problem, read_description
from trigpoint.data.files import Progress, check_path, read_text, write_bytes, write_text
from trigpoint.data.pixels.folders import images_below
from trigpoint.data.pixels.frame_names import video_of
from trigpoint.data.pixels.frames import Frames
from trigpoint.data.pixels.images import NAMES
from trigpoint.data.table import Table, raise_problems, read_table
from trigpoint.data.table_names import OnePlace, TableNames
from trigpoint.data.tiled import is_tiled
from trigpoint.errors import DataError

HIDDEN = ".trigpoint"
"""Folder of the set in which the journal, the lock and what is learned meanwhile are kept."""
_VIDEO = "video.txt"  # in it: the name of the video whose frames were made images of this folder


@dataclass(frozen=True)
class Opened:
    """``images``: those of the table, then those that lie in the images folder beside; ``called``: their names in it.

    ``own``: the annotator whose table it is, by ``dataset.yaml``; what is learned and kept beside is then that of this
    person alone. ``new``: there is no table yet. ``bare``: there is no ``dataset.yaml``, and ``plain`` is what it will
    name as the images folder. ``read``: the table as it was when it bore ``stamp``. ``left_out``: why images that no
    table can name are not among them. ``video``: the name of the video whose frames the images are, or nothing.
    """

    folder: Path
    table: Path
    about: Description
    names: list[str]
    images: list[Path]
    called: list[str]
    new: bool
    bare: bool
    plain: str
    read: Table | None
    stamp: Stamp
    left_out: list[str]
    own: str = ""
    video: str = ""

    @property
    def hidden(self) -> Path:
        """Where the lock and what is learned meanwhile are kept; annotators see nothing of each other's."""
        return self.folder / HIDDEN / "annotators" / self.own if self.own else self.folder / HIDDEN

    @property
    def instances(self) -> bool:
        return bool(self.about.instances)


def open_folder(path: Path, names: Sequence[str] = ()) -> Opened:
    """Look at a folder, or at one table of a dataset; nothing is written. ``names``: landmarks that it is to have too.

    Raises DataError when there is nothing to label, and for a table that cannot be read strictly.
    """
    check_path(path)
    folder, given = (path.parent, path) if path.suffix.lower() == ".csv" else (path, None)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of images or a dataset, got nothing there; check the path")
    problems: list[Problem] = []
    about = read_description(folder, problems)
    raise_problems(problems)
    table = given or folder / about.table
    bare = not about.file.is_file()
    same = OnePlace()
    found: dict[Path, None] = {}
    known: list[str] = list(about.landmarks or ())
    read, before = None, stamp(table)
    if table.is_file():
        read = read_table(table if given else folder, unlabelled=True)
        known = list(read.landmarks.names)
        about = replace(about, instances=read.instances)
        found = {same(sample.image): None for sample in read.samples}
    found |= {same(file): None for file in _images(about.images_folder)}
    if not found:
        videos = images_below(about.images_folder).videos
        fix = f"label one video at a time: trigpoint label {videos[0]}" if videos else "check the path"
        raise DataError(
            f"{folder}: expected images ({NAMES}), got {'videos' if videos else 'none'} in this folder; {fix}"
        )
    plain = os.path.relpath(about.images_folder, folder)
    images, called, left_out = _named(list(found), TableNames(folder, about.images_folder))
    if not images:
        raise DataError(left_out[0])
    names = [*known, *(name for name in check_names(names) if name not in known)]
    own = next((name for name, file in about.annotators.items() if folder / file == table), "")
    return Opened(
        folder, table, about, names, images, called, read is None, bare, plain, read, before, left_out, own,
        _video(folder),
    )  # fmt: skip


def _video(folder: Path) -> str:
    """The name of the video of which ``frames_folder`` has made this folder, or nothing."""
    place = folder / HIDDEN / _VIDEO
    return read_text(place).removesuffix("\n") if place.is_file() else ""


def _named(found: list[Path], names: TableNames) -> tuple[list[Path], list[str], list[str]]:
    """The images that a table can name, their names, and why the others are left out."""
    images, called, left_out = list[Path](), list[str](), list[str]()
    for image in found:
        try:
            called.append(names.write(image))
            images.append(image)
        except DataError as error:
            left_out.append(str(error))
    return images, called, left_out


def _images(folder: Path) -> list[Path]:
    """Image files below a folder and, beside them, zarr images."""
    files = images_below(folder).files
    zarr = [place for place in sorted(folder.glob("*.zarr")) if place.is_dir() and is_tiled(place)]
    return files + zarr


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, by making one."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".trigpoint"):
            return True
    except OSError:
        return False


def frames_folder(
    source: Path, every: int, progress: Progress | None = None, tell: Callable[[str], None] | None = None
) -> Path:
    """Every ``every``-th frame of a video, or of a file of several frames, as images of a folder beside it.

    The folder has the video's name without its suffix; a frame that is there already stays. The video's name is kept
    there, for the subject of the frames. More than 8 bits are kept of grey frames. Raises DataError for what is no
    video; frames before damage are kept, and ``tell`` is told.
    """
    folder = source.with_suffix("")
    if folder == source:
        folder = source.with_name(source.name + "_frames")
    frames = Frames(source, every)
    done = 0
    try:
        for frame in frames:
            file = folder / "images" / Path(frame.name).with_suffix(".png").name
            if not file.exists():
                write_bytes(file, _png(frame.image.pixels))
            if not done and video_of(file.name) and writable(folder):
                write_text(folder / HIDDEN / _VIDEO, f"{source.stem}\n", overwrite=True)
            done += 1
            if progress is not None:
                progress(done, frames.count or done)
    except DataError as error:
        if not done:
            raise
        if tell is not None:
            tell(f"{error}; the {done} frames before are there")
    return folder


def _png(pixels: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    values = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
    if values.dtype == np.float32:  # whole numbers of a scan; the zero moves to the least value
        values = np.round(values - min(float(values.min()), 0.0)).clip(0, 65535).astype(np.uint16)
    if values.ndim == 3 and values.dtype != np.uint8:
        values = (values >> 8).astype(np.uint8)  # PNG of 16 bits per colour is not written by Pillow
    PIL.Image.fromarray(np.ascontiguousarray(values)).save(out, "PNG")
    return out.getvalue()
