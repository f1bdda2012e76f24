"""Images that are not there: told all at once, with what may have been meant, before anything is done."""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from trigpoint.data.description import Problem

_TOLD = 10  # missing images that are named
_SEARCHED = 5000  # files of a folder among which a similar name is looked for
_FRAME = re.compile(r".+_[0-9]{6}\.png")  # what trigpoint.data.pixels.frames calls a frame of a video
_WAY_OUT = "put them back, correct their names, or give their folder (trigpoint data convert ... --images FOLDER)"


def missing_problem(missing: Mapping[Path, int | None], total: int, where: Path) -> Problem | None:
    """One problem for all missing images (with their rows, None: of no row) of ``total``; None where none is missing.

    >>> missing_problem({Path("no/a.png"): 2}, 5, Path("t.csv")).message
    'no/a.png: expected an image file, got none; there is no folder no; check the name and the folder'
    """
    if not missing:
        return None
    hints = Hints()
    if len(missing) == 1:
        ((image, row),) = missing.items()
        fix = frames(missing) or "; check the name and the folder"
        return Problem(where, f"{image}: expected an image file, got none{hints(image)}{fix}", row)
    lines = [f"expected image files, {len(missing)} of {total} are missing{frames(missing)}"]
    for image, row in list(missing.items())[:_TOLD]:
        lines.append(f"  {'' if row is None else f'row {row}: '}{image}{hints(image)}")
    if len(missing) > _TOLD:
        lines.append(f"  and {len(missing) - _TOLD} more")
    return Problem(where, "\n".join([*lines, f"  {_WAY_OUT}"]))


def frames(images: Mapping[Path, int | None]) -> str:
    """What is said where all of them bear names of frames of a video; else nothing."""
    if not all(_FRAME.fullmatch(image.name) for image in images):
        return ""
    stem = next(iter(images)).name[: -len("_000000.png")]
    return f"; they are frames of the video '{stem}': save its frames as pictures with these names"


class Hints:
    """What a missing image may be called; the files of each folder are listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, list[str] | None] = {}

    def __call__(self, image: Path) -> str:
        """Such as "; did you mean 001.jpg?", or nothing."""
        names = self._listed(image.parent)
        if names is None:
            return f"; there is no folder {image.parent}"
        meant = image.name.casefold()
        stem = image.stem.casefold()
        near = [name for name in names if name.casefold() == meant]
        near += [name for name in names if Path(name).stem.casefold() == stem]
        if not near and len(names) <= _SEARCHED:  # img_13 is not meant by img_12
            alike = [name for name in names if _numbers(name) == _numbers(image.name)]
            near = difflib.get_close_matches(image.name, alike, n=1, cutoff=0.6)
        return f"; did you mean {near[0]}?" if near else ""

    def _listed(self, folder: Path) -> list[str] | None:
        if folder not in self._folders:
            try:
                self._folders[folder] = sorted(file.name for file in folder.iterdir())
            except (OSError, ValueError):
                self._folders[folder] = None
        return self._folders[folder]


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"[0-9]+", Path(name).stem)]
