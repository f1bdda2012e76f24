"""``export_run``: from a run folder to a checked ONNX file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import torch
from onnx import ModelProto

from trigpoint import __version__
from trigpoint.config import to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.files import refuse_existing, write_bytes
from trigpoint.errors import ConfigError, DataError, RunError
from trigpoint.export.assembly import assemble, translate
from trigpoint.export.checking import differences
from trigpoint.export.nodes import IR_VERSION, OPSET
from trigpoint.export.precision import lowered
from trigpoint.landmarks import COVERAGE, plain_spacing
from trigpoint.nn.pretrained import notes
from trigpoint.prediction import Predictor
from trigpoint.prediction.exported import ExportedPredictor
from trigpoint.prediction.model_file import ABOUT_KEY, FORMAT, FORMAT_KEY, HASH_KEY, NO_HASH, PRODUCER, sealed
from trigpoint.runs import RunFolder, environment_text

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
TOLERANCE = 0.05
"""Original pixels that a point of a float32 file may differ from that of the run."""
LEAST_RUNTIME = "1.18"
"""The first onnxruntime that reads files of this ``IR_VERSION``."""
_LARGEST = 2**31 - 2**20  # bytes
_SPACING = "millimetres only from a spacing (x, y) that an image states itself; none is assumed"
_LICENCE = (
    "This file holds the weights of a run, which belong to who trained it; its graph is made by trigpoint, MIT licence. "
    "Weights that training began from keep their own licence, see weights."
)


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
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    target = Path(out)
    if target.suffix.lower() != ".onnx":
        raise ConfigError(f"{target}: expected a name that ends in .onnx, got '{target.suffix}'; rename it")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    refuse_existing(target, overwrite)
    predictor = Predictor.load(folder, "cpu")
    images = list(check) if check else validation_images(folder)
    steps = predictor.method.graph_steps()
    input = predictor.recipe.data.input
    example = torch.randn(1, input.channels, *input.size, generator=torch.Generator().manual_seed(0))
    parts = lowered(translate(steps, example), steps, predictor, images, precision)
    model, about = assemble(predictor, steps, parts), _about(folder, predictor, precision)
    made = ExportedPredictor.of(_bytes(model, about), target, "cpu")
    limit = TOLERANCE if tolerance is None and precision == "float32" else tolerance
    moved, tried, largest = [np.zeros(0)], 0, 0.0
    for one in differences(predictor, made, images, progress=progress):
        if limit is not None and not one.largest <= limit:
            where = f"'{one.landmark}' {one.largest:.3g} px away" if one.landmark else "another number of instances"
            raise RunError(
                f"export: expected the points of the run within {limit:g} px, got {where} in {one.image}; nothing was "
                "written. Predict with the run folder itself, or allow more: --tolerance"
            )
        moved, tried, largest = [*moved, one.moved], tried + 1, max(largest, one.largest)
    every = np.concatenate(moved)
    mean = float(every.mean()) if len(every) else 0.0
    about["check"] = {"images": tried, "largest_px": _plain(largest), "mean_px": _plain(mean), "limit_px": limit}
    data = _bytes(model, about)
    write_bytes(target, data, overwrite=overwrite)
    return Exported(target, tried, largest, mean)


def validation_images(folder: RunFolder) -> list[Path]:
    """The images that the run was validated on. Raises DataError where they are not there."""
    recipe, names = folder.recipe(), folder.parts().get("val", [])
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


def _about(folder: RunFolder, predictor: Predictor, precision: str) -> dict[str, Any]:
    """What the file says of itself."""
    marks, recipe = folder.read_landmarks(), predictor.recipe
    radii = [None if np.isnan(r) else float(r) for r in predictor.radii]
    own = folder.env.read_text(encoding="utf-8", errors="replace") if folder.env.is_file() else ""
    _, note = folder.load_weights()
    return {
        "landmarks": predictor.landmarks.to_dict(),
        "spacing_mm": plain_spacing(marks.spacing_mm),
        "spacing_rule": _SPACING,
        "points": "x and y in pixels of the image as stored and upright, the centre of the top-left pixel is (0, 0)",
        "method": predictor.method_name,
        "input": recipe.data.input.model_dump(mode="json"),
        "radius_px": radii,
        "radius_coverage": COVERAGE,
        "radius_scale": predictor.scale,
        "threshold": predictor.threshold,
        "untaught": list(predictor.untaught),
        "precision": precision,
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "runtime": {"onnxruntime_least": LEAST_RUNTIME, "onnxruntime_checked": version("onnxruntime")},
        "made_by": f"trigpoint {__version__}",
        "licence": _LICENCE,
        "weights": notes(recipe),
        "run": {"name": recipe.name, "chosen": note, "environment": own.splitlines(), "config": to_yaml(recipe)},
        "exported_with": environment_text().splitlines(),
    }


def _bytes(model: ModelProto, about: dict[str, Any]) -> bytes:
    """The model with what it says of itself, as it is written."""
    made = ModelProto()
    made.CopyFrom(model)
    made.producer_name, made.producer_version = PRODUCER, __version__
    entries = {FORMAT_KEY: str(FORMAT), ABOUT_KEY: json.dumps(about, ensure_ascii=False), HASH_KEY: NO_HASH}
    onnx.helper.set_model_props(made, entries)
    if made.ByteSize() > _LARGEST:
        raise ConfigError(
            f"export: expected a model of at most 2 GB, which an ONNX file can hold, got {made.ByteSize() / 2**30:.1f}"
            " GB; try --precision float16"
        )
    return sealed(made.SerializeToString(deterministic=True))
