"""Models that are served in tests: a file that needs no training, and a predictor that does as it is told."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from onnx import TensorProto, helper, numpy_helper

from trigpoint.landmarks import LandmarkSet
from trigpoint.prediction.base import Found, Image, ImagePredictor
from trigpoint.prediction.model_file import ABOUT_KEY, FORMAT, FORMAT_KEY, HASH_KEY, NO_HASH, PRODUCER, sealed
from trigpoint.serving.answers import Model
from trigpoint.serving.api import Service
from trigpoint.serving.limits import Limits

NAMES = ("tip", "root")
ABOUT: dict[str, Any] = {
    "landmarks": {"landmarks": list(NAMES)},
    "radius_px": [2.0, None],
    "radius_scale": None,
    "untaught": [],
    "method": "heatmap",
    "threshold": None,
    "made_by": "trigpoint",
}


def write_model(file: Path) -> Path:
    """An exported model whose first landmark is at (mean of the pixels, 1), and whose second is always at (3, 4)."""
    constants = {
        "second": np.array([[[3.0, 4.0]]]),
        "one": np.ones((1, 1, 1)),
        "scores": np.array([[0.75, 0.5]], np.float32),
        "radius": np.array([2.0, np.nan]),
        "scale": np.array(1.0),
    }
    nodes = [helper.make_node("Constant", [], [k], value=numpy_helper.from_array(v)) for k, v in constants.items()]
    nodes += [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1),
        helper.make_node("Cast", ["mean"], ["x"], to=TensorProto.DOUBLE),
        helper.make_node("Concat", ["x", "one"], ["first"], axis=2),
        helper.make_node("Concat", ["first", "second"], ["points"], axis=1),
    ]
    taken = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, ["h", "w", "c"]),
        helper.make_tensor_value_info("value_range", TensorProto.FLOAT, [2]),
    ]
    kinds = {"points": TensorProto.DOUBLE, "scores": TensorProto.FLOAT, "radius": TensorProto.DOUBLE}
    given = [helper.make_tensor_value_info(k, t, None) for k, t in {**kinds, "scale": TensorProto.DOUBLE}.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", taken, given), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    model.producer_name = PRODUCER
    helper.set_model_props(model, {FORMAT_KEY: str(FORMAT), ABOUT_KEY: json.dumps(ABOUT), HASH_KEY: NO_HASH})
    file.write_bytes(sealed(model.SerializeToString(deterministic=True)))
    return file


class Told(ImagePredictor):
    """Finds the landmarks where the first pixels are; waits for ``go``, and keeps how many images came together."""

    method_name = "heatmap"

    def __init__(self, multi: bool = False) -> None:
        super().__init__(LandmarkSet(NAMES), np.array([2.0, np.nan]))
        self.asked = 0
        self.together: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.multi = multi
        self.broken = False

    @property
    def threshold(self) -> float | None:
        return 0.5 if self.multi else None

    def found(self, part: Sequence[Image], threshold: float | None) -> Found:
        self.asked += 1
        assert self.go.wait(60)
        self.together.append(len(part))
        if self.broken:
            raise RuntimeError("a bug")
        points = np.array([[[[image.pixels.flat[0], 1.0], [3.0, 4.0]]] for image in part], np.float64)
        high = (threshold or 0) < 0.75
        return Found(
            points, np.full(points.shape[:3], 0.75 if high else 0.0), {}, [1.0] * len(part), [None] * len(part)
        )


def service(predictor: ImagePredictor, limits: Limits | None = None, **options: Any) -> Service:
    model = Model(name="told", version="1", sha256="0" * 64, method="heatmap", trigpoint="0")
    return Service(predictor, model, limits or Limits(seconds=60.0, queue=8), **options)


def png(value: int = 7, size: tuple[int, int] = (12, 10), mode: str = "L") -> bytes:
    stream = io.BytesIO()
    PIL.Image.new(mode, size, value).save(stream, "PNG")
    return stream.getvalue()
