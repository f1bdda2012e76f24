"""What an exported model says of itself, and the bytes of its file."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from trigpoint import __version__
from trigpoint.config import to_yaml
from trigpoint.errors import ConfigError
from trigpoint.export.nodes import IR_VERSION, OPSET
from trigpoint.landmarks import COVERAGE, plain_spacing
from trigpoint.nn.pretrained import notes
from trigpoint.prediction import Predictor
from trigpoint.prediction.model_file import ABOUT_KEY, FORMAT, FORMAT_KEY, HASH_KEY, NO_HASH, PRODUCER, sealed
from trigpoint.runs import RunFolder, environment_text
from trigpoint.runs.record import CARD

LEAST_RUNTIME = "1.18"
"""The first onnxruntime that reads files of this ``IR_VERSION``."""
_LARGEST = 2**31 - 2**20  # bytes
_SPACING = "millimetres only from a spacing (x, y) that an image states itself; none is assumed"
_LICENCE = (
    "This file holds the weights of a run, which belong to who trained it; its graph is made by trigpoint, MIT "
    "licence. Weights that training began from keep their own licence, see weights."
)


def about(predictor: Predictor, precision: str = "float32") -> dict[str, Any]:
    """What predicting with the file needs to know, and how it was made."""
    recipe = predictor.recipe
    radii = [None if np.isnan(r) else float(r) for r in predictor.radii]
    return {
        "landmarks": predictor.landmarks.to_dict(),
        "spacing_rule": _SPACING,
        "points": "x and y in pixels of the image as stored and upright, the centre of the top-left pixel is (0, 0)",
        "method": predictor.method_name,
        "input": recipe.data.input.model_dump(mode="json"),
        "radius_px": radii,
        "radius_coverage": COVERAGE,
        "radius_scale": predictor.scale,
        "trust": None if predictor.trust is None else predictor.trust.to_dict(),
        "validated_subjects": predictor.validated,
        "measurement_widths": {
            name: {unit: float(half) if np.isfinite(half) else None for unit, half in by_unit.items()}
            for name, by_unit in predictor.widths.items()
        },
        "threshold": predictor.threshold,
        "untaught": list(predictor.untaught),
        "precision": precision,
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "runtime": {"onnxruntime_least": LEAST_RUNTIME, "onnxruntime_checked": version("onnxruntime")},
        "made_by": f"trigpoint {__version__}",
        "licence": _LICENCE,
        "weights": notes(recipe),
        "exported_with": environment_text().splitlines(),
    }


def origin(folder: RunFolder) -> dict[str, Any]:
    """Where a run comes from: its recipe, how its weights were chosen, and what it was trained with."""
    own = folder.env.read_text(encoding="utf-8", errors="replace") if folder.env.is_file() else ""
    recipe, (_, note) = folder.recipe(), folder.load_weights()
    spacing, file = plain_spacing(folder.read_landmarks().spacing_mm), folder.folder / CARD
    told = file.read_text(encoding="utf-8") if file.is_file() else None
    run = {"name": recipe.name, "chosen": note, "environment": own.splitlines(), "config": to_yaml(recipe)}
    return {"spacing_mm": spacing, "run": run, "card": told}


def model_bytes(model: ModelProto, said: dict[str, Any]) -> bytes:
    """The model with what it says of itself, as it is written."""
    made = ModelProto()
    made.CopyFrom(model)
    made.producer_name, made.producer_version = PRODUCER, __version__
    entries = {FORMAT_KEY: str(FORMAT), ABOUT_KEY: json.dumps(said, ensure_ascii=False), HASH_KEY: NO_HASH}
    onnx.helper.set_model_props(made, entries)
    if made.ByteSize() > _LARGEST:
        raise ConfigError(
            f"export: expected a model of at most 2 GB, which an ONNX file can hold, got {made.ByteSize() / 2**30:.1f}"
            " GB; try --precision float16"
        )
    return sealed(made.SerializeToString(deterministic=True))


def about_of(data: bytes) -> dict[str, Any]:
    """What the bytes of a model say of it."""
    entries = {one.key: one.value for one in onnx.load_from_string(data).metadata_props}
    return dict(json.loads(entries[ABOUT_KEY]))
