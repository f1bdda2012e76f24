"""Numbers as people read them, and tables of dict rows as Markdown, plain text or a rich table.

``metric_rows`` and ``landmark_rows`` turn the dict of an evaluation into rows, once, for the console and the report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]
UNKNOWN = "–"
_LENGTHS = (("mre", "Mean radial error (MRE)"), ("sd", "Standard deviation"), ("median", "Median radial error"))


def number(value: Any, digits: int = 2, unit: str = "", interval: Sequence[float] | None = None) -> str:
    """A value with its unit and interval; None and NaN give a dash.

    >>> number(1.2345, unit="mm", interval=(1.1, 1.4))
    '1.23 mm [1.10, 1.40]'
    >>> number(None), number(3), number(True), number("fixed")
    ('–', '3', 'yes', 'fixed')
    """
    if value is None or (isinstance(value, Real) and math.isnan(float(value))):
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real):
        text = str(int(value)) if isinstance(value, Integral) else f"{float(value):.{digits}f}"
    else:
        text = str(value)
    text += f" {unit}" if unit else ""
    if interval is not None and all(bound is not None and not math.isnan(bound) for bound in interval):
        text += f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
    return text


def percent(share: float | None, digits: int = 1, interval: Sequence[float] | None = None) -> str:
    """A share in 0..1 as per cent.

    >>> percent(0.8451, interval=(0.82, 0.87))
    '84.5 % [82.0, 87.0]'
    """
    bounds = None if interval is None else [100 * bound for bound in interval]
    return number(None if share is None else 100 * float(share), digits, "%", bounds)


def columns_of(rows: Sequence[Row], columns: Sequence[str] | Mapping[str, str] | None = None) -> dict[str, str]:
    """Keys and headings: as given, or every key of the rows in order of appearance."""
    if columns is None:
        return {key: key for row in rows for key in row}
    return dict(columns) if isinstance(columns, Mapping) else {key: key for key in columns}


def markdown_table(
    rows: Sequence[Row], columns: Sequence[str] | Mapping[str, str] | None = None, digits: int = 2
) -> str:
    """A Markdown table; columns that hold only numbers are aligned right.

    >>> print(markdown_table([{"sigma": 5, "error": 87.05}, {"sigma": "Adaloss", "error": None}]))
    | sigma   | error |
    | ------- | ----: |
    | 5       | 87.05 |
    | Adaloss |     – |
    """
    headings = {key: text.replace("|", r"\|") for key, text in columns_of(rows, columns).items()}
    cells = [[number(row.get(key), digits).replace("|", r"\|").replace("\n", " ") for key in headings] for row in rows]
    rights = [_is_numeric(rows, key) for key in headings]
    widths = _widths(list(headings.values()), cells, 3)
    rule = ["-" * (w - 1) + ":" if right else "-" * w for w, right in zip(widths, rights, strict=True)]
    lines = [_aligned(list(headings.values()), widths, rights), rule]
    lines += [_aligned(line, widths, rights) for line in cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain_table(rows: Sequence[Row], columns: Sequence[str] | Mapping[str, str] | None = None, digits: int = 2) -> str:
    """A table of aligned columns for logs and text files.

    >>> print(plain_table([{"landmark": "tip", "px": 1.5}]))
    landmark    px
    --------  ----
    tip       1.50
    """
    headings = columns_of(rows, columns)
    cells = [[number(row.get(key), digits) for key in headings] for row in rows]
    rights = [_is_numeric(rows, key) for key in headings]
    widths = _widths(list(headings.values()), cells, 1)
    lines = [_aligned(list(headings.values()), widths, rights), ["-" * width for width in widths]]
    lines += [_aligned(line, widths, rights) for line in cells]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def console_table(
    rows: Sequence[Row],
    columns: Sequence[str] | Mapping[str, str] | None = None,
    title: str | None = None,
    digits: int = 2,
) -> Table:
    """A rich table for the terminal; cells are shown literally, brackets are no markup."""
    headings = columns_of(rows, columns)
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", pad_edge=False, box=None)
    for key, heading in headings.items():
        table.add_column(heading, justify="right" if _is_numeric(rows, key) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(number(row.get(key), digits).replace("[", r"\[") for key in headings))
    return table


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows ``measure, value, rule`` of an evaluation's dict (DESIGN: mre_px, sdr_mm, nme, fr, auc, ci95, ...).

    Lengths in mm come first when the spacing is known. A key that is null is left out, except that an unknown
    mm length is said once. ``ci95`` gives the interval of a value under that value's own key.
    """
    intervals = metrics.get("ci95") or {}
    rows: list[dict[str, str]] = []
    if metrics.get("mre_mm") is None and metrics.get("mre_px") is not None:
        rows.append({"measure": "Lengths in mm", "value": "unit unknown", "rule": "the data state no pixel spacing"})
    for unit in ("mm", "px"):
        for key, label in _LENGTHS:
            value = metrics.get(f"{key}_{unit}")
            if value is not None:
                text = number(value, 2, unit, _interval(intervals, f"{key}_{unit}"))
                rows.append({"measure": label, "value": text, "rule": _LENGTH_RULES[key]})
        rates = metrics.get(f"sdr_{unit}") or {}
        bounds = intervals.get(f"sdr_{unit}")
        for limit, share in rates.items():
            between = _interval(bounds, limit) if isinstance(bounds, Mapping) else None
            label = f"Success detection rate (SDR) at {limit} {unit}"
            rows.append({"measure": label, "value": percent(share, 1, between), "rule": f"error <= {limit} {unit}"})
    return rows + _normalized_rows(metrics, intervals)


def _normalized_rows(metrics: Mapping[str, Any], intervals: Mapping[str, Any]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    nme, failure, area = (metrics.get(key) or {} for key in ("nme", "fr", "auc"))
    name = nme.get("name")
    if nme.get("mean") is not None:
        row = {
            "measure": f"Normalised mean error (NME, {name})",
            "value": percent(nme["mean"], 2, _interval(intervals, "nme")),
        }
        rows.append({**row, "rule": f"mean error of an image / {name} of that image"})
    if failure.get("value") is not None:
        limit, between = f"{failure.get('threshold'):g}", _interval(intervals, "fr")
        row = {"measure": f"Failure rate (FR) at {limit}", "value": percent(failure["value"], 1, between)}
        rows.append({**row, "rule": f"images whose NME > {limit}"})
    if area.get("value") is not None:
        limit, between = f"{area.get('threshold'):g}", _interval(intervals, "auc")
        row = {"measure": f"Area under the CED (AUC) to {limit}", "value": number(area["value"], 3, "", between)}
        rows.append({**row, "rule": f"area up to {limit}, divided by {limit}: 1 is perfect"})
    return rows


def landmark_rows(per_landmark: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Rows of ``per_landmark`` (or ``per_group``): {name: error} or {name: {measure: value}}, nested shares flattened.

    >>> landmark_rows({"tip": {"mre_px": 1.5, "sdr_px": {"2.0": 0.75}}})
    [{'landmark': 'tip', 'mre_px': 1.5, 'sdr_px 2.0': 0.75}]
    """
    rows: list[dict[str, Any]] = []
    for name, values in (per_landmark or {}).items():
        row: dict[str, Any] = {"landmark": name}
        for key, value in (values if isinstance(values, Mapping) else {"mre_px": values}).items():
            row |= (
                {f"{key} {part}": inner for part, inner in value.items()}
                if isinstance(value, Mapping)
                else {key: value}
            )
        rows.append(row)
    known = [key for key in columns_of(rows) if any(row.get(key) is not None for row in rows)]
    return [{key: row.get(key) for key in known} for row in rows]


_LENGTH_RULES = {
    "mre": "mean over all annotated points",
    "sd": "spread of those errors",
    "median": "half of the points are nearer",
}


def _interval(intervals: Any, key: str) -> list[float] | None:
    pair = intervals.get(key) if isinstance(intervals, Mapping) else None
    return (
        [float(pair[0]), float(pair[1])] if isinstance(pair, Sequence) and len(pair) == 2 and None not in pair else None
    )


def _is_numeric(rows: Sequence[Row], key: str) -> bool:
    values = [row.get(key) for row in rows if row.get(key) is not None]
    return bool(values) and all(isinstance(value, Real) or str(value)[:1].isdigit() for value in values)


def _widths(headings: Sequence[str], cells: Sequence[Sequence[str]], least: int) -> list[int]:
    return [max([least, len(heading), *(len(row[i]) for row in cells)]) for i, heading in enumerate(headings)]


def _aligned(cells: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> list[str]:
    return [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, rights, strict=True)
    ]
