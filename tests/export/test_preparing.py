"""The beginning of a graph gives the numbers that ``InputPipeline`` gives, for images of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnx import TensorProto

from trigpoint.data.input.augment import InputPipeline
from trigpoint.export.nodes import Graph
from trigpoint.export.preparing import prepare
from trigpoint.landmarks import LandmarkSet
from trigpoint.recipe import InputConfig

INPUTS = {
    "letterbox": InputConfig(size=(64, 48)),
    "crop": InputConfig(
        size=(64, 48), fit="crop", channels=3, normalize="fixed", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)
    ),
    "stretch": InputConfig(size=(63, 48), fit="stretch", normalize="unit"),
    "region": InputConfig(size=(64, 64), region=(0.1, 0.2, 0.7, 0.9)),
}
IMAGES: dict[str, tuple[tuple[int, int, int], Any, tuple[float, float]]] = {  # shape, type, black and white
    "larger": ((1, 300, 200), np.uint8, (0, 255)),
    "colour of 16 bits": ((3, 97, 131), np.uint16, (0, 65535)),
    "numbers, very wide": ((1, 33, 1000), np.float32, (0.0, 3.0)),
    "as the input": ((1, 64, 48), np.uint8, (0, 255)),
    "smaller, odd": ((3, 31, 22), np.uint8, (0, 255)),
    "two and a half times as large": ((1, 160, 120), np.uint8, (0, 255)),  # rounding decides on the blocks
    "a pixel": ((3, 1, 1), np.uint8, (0, 255)),
    "12 bits of 16": ((1, 641, 481), np.uint16, (0, 4095)),
}


def session(input: InputConfig) -> onnxruntime.InferenceSession:
    g = Graph()
    prepared, back = prepare(g, "image", "value_range", input)
    g.name(prepared, "input")
    fields = ("x", "y", "left", "top")
    for name in fields:
        g.name(getattr(back, name), name)
    numbers = dict.fromkeys(fields, (TensorProto.DOUBLE, []))
    made = g.model(
        {"image": (TensorProto.FLOAT, ["H", "W", "C"]), "value_range": (TensorProto.FLOAT, [2])},
        {"input": (TensorProto.FLOAT, [1, "c", "h", "w"]), **numbers},
    )
    return onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])


def drawn(shape: tuple[int, int, int], kind: Any, ends: tuple[float, float]) -> npt.NDArray[Any]:
    values = np.random.default_rng(0).random(shape) * ends[1]
    return values.astype(kind)


@pytest.mark.parametrize("name", INPUTS)
def test_a_graph_prepares_images_as_training_does(name: str) -> None:
    input = INPUTS[name]
    run = session(input)
    for what, (shape, kind, ends) in IMAGES.items():
        image = drawn(shape, kind, ends)
        given = {
            "image": np.moveaxis(image, 0, -1).astype(np.float32),
            "value_range": np.array(ends, np.float32),
        }
        prepared, x, y, left, top = run.run(None, given)
        expected, _, back = InputPipeline(input, LandmarkSet(()))(image, None, value_range=ends)
        np.testing.assert_allclose(prepared[0], expected.numpy(), atol=1e-4, err_msg=what)
        np.testing.assert_array_equal([[x, 0, left], [0, y, top]], back.numpy(), err_msg=what)


def test_an_image_of_one_value_is_prepared_as_in_training() -> None:
    for value in (0, 7, 255):
        image = np.full((1, 50, 60), value, np.uint8)
        given = {"image": np.moveaxis(image, 0, -1).astype(np.float32), "value_range": np.array([0, 255], np.float32)}
        prepared = session(INPUTS["letterbox"]).run(["input"], given)[0]
        assert not prepared.any()
