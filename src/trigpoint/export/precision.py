"""float16 and int8: the networks of a graph in less precision, everything around them as it was."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, inliner

from trigpoint.data.pixels.images import ImageData, read_image
from trigpoint.export.assembly import Parts, assemble
from trigpoint.export.writing import about, model_bytes
from trigpoint.methods.graph import GraphStep
from trigpoint.prediction import Predictor
from trigpoint.prediction.exported import ExportedPredictor
from trigpoint.prediction.onnx_runtime import onnx_runtime

CALIBRATED = 32  # images, evenly spread over those given; more hardly move the ranges
WEIGHTED = ("Conv", "MatMul", "Gemm")  # operators that int8 computes

Inputs = dict[int, list[npt.NDArray[np.float32]]]  # of the networks, by the id of a step's module


def lowered(
    parts: Parts, steps: Sequence[GraphStep], predictor: Predictor, images: Sequence[Path], precision: str
) -> Parts:
    """The parts with the networks among them in ``precision``; int8 is calibrated on ``images``."""
    if precision == "float32":
        return parts
    networks = {id(step.module) for step in steps if step.network}
    plain = {key: inliner.inline_local_functions(parts[key]) for key in networks}
    if precision == "float16":
        return parts | {key: _half(model) for key, model in plain.items()}
    chosen = [images[i] for i in np.unique(np.linspace(0, len(images) - 1, CALIBRATED).round().astype(int))]
    seen = _network_inputs(parts, steps, predictor, [read_image(file) for file in chosen])
    return parts | {key: _eight_bits(model, seen[key]) for key, model in plain.items()}


def _half(model: ModelProto) -> ModelProto:
    """A model that computes in float16 and takes and gives float32."""
    onnx_runtime()
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with _unlogged():  # that weights are below its least number
        made: ModelProto = convert_float_to_float16(model, keep_io_types=True)
        OnnxModel.graph_topological_sort(made.graph)  # the casts that it adds stand at the end
    return made


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without the warnings and advice of libraries, which are for those who call them."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _network_inputs(
    parts: Parts, steps: Sequence[GraphStep], predictor: Predictor, images: Sequence[ImageData]
) -> Inputs:
    """What each network of the graph is fed for some images."""
    taken = {step.takes[0]: id(step.module) for step in steps if step.network}
    shapes = {name: _shape(parts[key]) for name, key in taken.items()}
    model = assemble(predictor, steps, parts, watched=shapes)
    watching = ExportedPredictor.of(model_bytes(model, about(predictor)), "calibration", "cpu")
    found: Inputs = {key: [] for key in taken.values()}
    for image in images:
        values = watching.outputs(image)
        for name, key in taken.items():
            found[key].append(values[f"watched.{name}"].astype(np.float32))
    return found


def _shape(model: ModelProto) -> list[int]:
    return [int(axis.dim_value) for axis in model.graph.input[0].type.tensor_type.shape.dim]


def _eight_bits(model: ModelProto, inputs: Sequence[npt.NDArray[np.float32]]) -> ModelProto:
    """A model whose convolutions and products compute in int8, all but ``_kept``.

    The ranges of their inputs are those met with ``inputs``.
    """
    onnx_runtime()
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = model.graph.input[0].name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.values: Iterator[Any] = iter([{name: one} for one in inputs])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.values, None)

    with tempfile.TemporaryDirectory() as folder, _unlogged():
        place = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            place,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(WEIGHTED),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept(model),
        )
        return onnx.load(place)


def _kept(model: ModelProto) -> list[str]:
    """Names of what stays in float32: the first operator with weights, which sees the image itself, the last, which
    decides on fractions of a cell, and convolutions of single channels, whose few weights are hardly worth it.

    Of a U-Net with an encoder of depthwise convolutions, this makes the points five times nearer to those of the run
    and the file a tenth larger.
    """
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED]
    depthwise = [node for node in weighted if any(one.name == "group" and one.i > 1 for one in node.attribute)]
    return [node.name for node in (*weighted[:1], *depthwise, *weighted[-1:])]
