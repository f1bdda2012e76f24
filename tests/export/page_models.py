"""What the tests of the exported page share: a small network that was never trained, and images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from trigpoint.config import parse
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import build_method
from trigpoint.prediction import Predictor
from trigpoint.recipe import Recipe

NAMES = ("tip", "elbow", "never")
VALUES: dict[str, Any] = {
    "data": {"input": {"size": [48, 40]}},
    "method": {"name": "heatmap", "network": {"name": "unet", "width": 4, "depth": 2}, "schedule": "fixed"},
}


def a_predictor(method_name: str = "heatmap", schedule: Any = "fixed") -> Predictor:
    torch.manual_seed(0)
    values = VALUES | {"method": VALUES["method"] | {"name": method_name, "schedule": schedule}}
    recipe, marks = parse(Recipe, values), LandmarkSet(NAMES, skeleton=(("tip", "elbow"),))
    method = build_method(recipe, marks)
    return Predictor(method, recipe, marks, np.array([3.0, np.nan, 2.0]), "cpu", scale=2.5, untaught=["never"])


def draw(folder: Path, count: int = 2) -> list[Path]:
    """Blobs on noise, of several sizes; the last has 16 bits."""
    rng = np.random.default_rng(0)
    files = [folder / f"{i}.png" for i in range(count)]
    for i, file in enumerate(files):
        height, width = (120, 90) if i % 2 == 0 else (64, 150)
        y, x = np.mgrid[:height, :width]
        values = 60 + 20 * rng.standard_normal((height, width))
        values += 150 * np.exp(-((x - 0.3 * width) ** 2 + (y - 0.6 * height) ** 2) / 60)
        pixels = values.clip(0, 255)
        deep = i == count - 1
        Image.fromarray((pixels * 257).astype(np.uint16) if deep else pixels.astype(np.uint8)).save(file)
    return files
