"""Two reports of the same images: that they are, and the paired difference of their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trigpoint.errors import DataError
from trigpoint.evaluation.report import Report
from trigpoint.evaluation.result import Detected
from trigpoint.evaluation.tables import bounds, interval_of, scores_row
from trigpoint.landmarks import FloatArray
from trigpoint.metrics import DetectionCounts
from trigpoint.metrics.functional import mean_by_image, plain, plain_pair
from trigpoint.metrics.paired import Gap, detection_differences, difference

Row = dict[str, Any]
_NAMED = 5  # landmarks in a message


def alike(reference: str, first: Report, name: str, other: Report) -> None:
    """Raise DataError where two reports are not of the same images, labels and landmarks; says which."""
    if (first.detected is None) != (other.detected is None):
        kinds = ["one instance", "several instances"]
        own, its = (kinds[report.detected is not None] for report in (other, first))
        raise DataError(f"{name}: finds {own} in an image, {reference} {its}; compare runs of one kind")
    mine, theirs = measured(first), measured(other)
    if set(mine) != set(theirs):
        only = {reference: [n for n in mine if n not in theirs], name: [n for n in theirs if n not in mine]}
        told = "; ".join(f"only {run} finds {_some(names)}" for run, names in only.items() if names)
        raise DataError(
            f"{name}: expected the landmarks of {reference}, got others: {told}; compare them on a dataset with those "
            "in common (landmarks in dataset.yaml), or train on the same landmarks"
        )
    images, others = _images(first), _images(other)
    if images != others:
        lost = next(iter([n for n in images if n not in others] or [n for n in others if n not in images]), None)
        what = "another order" if lost is None else f"a difference such as {lost}"
        raise DataError(f"{name}: expected the {len(images)} images of {reference}, got {len(others)} and {what}")
    sizes = [report.dataset.spacings for report in (first, other)]
    if not np.array_equal(sizes[0], sizes[1], equal_nan=True):
        raise DataError(f"{name}: expected the pixel sizes of {reference}, got others; measure both on the same set")
    for landmark in mine:
        here, there = _truth(first, landmark), _truth(other, landmark)
        for image, a, b in zip(images, here, there, strict=True):
            if a.shape != b.shape or not np.array_equal(a, b, equal_nan=True):
                raise DataError(
                    f"{name}: expected the labels of {reference}, got another '{landmark}' in {image}; measure both on "
                    "the same table"
                )


def paired(report: Report, first: Report | None) -> tuple[Row, dict[str, Row], int]:
    """The numbers of a report and their difference to those of ``first`` (None: it is that one itself): all landmarks
    together, each landmark, and how many points could not be paired."""
    names = measured(first or report)
    own = [report.dataset.landmarks.index(name) for name in names]
    theirs = None if first is None else [first.dataset.landmarks.index(name) for name in names]
    if report.detected is not None:
        against = None
        if first is not None and first.detected is not None and theirs is not None:
            against = _columns(first.detected.scores.counts, theirs)
        return _detected(report, report.detected, dict(zip(names, own, strict=True)), against)
    unit, errors = report.lengths
    others = None if first is None else first.lengths[1][:, theirs]
    groups, mean = report.dataset.groups, f"mre_{unit}"
    bound = bounds(mean, report.metrics["ci95"].get(mean))
    total = {mean: report.metrics[mean], **bound, **_against(errors[:, own], others, groups)}
    rows = {}
    for i, (k, name) in enumerate(zip(own, names, strict=True)):
        found = report.metrics["per_landmark"][name]
        row = {"n_points": found["n_points"], mean: found[mean], **bounds(mean, interval_of(errors[:, k], groups))}
        rows[name] = row | _against(errors[:, [k]], None if others is None else others[:, [i]], groups)
    lost = 0 if others is None else int((np.isinf(errors[:, own]) | np.isinf(others)).sum())
    return total, rows, lost


def _against(errors: FloatArray, others: FloatArray | None, groups: Sequence[str]) -> Row:
    """Difference of errors (N, K) to those of the reference, and the shares of images in which each is better."""
    if others is None:
        return _gap(None) | dict.fromkeys(("better", "worse"))
    lost = np.isinf(errors) | np.isinf(others)
    pair = [np.where(lost, np.nan, values) for values in (errors, others)]
    gap = difference([pair[0]], [pair[1]], groups)
    return _gap(gap) | _shares(mean_by_image(errors), mean_by_image(others))


def _detected(
    report: Report, found: Detected, columns: Mapping[str, int], others: DetectionCounts | None
) -> tuple[Row, dict[str, Row], int]:
    """Of several instances: scores, and the difference of F1."""
    groups = [report.dataset.groups[image.rows[0]] for image in found.images]
    own = _columns(found.scores.counts, list(columns.values()))

    def row(i: int | None, table: str, key: str) -> Row:
        scores = scores_row(found.scores, table, key)
        if others is None:
            return scores | _gap(None) | dict.fromkeys(("better", "worse"))
        wrong = [_wrong(counts, i) for counts in (own, others)]
        return scores | _gap(detection_differences(own, others, groups, i)["f1"]) | _shares(*wrong)

    rows = {name: row(i, "detection", name) for i, name in enumerate(columns)}
    return row(None, "detection_total", "strict"), rows, 0


def _columns(counts: DetectionCounts, chosen: Sequence[int]) -> DetectionCounts:
    parts = counts.true_positives, counts.predicted, counts.actual
    hits, predicted, actual = (part[:, list(chosen)] for part in parts)
    return DetectionCounts(hits, predicted, actual, counts.distance[:, list(chosen)])


def _wrong(counts: DetectionCounts, landmark: int | None) -> FloatArray:
    """Instances (I,) that are missed or false."""
    wrong = (counts.misses() + counts.false_positives).astype(np.float64)
    return np.asarray(wrong.sum(axis=1) if landmark is None else wrong[:, landmark])


def _gap(gap: Gap | None) -> Row:
    value, pair = (None, None) if gap is None else (plain(gap[0]), plain_pair(gap[1]))
    return {"difference": value, **bounds("difference", pair)}


def _shares(ours: FloatArray, others: FloatArray) -> Row:
    """In how many of the images ours is the smaller, and the larger; equal ones count as neither."""
    known = ~(np.isnan(ours) | np.isnan(others))
    if not known.any():
        return dict.fromkeys(("better", "worse"))
    a, b = ours[known], others[known]
    return {"better": float((a < b).mean()), "worse": float((a > b).mean())}


def measured(report: Report) -> list[str]:
    """Landmarks with an annotation to measure them by."""
    names = report.dataset.landmarks.names
    if report.detected is None:
        return [name for k, name in enumerate(names) if not np.isnan(report.errors[:, k]).all()]
    known = np.asarray(np.array([image.annotated for image in report.detected.images]).any(axis=0))
    return [name for k, name in enumerate(names) if known[k]]


def _images(report: Report) -> list[str]:
    data = report.dataset
    if report.detected is None:
        return [data.image_name(sample) for sample in data.samples]
    return [data.image_name(data.samples[image.rows[0]]) for image in report.detected.images]


def _truth(report: Report, landmark: str) -> list[FloatArray]:
    k = report.dataset.landmarks.index(landmark)
    if report.detected is None:
        return list(report.dataset.points[:, k])
    return [image.points[:, k] if image.annotated[k] else np.full((1, 2), np.inf) for image in report.detected.images]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more
