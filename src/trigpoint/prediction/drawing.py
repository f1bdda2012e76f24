"""Images with what was found in them, one picture each."""

from collections.abc import Sequence
from pathlib import Path

from trigpoint.data.pixels.images import read_image
from trigpoint.data.tiled import open_tiled
from trigpoint.geometry import to_grid
from trigpoint.landmarks import Prediction
from trigpoint.prediction.base import Progress, is_lazy
from trigpoint.prediction.predictor import Predictor
from trigpoint.prediction.trace import trace
from trigpoint.report import prediction_overlay, save
from trigpoint.report.overlays import as_displayed


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


def draw_traces(
    predictor: Predictor,
    files: Sequence[Path],
    paths: Sequence[Path],
    stacks: Sequence[Path],
    progress: Progress | None = None,
) -> None:
    """Draw how a run that looks at glimpses came to its points in each image: the path, and what it saw at its end."""
    for index, (file, path, stack) in enumerate(zip(files, paths, stacks, strict=True)):
        followed = trace(predictor, file)
        save(followed.guess_path(), path)
        save(followed.glimpse_stack(), stack)
        if progress is not None:
            progress(index + 1, len(files))
