"""A model beside several annotators of the same images: is it as near to them as they are to one another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.annotators import begun
from trigpoint.data.description import read_description
from trigpoint.data.table import raise_problems
from trigpoint.data.table_names import OnePlace
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import bootstrap_interval, mean_error
from trigpoint.metrics.functional import plain_pair

MODEL = "model"
POOLED = "all landmarks"


@dataclass(frozen=True)
class Beside:
    """``pairs``: mean distance of each two, the model first, by their names. ``landmarks``: for each landmark, and all
    of them, the distance of the model to an annotator, that of two annotators, and the difference of the two in the
    points that two or more have placed. ``ci95`` has the same keys. In mm where the pixel size is known, else px."""

    unit: str
    people: tuple[str, ...]
    pairs: dict[str, dict[str, Any]] = field(default_factory=dict)
    landmarks: dict[str, dict[str, Any]] = field(default_factory=dict)
    ci95: dict[str, dict[str, Any]] = field(default_factory=dict)

    def told(self) -> str:
        """The answer in a sentence, by the interval of the difference; nothing of one annotator.

        >>> values = {"difference_mm": -0.5}, {"difference_mm": [-0.7, -0.3]}
        >>> Beside("mm", ("ann", "ben"), {}, {POOLED: values[0]}, {"against_annotators": {POOLED: values[1]}}).told()
        'The model is nearer to the annotators than they are to one another: by 0.50 mm [0.30, 0.70].'
        """
        key = f"difference_{self.unit}"
        if POOLED not in self.landmarks:
            return ""
        gap, bounds = self.landmarks[POOLED][key], self.ci95["against_annotators"].get(POOLED, {}).get(key)
        if bounds is None:
            return f"Model minus annotators: {gap:+.2f} {self.unit}; too few subjects to say more."
        low, high = bounds
        if low <= 0 <= high:
            held = f"{gap:+.2f} {self.unit} [{low:.2f}, {high:.2f}]"
            return f"The model is about as far from the annotators as they are from one another: {held}."
        where, ends = ("nearer to", (-high, -low)) if high < 0 else ("farther from", (low, high))
        held = f"by {abs(gap):.2f} {self.unit} [{ends[0]:.2f}, {ends[1]:.2f}]"
        other = "to" if high < 0 else "from"
        return f"The model is {where} the annotators than they are {other} one another: {held}."


def beside_annotators(data: LandmarkDataset, points: FloatArray) -> Beside | None:
    """The model's ``points`` (N, K, 2) in the images of ``data``, and the labels of each annotator whom its
    ``dataset.yaml`` names; None where none has labelled these images. Raises DataError for damaged tables."""
    if data.table is None:
        return None
    problems: list[Any] = []
    about = read_description(data.table.parent, problems)
    raise_problems(problems)
    placed = {name: _placed(data, own) for name, own in (begun(about) if about.annotators else {}).items()}
    placed = {name: own for name, own in placed.items() if np.isfinite(own).any()}
    if not placed:
        return None
    known = np.isfinite(data.spacings).all()
    unit, scale = ("mm", data.spacings) if known else ("px", np.ones_like(data.spacings))
    model = MODEL if MODEL not in placed else f"{MODEL} (of this run)"  # an annotator may be called so
    people = {model: points, **placed}
    apart = {
        pair: np.linalg.norm((people[pair[0]] - people[pair[1]]) * scale[:, None], axis=-1)
        for pair in combinations(people, 2)
    }
    found = Beside(unit, tuple(placed), ci95={"annotators": {}, "against_annotators": {}})
    for pair, distances in apart.items():
        if np.isfinite(distances).any():
            _add(found.pairs, found.ci95["annotators"], " - ".join(pair), {f"mre_{unit}": distances}, data.groups)
    if len(placed) > 1:
        ours = _mean([one for pair, one in apart.items() if model in pair])
        theirs = _mean([one for pair, one in apart.items() if model not in pair])
        both = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = (np.where(both, one, np.nan) for one in (ours, theirs))
        for k, name in enumerate([*data.landmarks.names, POOLED]):
            kept = slice(None) if name == POOLED else slice(k, k + 1)
            if both[:, kept].any():
                parts = {"model": ours, "annotators": theirs, "difference": ours - theirs}
                own = {f"{what}_{unit}": part[:, kept] for what, part in parts.items()}
                _add(found.landmarks, found.ci95["against_annotators"], name, own, data.groups)
    return found


def _placed(data: LandmarkDataset, own: LandmarkDataset) -> FloatArray:
    """The labels (N, K, 2) of an annotator in the images and of the landmarks of ``data``, NaN = none."""
    same, out = OnePlace(), np.full((len(data), len(data.landmarks), 2), np.nan)
    rows = {same(sample.image): n for n, sample in enumerate(data.samples)}
    names = {name: k for k, name in enumerate(data.landmarks.names)}
    columns = [(names[name], j) for j, name in enumerate(own.landmarks.names) if name in names]
    for sample in own.samples:
        n = rows.get(same(sample.image))
        for k, j in columns if n is not None else ():
            if sample.visibility[j] > 0:
                out[n, k] = sample.points[j]
    return out


def _mean(parts: Sequence[FloatArray]) -> FloatArray:
    """Means (N, K) of the distances that are known, NaN where none is."""
    stacked = np.stack(parts)
    count = np.isfinite(stacked).sum(0)
    mean: FloatArray = np.where(count > 0, np.nansum(stacked, axis=0) / np.maximum(count, 1), np.nan)
    return mean


def _add(
    rows: dict[str, dict[str, Any]],
    intervals: dict[str, dict[str, Any]],
    name: str,
    parts: Mapping[str, FloatArray],
    groups: Sequence[str],
) -> None:
    first = next(iter(parts.values()))
    rows[name] = {key: mean_error(part) for key, part in parts.items()}
    rows[name]["n_images"] = int(np.isfinite(first).any(1).sum())
    intervals[name] = {}
    for key, part in parts.items():
        scale: Any = "difference" if key.startswith("difference") else "length"
        intervals[name][key] = plain_pair(bootstrap_interval(part, list(groups), scale=scale))
