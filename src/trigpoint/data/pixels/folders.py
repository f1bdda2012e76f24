"""The images below a folder, in natural order: what a video has in its frames, a folder has in its files."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trigpoint.data.files import check_path
from trigpoint.data.pixels.kinds import SUFFIXES, is_image

_PASSED = ("__MACOSX", "@eaDir", "lost+found")  # folders in which systems keep what is no image of the user's
_TILED = (".zgroup", ".zattrs", ".zarray", "zarr.json")  # a zarr image, of which the files are no images


VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".ts")
"""Suffixes of videos."""


class Images(NamedTuple):
    """``files`` in natural order (2 before 10), those of a folder before its subfolders; how many others were
    ``skipped``, and which ``videos``, which are read frame by frame, one at a time."""

    files: list[Path]
    skipped: int
    videos: list[Path]


def images_below(folder: Path, besides: Sequence[Path | None] = ()) -> Images:
    """The images of a folder and its subfolders. Hidden ones, and the folders ``besides``, are passed over.

    Links to folders are followed, each folder is entered once. Raises DataError for a file that has an image's name
    and is none, such as a pipe or a name that is no UTF-8.
    """
    entered = {os.path.realpath(other) for other in besides if other is not None} - {os.path.realpath(folder)}
    files, videos = list[Path](), list[Path]()
    skipped = 0
    for place, names in _folders(folder, entered):
        for name in names:
            file = place / name
            if file.suffix.lower() in SUFFIXES:
                check_path(file)  # raises for a pipe; a link to nowhere is passed over
            if is_image(file, met=True):
                files.append(file)
            elif file.suffix.lower() in VIDEOS and file.is_file():
                videos.append(file)
            else:
                skipped += 1
    return Images(files, skipped, videos)


def hidden(file: Path, folder: Path) -> bool:
    """Whether a file below ``folder`` is hidden or lies in a folder that is, such as ``.trigpoint``: not the user's.

    >>> hidden(Path("set/.trigpoint/runs/history.png"), Path("set")), hidden(Path(".a/b.png"), Path(".a"))
    (True, False)
    """
    return any(part.startswith(".") or part in _PASSED for part in file.relative_to(folder).parts)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which numbers in a name count as numbers.

    >>> sorted(["f10.png", "f2.png", "F1.png"], key=natural_key)
    ['F1.png', 'f2.png', 'f10.png']
    """
    parts = (part for part in re.split(r"([0-9]+)", name.lower()) if part)
    return [(0, int(part), part) if part[0] in "0123456789" else (1, 0, part) for part in parts]


def _folders(folder: Path, entered: set[str]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files, in natural order, without recursion: folders may be deep."""
    left = [folder]
    while left:
        place = left.pop()
        real = os.path.realpath(place)
        if real in entered:
            continue
        entered.add(real)
        names = sorted((n for n in os.listdir(place) if not n.startswith(".")), key=lambda n: (natural_key(n), n))
        inner = [name for name in names if (place / name).is_dir()]
        yield place, [name for name in names if name not in inner or _is_tiled(place / name)]
        left += [place / name for name in reversed(inner) if name not in _PASSED and not _is_tiled(place / name)]


def _is_tiled(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TILED)
