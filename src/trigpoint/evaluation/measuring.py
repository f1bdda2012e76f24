"""Measurements of a run compared with the annotated ones, and those of annotators with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.annotators import stacked
from trigpoint.data.measurements import DIFFERENCE
from trigpoint.landmarks import FloatArray, LandmarkSet, Measurement, Prediction
from trigpoint.metrics.measured import summarize_measurements
from trigpoint.metrics.measurements import measure_each, unit_of
from trigpoint.prediction import Predictor
from trigpoint.prediction.measurements import why_without, width_of

_NAMED = 8  # measurements in a note


@dataclass(frozen=True)
class Measured:
    """Values (N,) by measurement, ``found`` and ``truth``, in their ``units``."""

    found: dict[str, FloatArray]
    truth: dict[str, FloatArray]
    units: dict[str, str]


def with_measurements(dataset: LandmarkDataset, own: LandmarkSet) -> LandmarkDataset:
    """The dataset with the measurements of a run's landmarks beside its own, which count where names are equal."""
    named = dataset.landmarks.measurements
    more = {name: one for name, one in own.measurements.items() if name not in named}
    return replace(dataset, landmarks=replace(dataset.landmarks, measurements=named | more))


def compared(predictor: Predictor, prediction: Prediction, dataset: LandmarkDataset) -> tuple[Measured, dict[str, Any]]:
    """Measurements of what was predicted and of the annotations; their numbers, with ``ci95`` and notes.

    Intervals are the run's, of measurements that it defines as the dataset does.
    """
    marks = dataset.landmarks
    found, length = measure_each(prediction.points, marks, dataset.spacings)
    truth, _ = measure_each(dataset.points, marks, dataset.spacings)
    units = {name: unit_of(name, marks.measurements, length) for name in found}
    same = [name for name in found if _meaning(name, marks) == _meaning(name, predictor.landmarks)]
    widths = {name: width_of(prediction, predictor.widths.get(name, {}), units[name]) for name in same}
    numbers, intervals = summarize_measurements(found, truth, units, dataset.groups, widths)
    notes = []
    if blind := [name for name in marks.measurements if name not in numbers]:
        notes.append(f"{_listed(blind)}: no image has all the landmarks annotated that it needs, so not measured")
    if other := [name for name in marks.measurements if name in predictor.landmarks.measurements and name not in same]:
        notes.append(f"{_listed(other)}: the run measures it in another way, so its interval is not that of this one")
    without = dict[str, list[str]]()
    for name in numbers:
        if name not in other and not np.isfinite(widths.get(name, np.nan)).all():
            without.setdefault(why_without(predictor.widths.get(name), units[name]), []).append(name)
    notes += [f"{_listed(names)}: no interval, {why}" for why, names in without.items()]
    return Measured(found, truth, units), {"numbers": numbers, "ci95": intervals, "notes": notes}


def between_annotators(sets: Mapping[str, LandmarkDataset]) -> dict[str, dict[str, dict[str, Any]]]:
    """Numbers of each measurement (``summarize_measurements``), first minus second, for each two annotators.

    The measurements are those of ``dataset.yaml``, as far as all tables have their landmarks.
    """
    images, names, points, seen = stacked(sets)
    first = next(iter(sets.values()))
    marks = first.landmarks.pick(names)
    points = np.where((seen > 0)[..., None], points, np.nan)
    spacing = np.array([sample.spacing_mm or (np.nan, np.nan) for sample in images])
    subjects = [sample.subject or sample.image.as_posix() for sample in images]
    values = [measure_each(own, marks, spacing) for own in points]
    units = {name: unit_of(name, marks.measurements, values[0][1]) for name in marks.measurements}
    return {
        f"{a} - {b}": summarize_measurements(ours, theirs, units, subjects)[0]
        for (a, (ours, _)), (b, (theirs, _)) in combinations(zip(sets, values, strict=True), 2)
    }


def _meaning(name: str, marks: LandmarkSet) -> Any:
    """A measurement with what its parts are, None where there is none of this name."""
    one: Measurement | None = marks.measurements.get(name)
    if one is None or DIFFERENCE not in one:
        return one
    return [_meaning(part, marks) for part in one[DIFFERENCE]]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"measurement{'' if len(names) == 1 else 's'} {', '.join(names[:_NAMED])}{more}"
