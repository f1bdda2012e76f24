"""One graph from stored pixels to points in original pixels, put together from the steps of a method."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn

from trigpoint.errors import ConfigError
from trigpoint.export.algebra import TRANSLATIONS
from trigpoint.export.doubting import doubt_of
from trigpoint.export.nodes import OPSET, Ends, Graph
from trigpoint.export.preparing import prepare
from trigpoint.export.shaping import likely_points
from trigpoint.geometry.graph import F32, F64, Back
from trigpoint.methods.graph import GraphStep, Nodes, Preparing, example_values
from trigpoint.prediction import Predictor

Parts = dict[int, ModelProto]  # by the id of a step's module


def translate(steps: Sequence[GraphStep], images: Tensor) -> Parts:
    """The modules of the steps as models, each once; ``images`` (1, C, h, w) is an example."""
    values = example_values(steps, images=images, threshold=torch.tensor(0.5))
    parts: Parts = {}
    for step in steps:
        if id(step.module) not in parts and not isinstance(step.module, Preparing | Nodes):
            parts[id(step.module)] = translated(step.module, tuple(values[name] for name in step.takes), step.rows)
    return parts


def translated(module: nn.Module, example: tuple[Tensor, ...], rows: bool) -> ModelProto:
    module.eval()
    varying = ({}, *({0: torch.export.Dim("rows", min=1)},) * (len(example) - 1)) if rows else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own insides
        try:
            program: Any = torch.onnx.export(
                module,
                example,
                dynamo=True,
                opset_version=OPSET,
                custom_translation_table=TRANSLATIONS,
                dynamic_shapes=None if varying is None else (varying,),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ConfigError(
                f"export: expected a network of operators that ONNX has, got one that could not be translated "
                f"({_reason(error)}); predict with the run folder itself, or train another network"
            ) from error
    made: ModelProto = program.model_proto
    return made


def _reason(error: BaseException) -> str:
    """The first line of what was behind an error of the exporter."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0][:200]


def assemble(
    predictor: Predictor,
    steps: Sequence[GraphStep],
    parts: Mapping[int, ModelProto],
    watched: Mapping[str, Sequence[int | str]] | None = None,
) -> ModelProto:
    """The whole graph; ``watched`` values of its steps, float32, by name with their shapes, are outputs as
    well, as ``watched.NAME``.

    ``image`` (H, W, 1 or 3), ``value_range`` (2,), what black and white are in it, and, of methods with one, the
    ``threshold`` that scores have to exceed, to ``points`` (M, K, 2), x and y
    in pixels of the image, ``scores`` (M, K), ``radius`` (K,) and, of methods that give it, ``spread`` (M, K).
    """
    g, input = Graph(), predictor.recipe.data.input
    values = {"threshold": "threshold"}
    values["images"], back = prepare(g, "image", "value_range", input)
    for step in steps:
        if isinstance(step.module, Preparing):
            _prepare_again(g, step, values)
            continue
        if isinstance(step.module, Nodes):
            values |= dict(zip(step.gives, step.module.nodes(g, *(values[name] for name in step.takes)), strict=True))
            continue
        for name in step.gives:
            values[name] = f"step.{name}"
        given = [values[name] for name in step.takes]
        g.use(parts[id(step.module)], given, [values[name] for name in step.gives])
    outputs = _finish(g, predictor, values, back)
    count = len(predictor.landmarks)
    ends: dict[str, Ends] = {"points": (F64, ["M", count, 2]), "scores": (F32, ["M", count]), "radius": (F64, [count])}
    ends |= {"scale": (F64, [])}
    if "spread" in outputs:
        ends["spread"] = (F64, ["M", count])
    for name, shape in (watched or {}).items():
        outputs[f"watched.{name}"] = values[name]
        ends[f"watched.{name}"] = (F32, list(shape))
    for name in ends:
        g.name(outputs[name], name)
    inputs: dict[str, Ends] = {"image": (F32, ["H", "W", "C"]), "value_range": (F32, [2])}
    if predictor.threshold is not None:
        inputs["threshold"] = (F32, [])
    return g.model(inputs, ends)


def _prepare_again(g: Graph, step: GraphStep, values: dict[str, str]) -> None:
    """Another network sees the prepared input, whose values go from 0 to 1, in another size."""
    assert isinstance(step.module, Preparing)
    image = g.Transpose(g.Squeeze(values[step.takes[0]], [0]), perm=[1, 2, 0])
    small, back = prepare(g, image, g.constant(np.array([0, 1], np.float32)), step.module.input)
    zero = g.constant(np.zeros(1))
    numbers = [back.x, zero, back.left, zero, back.y, back.top]
    rows = [g.Reshape(one, [1]) for one in numbers]
    matrix = g.Reshape(g.Concat(*rows, axis=0), [1, 2, 3])
    values |= dict(zip(step.gives, (small, matrix), strict=True))


def _finish(g: Graph, predictor: Predictor, values: Mapping[str, str], back: Back) -> dict[str, str]:
    """From input pixels to original ones; what was never taught stays blank."""
    factors, shifts = (
        g.Concat(*(g.Unsqueeze(one, [0]) for one in pair), axis=0) for pair in ((back.x, back.y), (back.left, back.top))
    )
    points = g.Add(g.Mul(g.Cast(g.Squeeze(values["points"], [0]), to=F64), factors), shifts)
    if predictor.shape is not None:
        points = likely_points(g, predictor.shape, points)
    scores = g.Cast(g.Squeeze(values["scores"], [0]), to=F32)
    scale = g.Sqrt(g.Abs(g.Mul(back.x, back.y)))
    radii = np.asarray(predictor.radii, np.float64)
    radius = g.Mul(radii, g.Div(scale, float(predictor.scale)) if predictor.scale else 1.0)
    taught = np.array([name not in predictor.untaught for name in predictor.landmarks.names])
    if predictor.trust is not None:
        said = predictor.trust.difficulty, points, scores, values.get("spread"), taught.astype(np.float64)
        radius = g.Mul(radius, doubt_of(g, *said))
    found = {"radius": radius, "scale": scale}
    if "spread" in values:
        found["spread"] = g.Mul(g.Cast(g.Squeeze(values["spread"], [0]), to=F64), scale)
    if not taught.all():
        points = g.Where(taught[:, None], points, np.nan)
        scores = g.Where(taught, scores, np.float32(np.nan if predictor.threshold is None else 0.0))
        if "spread" in found:
            found["spread"] = g.Where(taught, found["spread"], np.nan)
    return found | {"points": points, "scores": scores}
