"""The numbers of a report one by one: for each landmark, each image and each subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trigpoint.errors import counted
from trigpoint.evaluation.result import Result
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import DetectionCounts, bootstrap_interval, mean_error, median_error, normalized_error
from trigpoint.metrics.detection_report import DetectionReport, ratio
from trigpoint.metrics.functional import mean_by_image, plain, plain_pair
from trigpoint.report.table_files import Tables
from trigpoint.report.tables import UNKNOWN, Row, number, percent

SHEETS = ("landmarks", "images", "subjects")
MEASUREMENTS = "measurements"  # a sheet of those that have any
TOTAL = "all landmarks"
_SHARES = ("precision", "recall", "f1")


class Measured(NamedTuple):
    """One of the images of a report: its row in the dataset, and the number of its subject."""

    image: str
    subject: str
    split: str
    group: int


def tables(report: Result) -> Tables:
    """Everything that ``--table`` writes: per landmark, per image, per subject, and per measurement where there are
    any."""
    measured = images_of(report)
    if report.detected is None:
        unit, errors = report.lengths
        sheets = (
            _landmarks(report, unit, errors),
            _images(report, measured, unit, errors),
            _subjects(measured, unit, errors),
        )
        paper = [*(_printed(row, unit) for row in sheets[0]), _printed(_total(report, unit), unit)]
    else:
        scores = report.detected.scores
        names = report.dataset.landmarks.names
        sheets = (
            detection_rows(scores),
            _counted_images(measured, scores.counts, names),
            _counted_subjects(measured, scores),
        )
        total = {"landmark": TOTAL, **scores_row(scores, "detection_total", "strict")}
        paper = [_printed_detection(row) for row in (*sheets[0], total)]
    named = dict(zip(SHEETS, sheets, strict=True))
    measurements = measurement_numbers(report)
    if not measurements:
        return Tables(named, paper, about(report))
    papers = {MEASUREMENTS: [_printed_measurement(row) for row in measurements]}
    return Tables(named | {MEASUREMENTS: measurements}, paper, about(report), papers=papers)


def images_of(report: Result) -> list[Measured]:
    """The images of a report in the order of its numbers."""
    data = report.dataset
    rows = range(len(data)) if report.detected is None else [image.rows[0] for image in report.detected.images]
    number_of: dict[str, int] = {}
    return [
        Measured(
            data.image_name(data.samples[i]),
            data.samples[i].subject or "",
            data.samples[i].split or "",
            number_of.setdefault(data.groups[i], len(number_of)),
        )
        for i in rows
    ]


def about(report: Result) -> list[str]:
    """What the numbers are of, and whether there are intervals."""
    metrics = report.metrics
    lines = [
        f"{report.run.folder.name} on {report.dataset.name}, split {report.split}: "
        f"{counted(metrics['n_images'], 'image')} of {counted(metrics['n_subjects'], 'subject')}."
    ]
    known = report.detected is not None or (metrics.get("ci95") or {}).get("mre_px")
    return [*lines, "In brackets: 95 % interval for new subjects." if known else "Too few subjects for intervals."]


def interval_of(values: FloatArray, groups: Sequence[str]) -> list[float] | None:
    """95 % interval over subjects of the mean of errors (N, ...); the not predicted are left out."""
    return plain_pair(bootstrap_interval(np.where(np.isinf(values), np.nan, values), groups, scale="length"))


def bounds(key: str, pair: Sequence[float] | None) -> Row:
    """Two columns of an interval."""
    low, high = pair if pair is not None else (None, None)
    return {f"{key}_low": low, f"{key}_high": high}


# -- measurements ---------------------------------------------------------------------------------------------------


def measurement_numbers(report: Result) -> list[dict[str, Any]]:
    """All that is known of each measurement, predicted minus annotated, with the intervals for new subjects."""
    between = (report.metrics.get("ci95") or {}).get(MEASUREMENTS) or {}
    return [
        {
            "measurement": name,
            **{key: found[key] for key in ("unit", "n_images", "n_subjects", "n_unpredicted", "mae")},
            **bounds("mae", between.get(name, {}).get("mae")),
            "bias": found["bias"],
            **bounds("bias", between.get(name, {}).get("bias")),
            "sd": found["sd"],
            **bounds("limits", found["limits"]),
            "icc": found["icc"],
            **bounds("icc", between.get(name, {}).get("icc")),
            **{key: found[key] for key in ("half_width", "within")},
        }
        for name, found in (report.metrics.get(MEASUREMENTS) or {}).items()
    ]


def _printed_measurement(row: Row) -> Row:
    def shown(key: str, digits: int) -> str:
        low, high = row[f"{key}_low"], row[f"{key}_high"]
        return number(row[key], digits, interval=None if low is None else (low, high))

    digits, unit = (3, "") if row["unit"] == "ratio" else (2, f" ({row['unit']})")
    low, high = row["limits_low"], row["limits_high"]
    return {
        "Measurement": f"{row['measurement']}{unit}",
        "n": number(row["n_images"]),
        "Mean abs. error": shown("mae", digits),
        "Bias": shown("bias", digits),
        "SD": number(row["sd"], digits),
        "95 % limits": UNKNOWN if low is None else f"{number(low, digits)} to {number(high, digits)}",
        "ICC(2,1)": shown("icc", 3),
    }


# -- one instance in an image ---------------------------------------------------------------------------------------


def _landmarks(report: Result, unit: str, errors: FloatArray) -> list[dict[str, Any]]:
    rows = []
    for k, (name, found) in enumerate(report.metrics["per_landmark"].items()):
        mean = f"mre_{unit}"
        row = {"landmark": name, "n_points": found["n_points"], "n_unpredicted": int(np.isinf(errors[:, k]).sum())}
        row |= {mean: found[mean], **bounds(mean, interval_of(errors[:, k], report.dataset.groups))}
        row |= {f"{key}_{unit}": found[f"{key}_{unit}"] for key in ("sd", "median")} | {
            f"max_{unit}": _largest(errors[:, k])
        }
        rows.append(row | _shares(found[f"sdr_{unit}"], unit))
    return rows


def _total(report: Result, unit: str) -> Row:
    found = report.metrics
    mean = f"mre_{unit}"
    row = {"landmark": TOTAL, "n_points": found["n_points"], mean: found[mean], **bounds(mean, found["ci95"].get(mean))}
    return row | {f"{k}_{unit}": found[f"{k}_{unit}"] for k in ("sd", "median")} | _shares(found[f"sdr_{unit}"], unit)


def _shares(found: Mapping[str, float] | None, unit: str) -> dict[str, Any]:
    return {f"sdr_{float(limit):g}_{unit}": share for limit, share in (found or {}).items()}


def _printed(row: Row, unit: str) -> Row:
    mean = f"mre_{unit}"
    low, high = row[f"{mean}_low"], row[f"{mean}_high"]
    limits = [key for key in row if key.startswith("sdr_")]
    return {
        "Landmark": row["landmark"],
        "n": number(row["n_points"]),
        f"Mean error ({unit})": number(row[mean], interval=None if low is None else (low, high)),
        f"SD ({unit})": number(row[f"sd_{unit}"]),
        f"Median ({unit})": number(row[f"median_{unit}"]),
        **{
            f"SDR {key.split('_')[1]} {unit} (%)": number(None if row[key] is None else 100 * row[key], 1)
            for key in limits
        },
    }


def _images(report: Result, measured: Sequence[Measured], unit: str, errors: FloatArray) -> list[dict[str, Any]]:
    names, marks = report.dataset.landmarks.names, report.dataset.landmarks
    normalized = None
    if marks.normalizer is not None:
        points = report.prediction.points, report.dataset.points
        normalized = mean_by_image(normalized_error(*points, marks.normalizer, marks))
    rows = []
    for i, one in enumerate(measured):
        known = errors[i][np.isfinite(errors[i])]
        row: dict[str, Any] = {"image": one.image, "subject": one.subject, "split": one.split}
        row |= _spread(errors[i], unit) | {"worst": names[int(np.nanargmax(errors[i]))] if known.size else ""}
        if normalized is not None:
            row["nme"] = plain(normalized[i])
        rows.append(row | {f"{name}_error_{unit}": plain(errors[i, k]) for k, name in enumerate(names)})
    return rows


def _subjects(measured: Sequence[Measured], unit: str, errors: FloatArray) -> list[dict[str, Any]]:
    return [first | _spread(errors[of_it], unit) for first, of_it in by_subject(measured)]


def by_subject(measured: Sequence[Measured]) -> list[tuple[dict[str, Any], list[int]]]:
    """Each subject with its images, in the order of their first; an image without one stands for itself."""
    groups: dict[int, list[int]] = {}
    for i, one in enumerate(measured):
        groups.setdefault(one.group, []).append(i)
    firsts = {group: measured[of_it[0]] for group, of_it in groups.items()}
    named = {
        group: {"subject": one.subject, "image": "" if one.subject else one.image} for group, one in firsts.items()
    }
    return [(named[group] | {"n_images": len(of_it)}, of_it) for group, of_it in groups.items()]


def _spread(errors: FloatArray, unit: str) -> dict[str, Any]:
    return {
        "n_points": int((~np.isnan(errors)).sum()),
        "n_unpredicted": int(np.isinf(errors).sum()),
        f"mean_{unit}": plain(mean_error(errors, missing="ignore")),
        f"median_{unit}": plain(median_error(errors)),
        f"max_{unit}": _largest(errors),
    }


def _largest(errors: FloatArray) -> float | None:
    known = errors[np.isfinite(errors)]
    return float(known.max()) if known.size else None


# -- several instances in an image ----------------------------------------------------------------------------------


def detection_rows(scores: DetectionReport) -> list[dict[str, Any]]:
    """Recall, precision, F1 and distance of each landmark with their intervals, counted strictly, then leniently."""
    rows = []
    for k, name in enumerate(scores.per_landmark["strict"]):
        row = {"landmark": name, "n_instances": int(scores.counts.actual[:, k].sum())}
        lenient = scores.per_landmark["lenient"][name].to_dict()
        rows.append(
            row | scores_row(scores, "detection", name) | {f"{key}_lenient": lenient[key] for key in ("recall", "f1")}
        )
    return rows


def scores_row(scores: DetectionReport, table: str, name: str) -> dict[str, Any]:
    """Scores and counts of a row of one of the tables of ``DetectionReport.to_dict``, with intervals."""
    found, between = scores.to_dict()[table][name], scores.intervals()[table][name]
    row: dict[str, Any] = {}
    for key in ("recall", "precision", "f1", "distance_px"):
        row |= {key: found[key], **bounds(key, between[key])}
    return row | {key: found[key] for key in ("true_positives", "false_positives", "misses")}


def _printed_detection(row: Row) -> Row:
    found = {"Landmark": row["landmark"], "n": number(row["true_positives"] + row["misses"])}
    for key, heading in (("recall", "Recall (%)"), ("precision", "Precision (%)"), ("f1", "F1 (%)")):
        low, high = row[f"{key}_low"], row[f"{key}_high"]
        found[heading] = percent(row[key], 1, None if low is None else (low, high)).replace(" %", "")
    low, high = row["distance_px_low"], row["distance_px_high"]
    found["Distance (px)"] = number(row["distance_px"], interval=None if low is None else (low, high))
    return found


def _counted_images(
    measured: Sequence[Measured], counts: DetectionCounts, names: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for i, one in enumerate(measured):
        row: dict[str, Any] = {"image": one.image, "subject": one.subject, "split": one.split, **_sums(counts, [i])}
        for k, name in enumerate(names):
            row |= {f"{name}_{key}": value for key, value in _sums(counts, [i], k).items() if key in _PARTS}
        rows.append(row)
    return rows


_PARTS = ("true_positives", "false_positives", "misses")


def _counted_subjects(measured: Sequence[Measured], scores: DetectionReport) -> list[dict[str, Any]]:
    return [first | _sums(scores.counts, of_it) for first, of_it in by_subject(measured)]


def _sums(counts: DetectionCounts, images: Sequence[int], landmark: int | None = None) -> dict[str, Any]:
    """Counts and scores of some images, of one landmark or of all."""
    chosen = slice(None) if landmark is None else landmark
    parts = counts.true_positives, counts.false_positives, counts.misses(), counts.distance
    hits, false, missed, distance = (float(part[list(images)][:, chosen].sum()) for part in parts)
    return {
        "n_instances": int(hits + missed),
        "true_positives": int(hits),
        "false_positives": int(false),
        "misses": int(missed),
        "recall": plain(float(ratio(hits, hits + missed))),
        "precision": plain(float(ratio(hits, hits + false))),
        "f1": plain(float(ratio(2 * hits, 2 * hits + false + missed))),
        "distance_px": plain(float(ratio(distance, hits))),
    }
