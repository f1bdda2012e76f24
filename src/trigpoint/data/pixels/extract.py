"""Single frames of a video as image files, by their numbers."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image

from trigpoint.data.files import check_path, same_content, write_bytes
from trigpoint.data.pixels.frames import Frames
from trigpoint.errors import DataError


def save_frames(video: Path, numbers: Iterable[int], folder: Path, stem: str) -> tuple[dict[int, Path], str]:
    """Write frames of a video, counted from 0, as ``folder/STEM_000012.png``, 8 bits RGB.

    Every frame up to the last wanted one is decoded, so that a number means the same frame whatever the video's key
    frames are. Returned are the file of each number and, where some could not be had, why. A file that is there with
    these pixels stays. Raises DataError when another one is in the way, and for what is no video; ConfigError without
    PyAV.
    """
    wanted = set(numbers)
    found: dict[int, Path] = {}
    why = ""
    frames = iter(Frames(video)) if wanted else iter(())
    while wanted - set(found):
        try:
            frame = next(frames)
        except StopIteration:
            why = why or "the video ends before"
            break
        except DataError as error:
            why = str(error)
            break
        if frame.index in wanted:
            data = io.BytesIO()
            pixels = np.ascontiguousarray(frame.image.pixels.transpose(1, 2, 0))
            PIL.Image.fromarray(pixels).save(data, "PNG")
            found[frame.index] = keep_image(folder / f"{stem}_{frame.index:06d}.png", data.getvalue())
    return found, why


def keep_image(file: Path, data: bytes) -> Path:
    """Write an image file, or leave it where it holds just these bytes. Raises DataError when another is in the way."""
    check_path(file)
    if not same_content(file, data):
        if file.exists():
            fix = "remove it or choose another folder: --option frames=FOLDER"
            raise DataError(f"{file}: expected no image or the same one, got another; {fix}")
        write_bytes(file, data)
    return file
