"""Drawn shapes that tests of audits share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import FloatArray, LandmarkSet

NAMES = ("l_eye", "r_eye", "nose", "l_mouth", "r_mouth", "chin", "l_ear", "r_ear")
PAIRS = (("l_eye", "r_eye"), ("l_mouth", "r_mouth"), ("l_ear", "r_ear"))
FACE = np.array([[70, 40], [30, 40], [50, 60], [62, 78], [38, 78], [50, 96], [92, 52], [8, 52]], float)


def shapes(count: int, seed: int = 0) -> FloatArray:
    """Faces (N, 8, 2), turned, scaled and moved, with labels that are off by a pixel."""
    rng = np.random.default_rng(seed)
    turn, scale = rng.normal(0, 0.15, count), np.exp(rng.normal(0, 0.1, count))
    wide = 1 + rng.normal(0, 0.05, (count, 1))
    faces = FACE[None] * np.stack([wide, np.ones_like(wide)], -1)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    turned = np.einsum("nij,nkj->nki", np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1), faces)
    return turned + rng.normal(0, 30, (count, 1, 2)) + rng.normal(0, 1.0, faces.shape)


def dataset(points: FloatArray, images: Path | None = None, subjects: list[str] | None = None) -> LandmarkDataset:
    names = [f"{i}.png" if images is None else str(images / f"{i}.png") for i in range(len(points))]
    columns = {"image": names, **({} if subjects is None else {"subject": subjects})}
    for k, name in enumerate(NAMES):
        columns |= {f"{name}_x": points[:, k, 0], f"{name}_y": points[:, k, 1]}
    return LandmarkDataset.from_table(pd.DataFrame(columns), landmarks=LandmarkSet(NAMES, PAIRS))
