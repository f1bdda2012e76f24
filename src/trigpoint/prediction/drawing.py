"""Images with what was found in them, one picture each."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from trigpoint.data.files import whole
from trigpoint.data.pixels.images import read_image
from trigpoint.data.tiled.image import open_tiled
from trigpoint.geometry.points import to_grid
from trigpoint.landmarks import Prediction
from trigpoint.prediction.base import Progress, is_lazy
from trigpoint.report.frame_overlay import draw_image


def draw_predictions(
    prediction: Prediction, files: Sequence[Path], drawings: Sequence[Path], progress: Progress | None = None
) -> None:
    """Draw each image with its points; one that is read by tiles as its small picture."""
    for index, (file, drawing, found) in enumerate(zip(files, drawings, prediction.detections, strict=True)):
        points, window = found.points, None
        if is_lazy(file):
            with open_tiled(file) as image:
                pixels, stride = image.preview()
            points = to_grid(points, stride)
        else:
            stored = read_image(file)
            pixels, window = stored.pixels, stored.window
        picture = draw_image(pixels, points, window, prediction.landmarks.names)
        with whole(drawing, overwrite=True) as stream:
            Image.fromarray(picture).save(stream, format="PNG")
        if progress is not None:
            progress(index + 1, len(files))
