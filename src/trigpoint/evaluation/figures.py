"""The figures of reports, of one run or of several on the same images: cumulative errors, each landmark, and of one
run how predicted and annotated measurements agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from trigpoint.data.files import refuse_existing
from trigpoint.errors import ConfigError
from trigpoint.evaluation.result import Result
from trigpoint.evaluation.tables import MEASUREMENTS, interval_of
from trigpoint.metrics.measurements import apart
from trigpoint.report.agreement_figures import Panel, bland_altman
from trigpoint.report.detection_figures import precision_recall_of_runs, precision_recall_plot
from trigpoint.report.figures import ced_plot
from trigpoint.report.landmark_figures import Dot, landmark_dots
from trigpoint.report.style import FORMATS, save

SHOWN = 0.98  # of the errors; the largest would squeeze the others
_DPI = 300  # as journals ask


def figure_files(path: str | Path, measured: bool = False) -> list[Path]:
    """What ``write_figures`` writes: the curve, and beside it the landmarks, and the measurements where any are
    ``measured``. Raises ConfigError for another ending.

    >>> [file.name for file in figure_files("errors.pdf", measured=True)]
    ['errors.pdf', 'errors-landmarks.pdf', 'errors-measurements.pdf']
    """
    file = Path(path)
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(f"{file}: expected a figure ending in {', '.join(FORMATS)}, got '{file.suffix}'; rename it")
    more = ("landmarks", MEASUREMENTS) if measured else ("landmarks",)
    return [file, *(file.with_name(f"{file.stem}-{name}{file.suffix}") for name in more)]


def write_figures(path: str | Path, reports: Mapping[str, Result], *, overwrite: bool = False) -> list[Path]:
    """Write the curve and the landmarks of reports on the same images, by the names of their runs; of a single report
    also the agreement of its measurements, if there are any. Gives the files.

    The title is left to the caption of the paper. Raises DataError for a file that exists, before any is written.
    """
    only = next(iter(reports.values())) if len(reports) == 1 else None
    measured = only is not None and bool(only.metrics.get(MEASUREMENTS))
    files = figure_files(path, measured)
    for file in files:
        refuse_existing(file, overwrite)
    figures = [curve(reports, title=""), landmarks(reports), *([agreement(only)] if only and measured else [])]
    for file, figure in zip(files, figures, strict=True):
        save(figure, file, _DPI)
    return files


def curve(reports: Mapping[str, Result], title: str | None = None) -> Figure:
    """Cumulative errors in mm, where they are known of all images, else px; of multi-instance runs precision against
    recall."""
    first = next(iter(reports.values()))
    titled = {} if title is None else {"title": title}
    detected = {name: each.detected for name, each in reports.items() if each.detected is not None}
    if len(detected) > 1:
        return precision_recall_of_runs({name: (one.curve, one.threshold) for name, one in detected.items()}, **titled)
    if first.detected is not None:
        one = first.detected
        return precision_recall_plot(one.curve, first.dataset.landmarks.names, one.threshold, **titled)
    errors = {name: report.lengths[1].ravel() for name, report in reports.items()}
    joined = np.concatenate(list(errors.values()))
    finite = joined[np.isfinite(joined)]
    limit = float(f"{np.quantile(finite, SHOWN):.2g}") if len(finite) else 1.0
    return ced_plot(errors, max(limit, 1e-3), first.lengths[0], **titled)


def landmarks(reports: Mapping[str, Result]) -> Figure:
    """Mean error of each landmark with its interval; of several instances recall, precision and F1, or of several runs
    F1."""
    first = next(iter(reports.values()))
    if first.detected is None:
        unit = first.lengths[0]
        dots = {name: _errors(report, with_median=len(reports) == 1) for name, report in reports.items()}
        return landmark_dots(dots, f"radial error ({unit})")
    if len(reports) > 1:
        return landmark_dots({name: _scores(each, "f1") for name, each in reports.items()}, "F1", share=True)
    measures = {"recall": "recall", "precision": "precision", "F1": "f1"}
    shown = {label: _scores(first, key) for label, key in measures.items()}
    return landmark_dots(shown, "share", share=True)


def agreement(report: Result) -> Figure:
    """Bland-Altman plots of the measurements of a report that has any."""
    assert report.measured is not None  # where there are numbers of measurements
    panels = {}
    for name, numbers in report.metrics[MEASUREMENTS].items():
        truth, unit = report.measured.truth[name], report.measured.units[name]
        off = apart(report.measured.found[name], truth, unit)
        panels[name] = Panel(truth + off / 2, off, unit, numbers["bias"], numbers["limits"])
    return bland_altman(panels)


def _errors(report: Result, with_median: bool) -> dict[str, Dot]:
    """Of each landmark; medians only where they do not crowd."""
    unit, errors = report.lengths
    dots = {}
    for k, (name, found) in enumerate(report.metrics["per_landmark"].items()):
        low, high = interval_of(errors[:, k], report.dataset.groups) or (np.nan, np.nan)
        median = found[f"median_{unit}"] if with_median else None
        mean = found[f"mre_{unit}"]
        dots[name] = Dot(np.nan if mean is None else mean, low, high, np.nan if median is None else median)
    return dots


def _scores(report: Result, key: str) -> dict[str, Dot]:
    found = {} if report.detected is None else report.detected.scores.per_landmark["strict"]
    return {name: Dot(getattr(scores, key), *scores.intervals.get(key, ())) for name, scores in found.items()}
