"""onnxruntime, which reports to nobody."""

from __future__ import annotations

import os
from typing import Any


def onnx_runtime() -> Any:
    """The package ``onnxruntime`` with its telemetry off, unless ``ORT_DISABLE_TELEMETRY=0`` is set.

    Its wheels tell Microsoft of processes, sessions and models, and keep a number of the machine in the user's cache
    folder: on Windows since long, on Linux and macOS since 2026. What runs on patients' images is not to.
    """
    off = os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1") != "0"  # read once, where the library begins
    import onnxruntime

    if off:
        onnxruntime.disable_telemetry_events()  # Windows does not read the variable
    return onnxruntime
