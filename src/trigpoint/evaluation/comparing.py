"""``compare``: several runs on the same images, paired, so that what is difficult for all of them cancels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigpoint.data import LandmarkDataset
from trigpoint.errors import DataError
from trigpoint.evaluation.figures import write_figures
from trigpoint.evaluation.measure import evaluate
from trigpoint.evaluation.pairing import alike, measured, paired
from trigpoint.evaluation.report import Report
from trigpoint.evaluation.tables import (
    MEASUREMENTS,
    SHEETS,
    TOTAL,
    Measured,
    about,
    by_subject,
    images_of,
    measurement_numbers,
)
from trigpoint.metrics import mean_error
from trigpoint.metrics.functional import plain
from trigpoint.prediction import Progress
from trigpoint.report.table_files import Tables, write_tables
from trigpoint.report.tables import UNKNOWN, Row, number, percent
from trigpoint.runs import RunFolder


@dataclass
class Comparison:
    """Reports of runs on the same images by the names of the runs, the reference first; every difference is that of a
    run minus the reference, paired by image and landmark, with its 95 % interval over subjects.

    ``total`` and ``per_landmark`` have a row for each run (and landmark). ``warnings`` are those of the reports, and
    what could not be compared.
    """

    reports: Mapping[str, Report]
    total: list[dict[str, Any]]
    per_landmark: list[dict[str, Any]]
    unit: str
    measure: str
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where not known."""
        first = next(iter(self.reports.values()))
        return {
            "reference": next(iter(self.reports)),
            "dataset": first.dataset.name,
            "split": first.split,
            "n_images": first.metrics["n_images"],
            "n_subjects": first.metrics["n_subjects"],
            "measure": self.measure,
            "runs": self.total,
            "per_landmark": self.per_landmark,
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
            "warnings": self.warnings,
        }

    def rows(self) -> list[Row]:
        """``total`` in words, for a table on the screen."""
        return [self._printed(row) for row in self.total]

    def to_tables(self, path: str | Path, overwrite: bool = False) -> list[Path]:
        """Write the comparison of each landmark, image and subject; gives the files, which are as those of a report.

        Measurements are those of each run, one below the other.
        """
        return write_tables(path, self._tables(), overwrite=overwrite)

    def to_figures(self, path: str | Path, overwrite: bool = False) -> list[Path]:
        """Write the figures of a report with all runs in each; gives the files."""
        return write_figures(path, self.reports, overwrite=overwrite)

    def _printed(self, row: Mapping[str, Any]) -> Row:
        key, share = self.measure, self.unit == ""
        heading = "F1 (%)" if share else f"error ({self.unit})"
        shown: Row = {"run": row["run"], heading: _cell(row, key, share)}
        if row.get("better") is None:
            return {**shown, "difference": UNKNOWN, "better": UNKNOWN, "worse": UNKNOWN}
        pair = {name: percent(row[name], 0) for name in ("better", "worse")}
        return {**shown, "difference": _cell(row, "difference", share, signed=True), **pair}

    def _tables(self) -> Tables:
        first = next(iter(self.reports.values()))
        images = images_of(first)
        paper: dict[str, dict[str, Any]] = {}
        share = self.unit == ""
        unit = "%" if share else self.unit
        for row in (*self.per_landmark, *({"landmark": TOTAL, **each} for each in self.total)):
            cells = paper.setdefault(row["landmark"], {"Landmark": row["landmark"]})
            cells[f"{row['run']} ({unit})"] = _cell(row, self.measure, share)
            if row["run"] != next(iter(self.reports)):
                cells[f"Difference of {row['run']} ({unit})"] = _cell(row, "difference", share, signed=True)
        sheets = self.per_landmark, self._images(images), self._subjects(images)
        named: dict[str, Sequence[Row]] = dict(zip(SHEETS, sheets, strict=True))
        if measurements := self._measurements():
            named[MEASUREMENTS] = measurements
        lines = [f"Differences are to {next(iter(self.reports))}, paired by image and landmark."]
        return Tables(named, list(paper.values()), [*about(first), *lines])

    def _measurements(self) -> list[dict[str, Any]]:
        """Those of one run below those of the other, by measurement."""
        rows = [{"run": name, **row} for name, report in self.reports.items() for row in measurement_numbers(report)]
        names = list(dict.fromkeys(row["measurement"] for row in rows))
        rows.sort(key=lambda row: names.index(row["measurement"]))
        return [{"measurement": row["measurement"], **row} for row in rows]

    def _images(self, measured: Sequence[Measured]) -> list[dict[str, Any]]:
        return [
            {"image": one.image, "subject": one.subject, "split": one.split, **self._of([i])}
            for i, one in enumerate(measured)
        ]

    def _subjects(self, measured: Sequence[Measured]) -> list[dict[str, Any]]:
        return [first | self._of(of_it) for first, of_it in by_subject(measured)]

    def _of(self, images: list[int]) -> dict[str, Any]:
        """The mean error of some images by each run; of several instances how many are missed or wrong."""
        found: dict[str, Any] = {}
        for name, report in self.reports.items():
            if report.detected is None:
                errors = report.lengths[1][images]
                found[f"{name}_mean_{self.unit}"] = plain(mean_error(errors, missing="ignore"))
            else:
                counts = report.detected.scores.counts
                found[f"{name}_missed_or_wrong"] = int((counts.misses() + counts.false_positives)[images].sum())
        return found


def compare(
    runs: Sequence[str | Path | RunFolder | Report],
    data: str | Path | LandmarkDataset | None = None,
    split: str | None = "test",
    *,
    device: str = "auto",
    progress: Progress | None = None,
) -> Comparison:
    """Compare runs on one split of a dataset with the first of them; reports of ``evaluate`` need no ``data``.

    Raises DataError where images, labels or measured landmarks of two runs differ, naming them, and for fewer than two
    runs or the same one twice; else as ``evaluate``.
    """
    if len(runs) < 2:
        raise DataError(f"runs to compare: expected two or more, got {len(runs)}; give another")
    reports = []
    for run in runs:
        if isinstance(run, Report):
            reports.append(run)
        elif data is None:
            raise DataError(f"{run}: expected data to measure it on, got none; give data=FOLDER")
        else:
            reports.append(evaluate(run, data, split, device=device, progress=progress))
    named = dict(zip(names_of([report.run.folder for report in reports]), reports, strict=True))
    (reference, first), *others = named.items()
    for name, other in others:
        alike(reference, first, name, other)
    several = first.detected is not None
    unit = "" if several else first.lengths[0]
    total, per_landmark, warnings = list[dict[str, Any]](), list[dict[str, Any]](), dict[str, None]()
    for name, report in named.items():
        against = None if name == reference else first
        warnings |= dict.fromkeys(f"{name}: {text}" for text in report.warnings)
        row, rows, lost = paired(report, against)
        total.append({"run": name, **row})
        per_landmark += [{"landmark": mark, "run": name, **each} for mark, each in rows.items()]
        if lost:
            what = f"{lost} points are not predicted by it or by {reference}, so not in the difference"
            warnings[f"{name}: {what}"] = None
    names = measured(first)
    per_landmark.sort(key=lambda row: names.index(row["landmark"]))
    return Comparison(named, total, per_landmark, unit, "f1" if several else f"mre_{unit}", list(warnings))


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ. Raises DataError for a run that is given twice.

    >>> names_of([Path("runs/a"), Path("runs/b"), Path("old/a")])
    ['runs/a', 'b', 'old/a']
    """
    full = [folder.resolve().parts for folder in folders]
    for i, parts in enumerate(full):
        if parts in full[:i]:
            raise DataError(f"{folders[i]}: expected different runs, got it twice; give another")
    lengths = [1] * len(full)
    while True:
        ends = [parts[-length:] for parts, length in zip(full, lengths, strict=True)]
        again = [i for i, end in enumerate(ends) if ends.count(end) > 1]
        if not again:
            return ["/".join(end).replace("//", "/") for end in ends]
        for i in again:
            lengths[i] += 1


def _cell(row: Mapping[str, Any], key: str, share: bool, signed: bool = False) -> str:
    """A number and its interval; a share in per cent, a difference with its sign."""
    low, high, value = row.get(f"{key}_low"), row.get(f"{key}_high"), row.get(key)
    if value is None:
        return UNKNOWN
    times, digits = (100, 1) if share else (1, 2)
    values = [times * float(each) for each in (value, *(() if low is None else (low, high)))]
    if not signed:
        return number(values[0], digits, interval=values[1:] or None)
    texts = [f"{each:+.{digits}f}" for each in values]
    return texts[0] + (f" [{texts[1]}, {texts[2]}]" if low is not None else "")
