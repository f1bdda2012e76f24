"""Do the 90 % intervals of measurements hold? ``python -m benchmarks coverage``: subjects are divided at random, some
calibrate the interval, the others show how often it holds.

Without tables: heads as of ``write_radiographs``, in some poses each, found with errors that are larger in some heads,
larger for some landmarks, wrong by the same way in all images of a head, and now and then by much. With ``--found``
and ``--truth``: two tables of points of the same images, such as those of two annotators.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trigpoint.config import read_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.measurements import read_measurements
from trigpoint.errors import ConfigError
from trigpoint.landmarks import COVERAGE, FloatArray, LandmarkSet
from trigpoint.methods.measuring import half_width
from trigpoint.metrics.measurements import apart, measure_each, unit_of
from trigpoint.synthetic.anatomy import LANDMARKS
from trigpoint.synthetic.radiograph import draw_head

MEASUREMENTS: dict[str, Any] = {
    "SNA": {"angle": ["sella", "nasion", "point_a"]},
    "SNB": {"angle": ["sella", "nasion", "point_b"]},
    "ANB": {"difference": ["SNA", "SNB"]},
    "convexity": {"signed_angle": [["nasion", "point_a"], ["point_a", "pogonion"]]},
    "SN": {"distance": ["sella", "nasion"]},
    "overjet": {"projection": ["lower_incisor", "upper_incisor"], "onto": ["porion", "orbitale"]},
    "chin_to_NB": {"distance_to_line": ["pogonion"], "line": ["nasion", "point_b"]},
    "faces": {"ratio": [["nasion", "anterior_nasal_spine"], ["anterior_nasal_spine", "menton"]]},
    "size": {"centroid_size": list(LANDMARKS.names)},
}
SHAPE, SPACING = (2400, 1935), 0.1


class Pairs(NamedTuple):
    """Values (N,) by measurement, found and true, their units, and whom the images show (N,)."""

    found: dict[str, FloatArray]
    truth: dict[str, FloatArray]
    units: dict[str, str]
    subjects: FloatArray


def drawn(heads: int, images: int = 3, seed: int = 0) -> Pairs:
    """``images`` of each of so many heads, in mm."""
    rng = np.random.default_rng(seed)
    truth = np.array(
        [
            draw_head(np.random.default_rng([seed, s]), np.random.default_rng([seed, s, i]), SHAPE).points
            for s in range(heads)
            for i in range(images)
        ]
    )
    marks = replace(LANDMARKS, measurements=MEASUREMENTS)
    harder = np.exp(rng.normal(0, 0.4, (heads, 1, 1, 1)))
    worse = rng.uniform(3, 12, (1, 1, len(marks), 1))
    same = rng.normal(0, 1.0, (heads, 1, len(marks), 2))
    errors = harder * worse * (same + rng.standard_t(3, (heads, images, len(marks), 2)))
    return _pairs(truth + errors.reshape(truth.shape), truth, marks, images, heads)


def _pairs(found: FloatArray, truth: FloatArray, marks: LandmarkSet, images: int, heads: int) -> Pairs:
    spacing = np.full(len(truth), SPACING)
    ours, unit = measure_each(found, marks, spacing)
    theirs, _ = measure_each(truth, marks, spacing)
    units = {name: unit_of(name, marks.measurements, unit) for name in ours}
    return Pairs(ours, theirs, units, np.repeat(np.arange(heads), images))


def stored(found: Path, truth: Path, measurements: Path) -> Pairs:
    """The images that both tables have, by the measurements of a YAML file (key ``measurements``)."""
    wrong: list[str] = []
    named = read_measurements(read_yaml(measurements).get("measurements"), wrong)
    if wrong:
        raise ConfigError(f"{measurements}: {wrong[0]}")
    sets = [LandmarkDataset.load(table, check_images=False) for table in (found, truth)]
    place = {sample.image.name: i for i, sample in enumerate(sets[0].samples)}
    both = [(place[s.image.name], i) for i, s in enumerate(sets[1].samples) if s.image.name in place]
    first, second = (data.subset([pair[k] for pair in both]) for k, data in enumerate(sets))
    marks = replace(second.landmarks, measurements=named)
    ours, unit = measure_each(first.pick(marks.names).points, marks, second.spacings)
    theirs, _ = measure_each(second.points, marks, second.spacings)
    _, subjects = np.unique(second.groups, return_inverse=True)
    return Pairs(ours, theirs, {name: unit_of(name, named, unit) for name in ours}, subjects)


def coverages(pairs: Pairs, calibrating: int, rounds: int, seed: int = 0) -> dict[str, FloatArray]:
    """Share (rounds,) of the other subjects' images in which the interval of ``calibrating`` subjects holds.

    Every subject weighs the same.
    """
    rng, heads = np.random.default_rng(seed), np.unique(pairs.subjects)
    if not 0 < calibrating < len(heads):
        raise ConfigError(f"--subjects: expected 1 to {len(heads) - 1} of {len(heads)} subjects, got {calibrating}")
    held: dict[str, list[float]] = {name: [] for name in pairs.truth}
    for _ in range(rounds):
        chosen = np.isin(pairs.subjects, rng.permutation(heads)[:calibrating])
        for name, truth in pairs.truth.items():
            found, unit = pairs.found[name], pairs.units[name]
            width = half_width(found[chosen], truth[chosen], unit, pairs.subjects[chosen])
            inside = np.abs(apart(found, truth, unit)) <= width
            new = ~chosen & np.isfinite(truth)
            _, member, counts = np.unique(pairs.subjects[new], return_inverse=True, return_counts=True)
            held[name].append(float((inside[new] / counts[member]).sum() / len(counts)))
    return {name: np.array(shares) for name, shares in held.items()}


def main(arguments: Sequence[str]) -> str:
    """Measure, and return the text that is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks coverage", description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="random divisions of the subjects")
    parser.add_argument("--subjects", type=int, nargs="*", default=[9, 20, 40], help="how many of them calibrate")
    parser.add_argument("--heads", type=int, default=240, help="subjects that are drawn")
    parser.add_argument("--images", type=int, default=3, help="images of each of them")
    parser.add_argument("--found", type=Path, help="a table of points, in place of drawn ones")
    parser.add_argument("--truth", type=Path, help="the table that is right")
    parser.add_argument("--measurements", type=Path, help="a YAML file with 'measurements'")
    chosen = parser.parse_args(list(arguments))
    given = (chosen.found, chosen.truth, chosen.measurements)
    if any(given) and not all(given):
        raise ConfigError("coverage: expected --found, --truth and --measurements together, got some of them")
    pairs = stored(*given) if all(given) else drawn(chosen.heads, chosen.images)
    shares = {count: coverages(pairs, count, chosen.rounds) for count in chosen.subjects}
    head = ["measurement", *(f"{count} subjects calibrate" for count in shares)]
    lines = [head, ["---", *["---:"] * len(shares)]]
    lines += [[name, *(f"{100 * each[name].mean():.1f} %" for each in shares.values())] for name in pairs.truth]
    means = [np.mean([values.mean() for values in each.values()]) for each in shares.values()]
    lines.append(["mean", *(f"{100 * mean:.1f} %" for mean in means)])
    about = f"{len(np.unique(pairs.subjects))} subjects, {len(pairs.subjects)} images, {chosen.rounds} random divisions"
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\nShare of images of other subjects in the {100 * COVERAGE:.0f} % interval. {about}."
