"""A small multi-instance set that is learned in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from trigpoint.config import to_yaml

NAMES = ("light", "dark")
SIZE = (48, 64)


def write_spots(folder: Path, count: int, seed: int = 0) -> Path:
    """Grey images with 0 to 3 light and 0 to 2 dark spots; every fifth image says nothing of the dark ones."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    rows: list[dict[str, Any]] = []
    for index in range(count):
        image = 128 + 4 * rng.standard_normal(SIZE)
        places = [(gx + rng.uniform(-2, 2), gy + rng.uniform(-2, 2)) for gx in (10, 32, 54) for gy in (12, 36)]
        rng.shuffle(places)
        lights, darks = places[: rng.integers(0, 4)], places[3 : 3 + rng.integers(0, 3)]
        for sign, spots in ((1, lights), (-1, darks)):
            for px, py in spots:
                image += sign * 100 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8)
        name = f"{index:02d}.png"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        unknown = index % 5 == 4
        about = {"image": name, "split": "train" if index < count - 12 else "val" if index < count - 6 else "test"}
        for n in range(max(len(lights), len(darks), 1)):
            row: dict[str, Any] = {**about, "instance": str(n) if lights or darks else ""}
            if n < len(lights):
                row |= {"light_x": lights[n][0], "light_y": lights[n][1], "light_v": 2}
            if unknown:
                row["dark_v"] = 0
            elif n < len(darks):
                row |= {"dark_x": darks[n][0], "dark_y": darks[n][1], "dark_v": 2}
            rows.append(row)
    columns = ["image", "split", "instance", *(f"{name}_{part}" for name in NAMES for part in "xyv")]
    table = pd.DataFrame(rows, columns=columns)
    for name in NAMES:
        table[f"{name}_v"] = table[f"{name}_v"].astype("Int64")
    table.to_csv(folder / "landmarks.csv", index=False)
    (folder / "dataset.yaml").write_text(
        to_yaml({"name": "spots", "images": "images", "table": "landmarks.csv", "instances": True})
    )
    return folder
