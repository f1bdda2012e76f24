"""Images that cannot be read, left out of a prediction where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trigpoint.errors import DataError, counted
from trigpoint.landmarks import ImageDetections
from trigpoint.prediction.base import ImagePredictor

_LISTED = 20  # images left out that are named


def predict_sound(
    predictor: ImagePredictor, files: Sequence[Path], names: Sequence[str], batch_size: int
) -> list[ImageDetections | str]:
    """What is found in each image (N,), or why it cannot be read; images are taken one by one where any cannot."""
    try:
        return [*predictor.predict(files, batch_size, names=names).detections]
    except DataError:
        found: list[ImageDetections | str] = []
        for file, name in zip(files, names, strict=True):
            try:
                found += predictor.predict([file], 1, names=[name]).detections
            except DataError as error:
                found.append(" ".join(str(error).split()))
        return found


def refuse_all(broken: Mapping[str, str], total: int) -> None:
    """Raise DataError where no image is left."""
    if broken and len(broken) == total:
        first = next(iter(broken.values()))
        raise DataError(f"expected an image that can be read, got none of {total}; the first: {first}")


def left_out(broken: Mapping[str, str], total: int) -> list[str]:
    """What is told of the images that were left out, by their names and why; nothing for none."""
    if not broken:
        return []
    lines = [f"  {why}" for why in list(broken.values())[:_LISTED]]
    lines += [f"  and {len(broken) - _LISTED} more"] * (len(broken) > _LISTED)
    return [f"left out {len(broken)} of {counted(total, 'image')}, which cannot be read:", *lines]
