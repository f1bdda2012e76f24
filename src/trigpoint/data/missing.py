"""Images that are not there: told all at once, with what may have been meant, before anything is done."""

from collections.abc import Mapping
from pathlib import Path

from trigpoint.data.description import Problem
from trigpoint.data.pixels.frame_names import video_of
from trigpoint.data.quality.nearby import NearbyImages

_TOLD = 10  # missing images that are named
_WAY_OUT = "put them back, correct their names, or give their folder (trigpoint data convert ... --images FOLDER)"


def missing_problem(
    missing: Mapping[Path, int | None], total: int, where: Path, images: Path | None = None
) -> Problem | None:
    """One problem for all missing images (with their rows, None: of no row) of ``total``; None where none is missing.

    ``images``: the folder in which files of similar names are looked for.

    >>> missing_problem({Path("no/a.png"): 2}, 5, Path("t.csv"), Path("no")).message
    'no/a.png: expected an image file, got none; check the name and the folder'
    """
    if not missing:
        return None
    nearby = None if images is None else NearbyImages(images)
    told = []
    for image, row in list(missing.items())[:_TOLD]:
        hint = "" if nearby is None else nearby.hint(image)
        told.append((row, f"{image}: expected an image file, got none{hint}", hint))
    video = frames_problem(missing)
    if len(missing) == 1:
        ((row, text, hint),) = told
        return Problem(where, text + (video or ("" if hint else "; check the name and the folder")), row)
    lines = [f"expected image files, {len(missing)} of {total} are missing{video}"]
    lines += [f"  {'' if row is None else f'row {row}: '}{text}" for row, text, _ in told]
    if len(missing) > _TOLD:
        lines.append(f"  and {len(missing) - _TOLD} more")
    return Problem(where, "\n".join([*lines, *([] if video else [f"  {_WAY_OUT}"])]))


def frames_problem(images: Mapping[Path, int | None]) -> str:
    """What is said where all of them bear names of frames of a video; else nothing."""
    videos = list(dict.fromkeys(video_of(image.name) for image in images))
    if not all(videos):
        return ""
    stem = videos[0]
    return (
        f"; they are frames of the video '{stem}', no files: 'trigpoint label VIDEO --every N', with N as in predict, "
        f"writes them into the folder {stem}/images beside the video; stop it with Ctrl-C, and give that folder "
        f"(trigpoint data convert ... --images {stem}/images)"
    )
