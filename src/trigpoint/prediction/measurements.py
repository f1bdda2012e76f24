"""Measurements of what was predicted, with intervals: the table that ``trigpoint predict`` writes beside the points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from trigpoint.data.columns import is_parquet, write_columns
from trigpoint.data.measurements import HIGH, LOW, column, kind_of
from trigpoint.data.pixels.images import image_spacing
from trigpoint.data.table import refuse_formulas
from trigpoint.errors import DataError, needed
from trigpoint.landmarks import FloatArray, Measurement, Prediction, Spacing, Widths
from trigpoint.metrics.measurements import measure_each, unit_of
from trigpoint.prediction.table import TIME, named_as_written

if TYPE_CHECKING:
    import pandas as pd

BLIND = "lengths are in px"
_RANGES = {"angle": (0.0, 180.0), "angle_between": (0.0, 180.0)} | dict.fromkeys(
    ("distance", "centroid_size", "ratio"), (0.0, np.inf)
)  # values that a kind can have; others have a sign


def measurement_frame(
    prediction: Prediction, widths: Widths, spacings: Sequence[Spacing | None] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """``measurement_columns`` as a frame of pandas. Raises ConfigError where pandas is not installed."""
    with needed("a frame of measurements"):
        import pandas as pd
    columns, notes = measurement_columns(prediction, widths, spacings)
    return pd.DataFrame(columns), notes


def measurement_columns(
    prediction: Prediction, widths: Widths, spacings: Sequence[Spacing | None] = (), lengths: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """A row per image: its name, then each measurement of the run with the ends of its interval; and what to know of
    them.

    ``widths`` as ``Predictor.widths``, ``spacings`` the pixel size of each image, None = unknown. Lengths are in the
    units ``lengths``, see ``lengths_of``: in mm (columns ``NAME_mm``, ``NAME_mm_low``, ``NAME_mm_high``) if all pixel
    sizes are known, in px (``NAME``, ``NAME_low``, ``NAME_high``) if none is, else both, where those in mm are of the
    images whose pixel size is known. A value or an end that is not known is NaN. Raises DataError for multi-instance
    runs.

    >>> from trigpoint.data.files import column_text
    >>> from trigpoint.landmarks import ImageDetections, LandmarkSet
    >>> marks = LandmarkSet(("a", "b"), measurements={"ab": {"distance": ["a", "b"]}})
    >>> found = [ImageDetections("1.png", np.array([[[0.0, 0.0], [3.0, 4.0]]]), np.ones((1, 2)))]
    >>> several = Prediction(found, marks, np.zeros(2))
    >>> columns, notes = measurement_columns(several, {"ab": {"mm": 0.2}}, [(0.1, 0.1)])
    >>> print(column_text(columns).strip(), notes)
    image,ab_mm,ab_mm_low,ab_mm_high
    1.png,0.5,0.3,0.7 []
    """
    if prediction.multi_instance:
        raise DataError("measurements: expected a run that finds one of each landmark, got a multi-instance run")
    marks, count = prediction.landmarks, len(prediction)
    sides = np.array([pair or (np.nan, np.nan) for pair in spacings or [None] * count]).reshape(-1, 2)
    units = lengths or lengths_of(sides)
    found = {unit: measure_each(prediction.points, marks, sides, unit)[0] for unit in units}
    columns: dict[str, Any] = {"image": list(prediction.images)}
    if any(one.time_s is not None for one in prediction.detections):
        columns[TIME] = np.round([np.nan if one.time_s is None else one.time_s for one in prediction.detections], 6)
    unsure: dict[str, list[str]] = {}
    for name, one in marks.measurements.items():
        for unit, values in {
            unit_of(name, marks.measurements, length): found[length][name] for length in units
        }.items():
            width = width_of(prediction, widths.get(name, {}), unit)
            if count and np.isnan(width).all():
                unsure.setdefault(why_without(widths.get(name), unit), []).append(name)
            low, high = _ends(values, width, one)
            called = column(name, unit)
            for end, of_it in (("", values), (LOW, low), (HIGH, high)):
                columns[f"{called}{end}"] = np.round(of_it, 4)
    notes = [f"{', '.join(dict.fromkeys(names))}: without interval, {why}" for why, names in unsure.items()]
    return columns, [*blind(sides, marks.measurements), *notes]


class Measured(NamedTuple):
    """A measurement of one image; the ends of its interval, and its value, are NaN where they are not known."""

    name: str
    value: float
    unit: str
    low: float
    high: float


def measured(prediction: Prediction, widths: Widths, spacing: Spacing | None) -> list[Measured]:
    """The measurements of the one image of ``prediction`` as the table has them: lengths in mm where its pixel size is
    known, else in px. Raises DataError for multi-instance runs."""
    columns, _ = measurement_columns(prediction, widths, [spacing])
    names, length = prediction.landmarks.measurements, "px" if spacing is None else "mm"
    out = []
    for name in names:
        unit = unit_of(name, names, length)
        value, low, high = (float(columns[f"{column(name, unit)}{end}"][0]) for end in ("", LOW, HIGH))
        out.append(Measured(name, value, unit, low, high))
    return out


def lengths_of(sides: FloatArray) -> tuple[str, ...]:
    """The units in which lengths of images of this pixel size (N, 2) are given, NaN = unknown.

    In px are all of them if any is unknown, so that they can be compared, and in mm those that are known.

    >>> lengths_of(np.array([[0.1, 0.1], [np.nan, np.nan]])), lengths_of(np.array([[0.1, 0.1]]))
    (('px', 'mm'), ('mm',))
    """
    known = np.isfinite(sides).all(1)
    return ("px",) if not known.any() else ("mm",) if known.all() else ("px", "mm")


def spacings_of(files: Sequence[Path], otherwise: Spacing | None = None) -> list[Spacing | None]:
    """Millimetres per pixel that each of these image files states, else ``otherwise``."""
    return [(image_spacing(file)[0] if file.is_file() else None) or otherwise for file in files]


def beside(table: str | Path) -> Path:
    """Where the measurements of a table of predictions are.

    >>> beside("out/predictions.csv").as_posix()
    'out/predictions-measurements.csv'
    """
    path = Path(table)
    return path.with_name(f"{path.stem}-measurements{path.suffix if is_parquet(path) else '.csv'}")


def write_measurements(
    path: str | Path,
    prediction: Prediction,
    widths: Widths,
    spacings: Sequence[Spacing | None] = (),
    overwrite: bool = False,
) -> list[str]:
    """Write the table of ``measurement_columns``, whole or not at all; what to know of it is returned.

    Raises DataError if the file exists, or if a name in it would be taken for a formula by a spreadsheet.
    """
    columns, notes = measurement_columns(named_as_written(path, prediction), widths, spacings)
    refuse_formulas([*columns, *columns["image"]], str(path))
    write_columns(path, columns, overwrite=overwrite)
    return notes


def width_of(prediction: Prediction, own: Mapping[str, float], unit: str) -> FloatArray:
    """Half the width (N,) of the interval in each image, which in px grows with the image; ``own`` by unit."""
    width = own.get(unit, np.nan)
    grown = prediction.scales / prediction.scale if prediction.scale else np.ones(len(prediction))
    out: FloatArray = width * (grown if unit == "px" else np.ones(len(prediction)))
    return out


def _ends(values: FloatArray, width: FloatArray, one: Measurement) -> tuple[FloatArray, FloatArray]:
    """Of the intervals, no wider than the values that the kind can have."""
    least, most = _RANGES.get(kind_of(one), (-np.inf, np.inf))
    return np.maximum(values - width, least), np.minimum(values + width, most)


def why_without(own: Mapping[str, float] | None, unit: str) -> str:
    """Why a measurement has no interval in a unit: ``own`` are those that the run knows, by unit."""
    if own is None:
        return "the run was not calibrated for it; run its 'trigpoint train' again, which does that"
    if unit not in own:
        return f"the run knows no interval in {unit}, for its validation images state no pixel size"
    return "the run had fewer than 9 validation subjects"


def blind(sides: FloatArray, measurements: Mapping[str, Measurement]) -> list[str]:
    """What to know where lengths are in px for want of the pixel size (N, 2) of images, NaN = unknown."""
    unknown = int(np.isnan(sides).any(1).sum())
    if not unknown or "px" not in {unit_of(name, measurements, "px") for name in measurements}:
        return []
    if unknown == len(sides):
        return [f"{BLIND}, for no image states a pixel size; if you know it: --spacing-mm"]
    some = f"{unknown} of {len(sides)} images do not; if you know their pixel size: --spacing-mm"
    return [f"{BLIND}, and in mm (NAME_mm) where an image states its pixel size: {some}"]
