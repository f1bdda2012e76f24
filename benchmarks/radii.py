"""Do radii hold where images are easy and where they are hard? ``python -m benchmarks radii RUN DATA``: subjects that
the run did not learn from are divided at random, some calibrate the radii, the others show how often errors stay below.

One constant radius per landmark stands beside the radius that grows with the doubt of each point.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.landmarks import COVERAGE, FloatArray, ImageDetections, LandmarkSet, Prediction
from trigpoint.methods.validation import conformal_radius
from trigpoint.metrics.trust import Trust
from trigpoint.prediction import Predictor
from trigpoint.runs import RunFolder

LARGE = 0.1  # share of the errors that count as large


class Found(NamedTuple):
    """What was found in images of ``subjects`` (N,), the ``truth`` (N, K, 2), and the labels that were learned from."""

    detections: list[ImageDetections]
    truth: FloatArray
    subjects: FloatArray
    landmarks: LandmarkSet
    shapes: FloatArray

    def part(self, rows: FloatArray) -> Prediction:
        """Some of the images."""
        chosen = [self.detections[i] for i in np.flatnonzero(rows)]
        return Prediction(chosen, self.landmarks, np.ones(len(self.landmarks)))


def found_by(run: Path, data: Path, splits: Sequence[str]) -> Found:
    """Predict the images of the splits with a run, whose training images give the shapes."""
    predictor, whole = Predictor.load(run), LandmarkDataset.load(data, check_images=False)
    names = predictor.landmarks.names
    parts = [whole.only(split).aligned(names) for split in splits]
    detections = [one for part in parts for one in predictor.predict(part).detections]
    groups = np.unique([name for part in parts for name in part.groups], return_inverse=True)[1]
    learned = set(RunFolder(run).parts()["train"])
    shapes = np.stack([s.points for s in whole.aligned(names).samples if whole.image_name(s) in learned])
    return Found(detections, np.concatenate([part.points for part in parts]), groups, predictor.landmarks, shapes)


def measured(found: Found, calibrating: int, rounds: int, seed: int = 0) -> dict[str, list[float]]:
    """Means over the rounds: share of errors below the radius in all and in thirds of doubt, median radius, of a
    constant radius and of one that grows; share of the large errors in the images flagged, and of these images."""
    rng, people = np.random.default_rng(seed), np.unique(found.subjects)
    rows: dict[str, list[list[float]]] = {"constant": [], "grows": [], "flagged": []}
    for _ in range(rounds):
        chosen = np.isin(found.subjects, rng.permutation(people)[:calibrating])
        for name, values in _round(found, chosen).items():
            rows[name].append(values)
    return {name: [float(value) for value in np.nanmean(values, axis=0)] for name, values in rows.items()}


def _round(found: Found, chosen: FloatArray) -> dict[str, list[float]]:
    known, new = found.part(chosen), found.part(~chosen)
    subjects = [str(one) for one in found.subjects[chosen]]
    fitted = Trust.fit(known, found.truth[chosen], subjects, found.shapes)
    if fitted is None:
        raise SystemExit("radii: expected at least 20 subjects to calibrate, got fewer; give --subjects 40")
    trust, own = fitted
    doubts = trust.difficulty.doubts(new.detections)
    errors = [
        np.linalg.norm(part.points - found.truth[rows], axis=-1) / part.scales[:, None]
        for part, rows in ((known, chosen), (new, ~chosen))
    ]
    third = np.digitize(doubts, np.quantile(doubts, [1 / 3, 2 / 3]))
    out = {}
    for name, before, after in (("constant", np.ones_like(own), np.ones_like(doubts)), ("grows", own, doubts)):
        radius = np.array([conformal_radius(column, subjects=subjects) for column in (errors[0] / before).T]) * after
        held = np.where(np.isfinite(errors[1]), errors[1] <= radius, np.nan)
        parts = [float(np.nanmean(held[third == i])) for i in range(3)]
        out[name] = [float(np.nanmean(held)), *parts, float(np.nanmedian(radius * new.scales[:, None]))]
    flags = np.array([bool(flag) for flag in trust.flags(new.detections)])
    pixels = errors[1] * new.scales[:, None]
    large = pixels > np.nanquantile(pixels, 1 - LARGE)
    out["flagged"] = [float(large[flags].sum() / large.sum()), float(flags.mean())]
    return out


def main(arguments: Sequence[str]) -> str:
    """Measure, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks radii", description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("data", type=Path, help="the dataset that it was trained on")
    parser.add_argument("--splits", nargs="*", default=["val", "test"], help="of images that it did not learn from")
    parser.add_argument("--rounds", type=int, default=200, help="random divisions of the subjects")
    parser.add_argument("--subjects", type=int, help="how many of them calibrate; default: half")
    chosen = parser.parse_args(list(arguments))
    found = found_by(chosen.run, chosen.data, chosen.splits)
    people = len(np.unique(found.subjects))
    calibrating = chosen.subjects or people // 2
    if not 0 < calibrating < people:
        raise SystemExit(f"--subjects: expected 1 to {people - 1} of {people}, got {calibrating}")
    result = measured(found, calibrating, chosen.rounds)
    head = ["radius", "all", "easy third", "middle", "hard third", "median px"]
    lines = [head, ["---", *["---:"] * 5]]
    for name in ("constant", "grows"):
        *shares, median = result[name]
        lines.append([name, *(f"{100 * share:.1f} %" for share in shares), f"{median:.2f}"])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    large, flagged = result["flagged"]
    return (
        f"{table}\n\nShare of errors below the {100 * COVERAGE:.0f} % radius: {calibrating} of {people} subjects "
        f"calibrate, {chosen.rounds} random divisions, {len(found.detections)} images.\n"
        f"{100 * flagged:.1f} % of the images are flagged; in them are {100 * large:.1f} % of the largest tenth of "
        "errors."
    )
