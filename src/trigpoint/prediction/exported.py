"""``ExportedPredictor``: a model exported to ONNX applied to images. Needs onnxruntime, and no PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from trigpoint.data.tiled.image import open_tiled
from trigpoint.data.tiled.reduced import reduced
from trigpoint.errors import ConfigError, RunError
from trigpoint.geometry.points import fit, from_grid
from trigpoint.landmarks import LandmarkSet
from trigpoint.machine import usable_cores
from trigpoint.metrics.domain import look_of
from trigpoint.metrics.trust import Trust
from trigpoint.prediction.base import Found, Image, ImagePredictor, Stored, is_lazy, stored_pixels
from trigpoint.prediction.model_file import read_about, read_model
from trigpoint.prediction.onnx_runtime import onnx_runtime

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
_ROUNDING = 1 - 1e-5  # of a threshold, which was the score of an instance: that one is still found
_BESIDE = ("spread",)  # outputs that stand beside the points
_LARGE = 4_000_000  # pixels of an image whose memory is given back after it; else a service keeps that of its largest


class ExportedPredictor(ImagePredictor):
    """Finds the landmarks of an exported model in images of any size; see ``load`` and ``predict``.

    ``about``: what the file says of itself, among it its licence and where it comes from.
    """

    concurrent = True

    def __init__(self, session: Any, about: dict[str, Any]) -> None:
        landmarks = LandmarkSet.from_dict(about["landmarks"])
        radii = np.array([np.nan if r is None else r for r in about["radius_px"]], np.float64)
        super().__init__(landmarks, radii, about["radius_scale"], about["untaught"])
        self.widths = {
            name: {unit: np.nan if half is None else half for unit, half in by_unit.items()}
            for name, by_unit in about.get("measurement_widths", {}).items()
        }
        self.method_name = about["method"]
        self.about, self._session = about, session
        self.trust = None if about.get("trust") is None else Trust.from_dict(about["trust"])
        self.validated = about.get("validated_subjects")  # not in files of early versions
        self._given_back = onnx_runtime().RunOptions()
        self._given_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._outputs = [output.name for output in session.get_outputs()]
        self._threshold: float | None = about["threshold"]

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> ExportedPredictor:
        """Read a model that ``trigpoint export`` wrote. ``device``: cpu, cuda, mps or auto.

        Raises RunError for a file that is damaged, of another tool or too new, ConfigError for a device that is not
        there, and where onnxruntime is missing or lacks an operator.
        """
        return cls.of(read_model(path), path, device)

    @classmethod
    def of(cls, data: bytes, path: str | Path, device: str = "auto") -> ExportedPredictor:
        """As ``load`` for the bytes of a model that were read, or not yet written."""
        runtime = onnx_runtime()
        there = runtime.get_available_providers()
        names = [_PROVIDERS[device]] if device in _PROVIDERS else [_PROVIDERS["cuda"]] * (device == "auto")
        chosen = [name for name in names if name in there]
        if not chosen and device != "auto":
            raise ConfigError(f"device '{device}': not usable here with onnxruntime {runtime.__version__}; use cpu")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads()
        try:
            session = runtime.InferenceSession(
                data, options, providers=list(dict.fromkeys([*chosen, _PROVIDERS["cpu"]]))
            )
        except Exception as error:  # of many types, none of them public
            raise RunError(
                f"{path}: onnxruntime {runtime.__version__} cannot run this model ({_first_line(error)}); "
                "pip install --upgrade onnxruntime"
            ) from None
        return cls(session, read_about(path, session.get_modelmeta().custom_metadata_map))

    @property
    def threshold(self) -> float | None:
        return self._threshold

    def found(self, part: Sequence[Image], threshold: float | None) -> Found:
        stored = [None if is_lazy(image) else stored_pixels(image) for image in part]
        each = [self.outputs(*pair, threshold=threshold) for pair in zip(part, stored, strict=True)]
        rows = max(len(one["points"]) for one in each)
        points = np.stack([_filled(one["points"], rows, np.nan) for one in each])
        scores = np.stack([_filled(one["scores"], rows, 0.0) for one in each])
        beside = [name for name in _BESIDE if name in self._outputs]
        numbers = {name: np.stack([_filled(one[name], rows, np.nan) for one in each]) for name in beside}
        scales = [float(one["scale"]) for one in each]
        return Found(points, scores, numbers, scales, [look_of(*one) if one else None for one in stored])

    def outputs(
        self, image: Image, stored: Stored | None = None, threshold: float | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs of the graph for one image, by name, float64; of one that is read by tiles as it is smaller.
        ``stored``: its pixels, where they are read already."""
        if not is_lazy(image):
            return self._run(stored_pixels(image) if stored is None else stored, threshold)
        with open_tiled(cast(str, image)) as tiled:
            input = self.about["input"]
            to_input = fit(tiled.size, input["size"], input["fit"], input["region"])
            small, stride = reduced(tiled, 1 / max(abs(to_input.matrix[0, 0]), abs(to_input.matrix[1, 1])))
        found = self._run(stored_pixels(small), threshold)
        found["points"] = from_grid(found["points"], stride)
        return found | {name: stride * found[name] for name in ("radius", "scale", *_BESIDE) if name in found}

    def _run(self, stored: Stored, threshold: float | None) -> dict[str, npt.NDArray[Any]]:
        pixels, value_range = stored
        values = np.ascontiguousarray(np.moveaxis(pixels, 0, -1), dtype=np.float32)
        given = {"image": values, "value_range": np.array(value_range or _type_range(pixels), np.float32)}
        if self._threshold is not None:
            limit = self._threshold if threshold is None else threshold
            given["threshold"] = np.array(_ROUNDING * limit, np.float32)
        found = self._session.run(None, given, self._given_back if values.shape[0] * values.shape[1] > _LARGE else None)
        return {name: np.asarray(one, np.float64) for name, one in zip(self._outputs, found, strict=True)}


def _type_range(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """What black and white are by the type of pixels alone."""
    return (0.0, 1.0) if pixels.dtype.kind == "f" else (0.0, float(np.iinfo(pixels.dtype).max))


def _filled(values: npt.NDArray[Any], rows: int, nothing: float) -> npt.NDArray[Any]:
    """Values (m, ...) with rows of ``nothing`` up to ``rows``."""
    missing = np.full((rows - len(values), *values.shape[1:]), nothing)
    return np.concatenate([values, missing]) if len(missing) else values


def threads() -> int:
    """Threads of a session, as many as the process may use; onnxruntime would take the machine's cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    usable = usable_cores()
    return min(int(asked), usable) if asked.isdigit() and int(asked) else usable


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
