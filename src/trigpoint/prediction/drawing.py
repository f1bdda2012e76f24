"""Images with what was found in them, one picture each."""

from collections.abc import Sequence
from pathlib import Path

from trigpoint.data.pixels.images import read_image
from trigpoint.data.tiled.image import open_tiled
from trigpoint.geometry.points import to_grid
from trigpoint.landmarks import Prediction
from trigpoint.prediction.base import Progress, is_lazy
from trigpoint.report.overlays import as_displayed, prediction_overlay
from trigpoint.report.style import save


def draw_predictions(
    prediction: Prediction, files: Sequence[Path], drawings: Sequence[Path], progress: Progress | None = None
) -> None:
    """Draw each image with its points; one that is read by tiles as its small picture."""
    for index, (file, drawing, found) in enumerate(zip(files, drawings, prediction.detections, strict=True)):
        points = found.points
        if is_lazy(file):
            with open_tiled(file) as image:
                pixels, stride = image.preview()
            points = to_grid(points, stride)
        else:
            stored = read_image(file)
            pixels = as_displayed(stored.pixels, stored.window)
        save(prediction_overlay([pixels], None, [points], prediction.landmarks.names, [file.name], columns=1), drawing)
        if progress is not None:
            progress(index + 1, len(files))
