"""Which images are meant by paths, and where their drawings go."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trigpoint.data.files import check_path
from trigpoint.data.pixels.folders import VIDEOS, images_below
from trigpoint.data.pixels.images import NAMES, frame_count, image_size, is_image
from trigpoint.data.table_names import OnePlace
from trigpoint.data.tiled.image import is_tiled, open_tiled
from trigpoint.errors import DataError, counted

ADVICE = "to leave out images that cannot be read: --skip-broken"
_LISTED = 20  # unreadable files that are named in one error
_NAMED = 5  # videos that are named in one error


def is_video(path: Path | None) -> bool:
    """Whether a name is that of a video.

    >>> is_video(Path("a/OP.MP4")), is_video(Path("drawn")), is_video(None)
    (True, False, False)
    """
    return path is not None and path.suffix.lower() in VIDEOS


def has_frames(path: Path) -> bool:
    """Whether a path is read frame by frame: a video, or a file of several frames (TIFF, DICOM, GIF, WebP).

    False for what cannot be read: that is told by who reads it.
    """
    if is_video(path) or not is_image(path):
        return is_video(path)
    try:
        return frame_count(path) > 1
    except DataError:
        return False


def image_files(
    given: Sequence[Path], besides: Sequence[Path | None] = (), passed: Callable[[str], None] | None = None
) -> list[Path]:
    """The files as given and the images below each folder in natural order, each once.

    Folders ``besides``, into which is drawn, are not entered; ``passed`` is told, in words, how many videos and other
    files were passed over. Raises DataError for a path that is not there and a folder without images.
    """
    files: dict[Path, None] = {}
    videos, skipped, same = 0, 0, OnePlace()
    for path in given:
        check_path(path)
        if path.is_dir() and not is_tiled(path):
            found = images_below(path, besides)
            skipped += found.skipped
            videos += len(found.videos)
            if not found.files:
                raise DataError(f"{path}: expected images ({NAMES}), got {_other(found.videos)}")
            files |= dict.fromkeys(map(same, found.files))
        elif path.exists():
            files[same(path)] = None
        else:
            raise DataError(f"{path}: expected an image or a folder of images, got nothing there; check the path")
    if (videos or skipped) and passed is not None:
        passed(passed_over(videos, skipped))
    return list(files)


def passed_over(videos: int, others: int) -> str:
    """What was passed over, in words.

    >>> passed_over(2, 3), passed_over(0, 1)
    ('passed over 2 videos and 3 other files', 'passed over 1 other file')
    """
    parts = [counted(videos, "video")] * bool(videos) + [counted(others, "other file")] * bool(others)
    return f"passed over {' and '.join(parts)}"


def _other(videos: Sequence[Path]) -> str:
    """What a folder without images has, and how its videos are predicted."""
    if not videos:
        return "none in this folder"
    names = ", ".join(video.name for video in videos[:_NAMED]) + (", ..." * (len(videos) > _NAMED))
    if len(videos) == 1:
        return f"none in this folder, but the video {names}; give the file itself: trigpoint predict RUN {videos[0]}"
    kinds = list(dict.fromkeys(f'"{video.parent}"/*{video.suffix}' for video in videos))
    loop = f'for v in {" ".join(kinds)}; do trigpoint predict RUN "$v" --out "${{v%.*}}.csv"; done'
    return f"none in this folder, but {len(videos)} videos ({names}); predict takes one video at a time: {loop}"


def check_headers(files: Sequence[Path]) -> None:
    """Raise DataError that names every file that is no image, now rather than in the middle of the work."""
    refuse_headers(header_problems(files))


def header_problems(files: Sequence[Path]) -> list[str]:
    """What is wrong with files that are no images."""
    problems = []
    for file in files:
        try:
            if file.is_dir():
                open_tiled(file).close()
            else:
                image_size(file)
        except DataError as error:
            problems.append(str(error))
    return problems


def refuse_headers(problems: Sequence[str]) -> None:
    """Raise one DataError for all problems, of which the first are listed."""
    told = [*problems[:_LISTED], *([f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else [])]
    if told:
        error = DataError("\n".join(told))
        error.add_note(ADVICE)
        raise error


def drawing_names(files: Sequence[Path], folder: Path, what: str = "points") -> list[Path]:
    """A file in ``folder`` for each image, named after it; never the image itself. Equal names are numbered.

    >>> [str(path) for path in drawing_names([Path("a/x.png"), Path("b/x.tif")], Path("out"))]
    ['out/x_points.png', 'out/x_points_2.png']
    """
    check_path(folder)
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
