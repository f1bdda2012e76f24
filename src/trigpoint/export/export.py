"""``export_run``: from a run folder to a checked ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np
import torch

from trigpoint.data import LandmarkDataset
from trigpoint.data.files import refuse_existing, write_bytes
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.export.assembly import assemble, translate
from trigpoint.export.checking import Difference, differences
from trigpoint.export.precision import lowered
from trigpoint.export.writing import about, model_bytes, origin
from trigpoint.prediction import Predictor
from trigpoint.prediction.exported import ExportedPredictor
from trigpoint.runs import RunFolder

Made = TypeVar("Made")
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
TOLERANCE = 0.05
"""Original pixels that a point of a float32 file may differ from that of the run."""


class Checked(NamedTuple):
    """What a check found: images tried (in all forms), and how far points were from those of the run, original pixels,
    at most and on average."""

    images: int
    largest: float
    mean: float


@dataclass(frozen=True)
class Exported:
    """A written file and what its check found: images tried (in all forms), and how far its points were from those of
    the run, original pixels, at most and on average."""

    file: Path
    images: int
    largest: float
    mean: float


def export_run(
    run: str | Path | RunFolder,
    out: str | Path,
    *,
    precision: Precision = "float32",
    check: Sequence[Path] | None = None,
    tolerance: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Write a run as one ONNX file ``out``, and check it on images: its validation images, or ``check``.

    ``tolerance``: how far a point may be from that of the run, original pixels; None: ``TOLERANCE`` in float32, and no
    limit in less precision, whose cost the result tells. Nothing is written that fails. Raises RunError for a run that
    cannot be read or a file that finds other points, naming the image; DataError without images to check on;
    ConfigError for a network that ONNX cannot hold.
    """
    return of_run(export_predictor, run, Path(out), ".onnx", precision, check, tolerance, overwrite, progress)


def of_run(
    write: Callable[..., Made],
    run: str | Path | RunFolder,
    target: Path,
    suffix: str,
    precision: Precision,
    check: Sequence[Path] | None,
    tolerance: float | None,
    overwrite: bool,
    progress: Callable[[int, int], None] | None,
) -> Made:
    """Let ``write``, which takes what ``export_predictor`` does, write a run, once its file is known to be writable."""
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    if target.suffix.lower() != suffix:
        raise ConfigError(f"{target}: expected a name that ends in {suffix}, got '{target.suffix}'; rename it")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    refuse_existing(target, overwrite)
    predictor = Predictor.load(folder, "cpu")
    images = list(check) if check else validation_images(folder)
    return write(
        predictor,
        target,
        images,
        precision,
        tolerance=tolerance,
        overwrite=overwrite,
        progress=progress,
        origin=origin(folder),
    )


def export_predictor(
    predictor: Predictor,
    target: Path,
    images: Sequence[Path],
    precision: Precision = "float32",
    *,
    tolerance: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Exported:
    """As ``export_run`` for a predictor on the CPU; ``origin``: what the file says of where it comes from."""
    data, checked = checked_model(
        predictor, target, images, precision, tolerance=tolerance, progress=progress, origin=origin
    )
    write_bytes(target, data, overwrite=overwrite)
    return Exported(target, *checked)


def checked_model(
    predictor: Predictor,
    target: Path,
    images: Sequence[Path],
    precision: Precision = "float32",
    *,
    tolerance: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> tuple[bytes, Checked]:
    """The bytes of the file, and what its check found; ``target`` names it in errors. As ``export_predictor``."""
    steps, input = predictor.method.graph_steps(), predictor.recipe.data.input
    example = torch.randn(1, input.channels, *input.size, generator=torch.Generator().manual_seed(0))
    parts = lowered(translate(steps, example), steps, predictor, images, precision)
    model, said = assemble(predictor, steps, parts), about(predictor, precision) | dict(origin or {})
    made = ExportedPredictor.of(model_bytes(model, said), target, "cpu")
    limit = limit_of(precision, tolerance)
    found = []
    for one in differences(predictor, made, images, progress=progress):
        refuse_farther(one, limit)
        found.append(one)
    checked = summary(found)
    said["check"] = {
        "images": checked.images,
        "largest_px": _plain(checked.largest),
        "mean_px": _plain(checked.mean),
        "limit_px": limit,
    }
    return model_bytes(model, said), checked


def limit_of(precision: str, tolerance: float | None) -> float | None:
    """Original pixels that a point may differ; None: any."""
    return TOLERANCE if tolerance is None and precision == "float32" else tolerance


def summary(found: Sequence[Difference]) -> Checked:
    """Differences of images as one result."""
    moved = np.concatenate([np.zeros(0), *(one.moved for one in found)])
    return Checked(
        len(found), max((one.largest for one in found), default=0.0), float(moved.mean()) if len(moved) else 0.0
    )


def refuse_farther(found: Difference, limit: float | None) -> None:
    """Raise RunError for an image in which a point is lost, or farther away than ``limit``."""
    lost = bool(found.landmark) and not np.isfinite(found.largest)
    if not lost and (limit is None or found.largest <= limit):
        return
    what = "another number of instances"
    if found.landmark:
        what = f"'{found.landmark}' " + ("only in one of the two" if lost else f"{found.largest:.3g} px away")
    wanted = "the points of the run" if limit is None else f"the points of the run within {limit:g} px"
    raise RunError(
        f"export: expected {wanted}, got {what} in {found.image}; nothing was written. Predict with the run folder "
        "itself, or allow more: --tolerance PIXELS"
    )


def validation_images(folder: RunFolder) -> list[Path]:
    """The images that the run was validated on. Raises DataError where they are not there."""
    recipe, names = folder.located(), folder.parts().get("val", [])
    wanted = "give images to check the export on: --check IMAGES"
    if not names or recipe.data.path is None:
        raise DataError(f"{folder.folder}: expected a run with validation images, got none; {wanted}")
    try:
        data = LandmarkDataset.load(recipe.data.path, check_images=False)
    except DataError as error:
        raise DataError(f"{folder.folder}: its validation images cannot be read ({error}); {wanted}") from None
    files = {data.image_name(sample): sample.image for sample in data.samples}
    found = [files[name] for name in names if name in files and files[name].exists()]
    if not found:
        raise DataError(f"{folder.folder}: its validation images are no longer in {recipe.data.path}; {wanted}")
    return found


def _plain(value: float) -> float | None:
    return round(value, 5) if np.isfinite(value) else None
