"""Is it told when images are not as those of training? ``python -m benchmarks domain RUN DATA`` changes test images as
another clinic's would differ (a larger figure, another pose, other exposure) and says what is flagged, how often errors
stay below their radius there, and what ``predict`` would print.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import read_image
from trigpoint.landmarks import COVERAGE, FloatArray
from trigpoint.metrics.trust import UNLIKE, Trust
from trigpoint.prediction import Predictor


class Change(NamedTuple):
    """The figure ``scale`` times as large and turned by ``degrees`` (to the left) about the image's centre, and pixels
    ``gain`` times as bright."""

    scale: float = 1.0
    degrees: float = 0.0
    gain: float = 1.0

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """8-bit pixels (C, H, W) after the change; what lay outside is mean grey."""
        height, width = pixels.shape[1:]
        turn = self._turn() / self.scale**2  # the inverse: from the new image into the old one
        x, y = width / 2, height / 2  # of corners, as Pillow has them
        a, b, c, d = turn.T.ravel()
        grey = round(float(pixels.mean()))
        rows = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
        drawn = PIL.Image.fromarray(rows).transform(
            (width, height),
            PIL.Image.Transform.AFFINE,
            (a, b, x - a * x - b * y, c, d, y - c * x - d * y),
            PIL.Image.Resampling.BICUBIC,
            fillcolor=grey if rows.ndim == 2 else (grey,) * 3,
        )
        changed = np.clip(np.asarray(drawn) * self.gain, 0, 255).astype(np.uint8)
        return changed[None] if rows.ndim == 2 else np.moveaxis(changed, -1, 0)

    def points(self, points: FloatArray, width: int, height: int) -> FloatArray:
        """Where points (..., 2) of the old image lie in the new one, pixels."""
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        moved: FloatArray = (points - centre) @ self._turn().T + centre
        return moved

    def _turn(self) -> FloatArray:
        cos, sin = math.cos(math.radians(self.degrees)), math.sin(math.radians(self.degrees))
        return self.scale * np.array([[cos, sin], [-sin, cos]])


CHANGES = {
    "none": Change(),
    "figure 26 % larger": Change(scale=1.26),
    "figure 26 % smaller": Change(scale=1 / 1.26),
    "turned by 20 degrees": Change(degrees=20),
    "half as bright": Change(gain=0.5),
}


class Outcome(NamedTuple):
    """Mean error, pixels; share of errors below the radius; of images ``unlike``, and flagged; what is told."""

    error: float
    covered: float
    unlike: float
    flagged: float
    told: str


def outcome(predictor: Predictor, trust: Trust, data: LandmarkDataset, change: Change) -> Outcome:
    """What a run finds in the changed images of ``data``; points that leave the image do not count."""
    images, truths = [], []
    for sample in data.samples:
        pixels = np.asarray(read_image(sample.image).pixels)
        height, width = pixels.shape[1:]
        images.append(change.image(pixels))
        points = change.points(sample.points, width, height)
        inside = ((points >= 0) & (points <= [width - 1, height - 1])).all(-1)
        truths.append(np.where(inside[:, None], points, np.nan))
    found = predictor.predict(images)
    errors = np.linalg.norm(found.points - np.stack(truths), axis=-1)
    known = np.isfinite(errors)
    flags = np.array(trust.flags(found.detections))
    return Outcome(
        float(errors[known].mean()),
        float((errors <= found.radius)[known].mean()),
        float((flags == UNLIKE).mean()),
        float((flags != "").mean()),
        "; ".join(trust.told(found.detections)),
    )


def main(arguments: Sequence[str]) -> str:
    """Measure, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks domain", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("data", type=Path, help="the dataset that it was trained on")
    parser.add_argument("--split", default="test", help="of 8-bit images that it did not learn from")
    parser.add_argument("--images", type=int, default=100, help="how many of them, drawn at random")
    chosen = parser.parse_args(list(arguments))
    predictor = Predictor.load(chosen.run)
    if predictor.trust is None:
        raise SystemExit(f"{chosen.run}: expected a run that was validated on 20 subjects or more, got fewer")
    data = LandmarkDataset.load(chosen.data, split=chosen.split).aligned(predictor.landmarks.names)
    drawn = np.random.default_rng(0).permutation(len(data))[: chosen.images]
    data = data.subset(sorted(int(i) for i in drawn))
    head = ["change", "error px", f"below the {COVERAGE:.0%} radius", "unlike", "flagged", "what is told"]
    lines = [head, ["---", "---:", "---:", "---:", "---:", "---"]]
    for name, change in CHANGES.items():
        one = outcome(predictor, predictor.trust, data, change)
        shares = [f"{100 * share:.0f} %" for share in (one.covered, one.unlike, one.flagged)]
        lines.append([name, f"{one.error:.2f}", *shares, one.told])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\n{len(data)} images."
