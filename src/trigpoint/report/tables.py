"""Numbers as people read them, and tables of dict rows as Markdown or a rich table.

``metric_rows`` and ``landmark_rows`` turn the dict of an evaluation into rows, once, for the console and the report.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
Columns = Sequence[str] | Mapping[str, str] | None  # keys, or keys and headings; None: every key of the rows
UNKNOWN = "–"
_LENGTHS = {
    "mre": ("Mean radial error (MRE)", "mean over all annotated points"),
    "sd": ("Standard deviation", "spread of those errors"),
    "median": ("Median radial error", "half of the points are nearer"),
}


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


def broken(text: str, console: Console) -> str:
    """Lines as wide as the terminal, broken between words (paths stay whole); as they are where there is no terminal.

    >>> broken("as it is in a file, however long " * 9, Console(width=20)) == "as it is in a file, however long " * 9
    True
    """
    if not console.is_terminal:
        return text
    whole: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    lines = (textwrap.wrap(line, console.width, subsequent_indent="  ", **whole) or [""] for line in text.split("\n"))
    return "\n".join("\n".join(each) for each in lines)


def columns_of(rows: Sequence[Row], columns: Columns = None) -> dict[str, str]:
    """Keys and headings: as given, or every key of the rows in order of appearance."""
    if columns is None:
        return {key: key for row in rows for key in row}
    return dict(columns) if isinstance(columns, Mapping) else {key: key for key in columns}


def markdown_table(rows: Sequence[Row], columns: Columns = None) -> str:
    """A Markdown table; columns that hold only numbers are aligned right.

    >>> print(markdown_table([{"sigma": 5, "error": 87.05}, {"sigma": "Adaloss", "error": None}]))
    | sigma   | error |
    | ------- | ----: |
    | 5       | 87.05 |
    | Adaloss |     – |
    """
    headings = columns_of(rows, columns)
    lines = [list(headings.values()), *([number(row.get(key)) for key in headings] for row in rows)]
    texts = [[cell.replace("|", r"\|").replace("\n", " ") for cell in line] for line in lines]
    rights = [_is_numeric(rows, key) for key in headings]
    widths = [max(3, *map(len, column)) for column in zip(*texts, strict=True)]
    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in zip(widths, rights, strict=True)]
    sides = [(str.rjust if right else str.ljust, width) for right, width in zip(rights, widths, strict=True)]
    head, *body = ([side(cell, width) for (side, width), cell in zip(sides, line, strict=True)] for line in texts)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def console_table(rows: Sequence[Row], columns: Columns = None, title: str | None = None) -> Table:
    """A rich table for the terminal; cells are shown literally, brackets are no markup."""
    headings = columns_of(rows, columns)
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", pad_edge=False, box=None)
    for key, heading in headings.items():
        table.add_column(heading, justify="right" if _is_numeric(rows, key) else "left", overflow="fold")
    for row in rows:
        table.add_row(*(number(row.get(key)).replace("[", r"\[") for key in headings))
    return table


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Rows ``measure, value, rule`` of an evaluation's dict (mre_px, sdr_mm, nme, fr, auc, ci95, ...).

    What says most of a set comes first: lengths in mm, then shares of its normaliser, then px. A key that is null is
    left out, except that an unknown mm length is said once. ``ci95`` gives the interval of a value under that value's
    own key.
    """
    intervals = metrics.get("ci95") or {}
    rows: list[tuple[str, str, str]] = []
    rows += _length_rows(metrics, intervals, "mm")
    rows += _share_rows(metrics, intervals)
    rows += _length_rows(metrics, intervals, "px")
    rows += _trust_rows(metrics, intervals)
    if metrics.get("mre_mm") is None and metrics.get("mre_px") is not None:
        rows.append(("Lengths in mm", "unit unknown", "the data state no pixel spacing"))
    return [{"measure": measure, "value": value, "rule": rule} for measure, value, rule in rows]


def _length_rows(metrics: Mapping[str, Any], intervals: Mapping[str, Any], unit: str) -> list[tuple[str, str, str]]:
    """MRE, SD, median and success rates in one unit."""
    rows = []
    for key, (label, rule) in _LENGTHS.items():
        if (value := metrics.get(f"{key}_{unit}")) is not None:
            rows.append((label, number(value, 2, unit, _interval(intervals, f"{key}_{unit}")), rule))
    for limit, share in (metrics.get(f"sdr_{unit}") or {}).items():
        text = percent(share, 1, _interval(intervals.get(f"sdr_{unit}"), limit))
        rows.append((f"Success detection rate (SDR) at {limit} {unit}", text, f"error <= {limit} {unit}"))
    return rows


def _share_rows(metrics: Mapping[str, Any], intervals: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What is measured in shares of the normaliser: NME, failure rate and area under the curve."""
    rows = []
    nme, failure, area = (metrics.get(key) or {} for key in ("nme", "fr", "auc"))
    if nme.get("mean") is not None:
        name, text = nme.get("name"), percent(nme["mean"], 2, _interval(intervals, "nme"))
        rows.append((f"Normalised mean error (NME, {name})", text, f"mean error of an image / {name} of that image"))
    if failure.get("value") is not None:
        limit, text = f"{100 * failure['threshold']:g} %", percent(failure["value"], 1, _interval(intervals, "fr"))
        rows.append((f"Failure rate (FR) at {limit}", text, f"images whose NME > {limit}"))
    if area.get("value") is not None:
        limit, text = f"{100 * area['threshold']:g} %", number(area["value"], 3, "", _interval(intervals, "auc"))
        rows.append(
            (f"Area under the CED (AUC) to {limit}", text, "area below the curve of NME up to there: 1 is perfect")
        )
    return rows


def _trust_rows(metrics: Mapping[str, Any], intervals: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """How often the radius held, by difficulty, and what flagged images hold of the large errors."""
    rows: list[tuple[str, str, str]] = []
    if radius := metrics.get("radius"):
        parts = [f"{name} {100 * radius[name]:.0f} %" for name in ("easy", "middle", "hard") if name in radius]
        held = percent(radius["held"], 1, _interval(intervals, "radius"))
        thirds = f"; thirds by expected error: {', '.join(parts)}" if parts else ""
        rows.append(("Error within the radius", held, f"promised {percent(radius['promised'], 0)}{thirds}"))
    if flagged := metrics.get("flagged"):
        large = f"{percent(flagged['large_errors'])} of the large errors"
        rows.append(
            (f"In the {percent(flagged['images'])} of images flagged", large, "the largest tenth of all errors")
        )
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
            nested = isinstance(value, Mapping)
            row |= {f"{key} {part}": inner for part, inner in value.items()} if nested else {key: value}
        rows.append(row)
    known = [key for key in columns_of(rows) if any(row.get(key) is not None for row in rows)]
    return [{key: row.get(key) for key in known} for row in rows]


def measurement_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of ``measurements`` of an evaluation's dict, with limits and intervals in the cell of their number.

    >>> one = {"unit": "deg", "n_images": 9, "mae": 1.0, "bias": 0.5, "limits": [-2.0, 3.0], "sd": 1.2, "icc": 0.9}
    >>> rows = measurement_rows({"measurements": {"SNA": one | {"half_width": 2.5, "within": 0.9}}})
    >>> rows[0]["bias [95 % limits]"], rows[0]["90 % interval"]
    ('0.50 [-2.00, 3.00]', '± 2.50, holds 90.0 %')
    """
    rows = []
    for name, one in (metrics.get("measurements") or {}).items():
        digits = 3 if one["unit"] == "ratio" else 2
        wide = one["half_width"]
        row: dict[str, Any] = {"measurement": name, "unit": one["unit"], "n": one["n_images"]}
        row |= {"MAE": number(one["mae"], digits), "bias [95 % limits]": number(one["bias"], digits, "", one["limits"])}
        row |= {"SD": number(one["sd"], digits), "ICC": number(one["icc"], 3)}
        held = UNKNOWN if wide is None else f"± {number(wide, digits)}, holds {percent(one['within'])}"
        rows.append(row | {"90 % interval": held})
    return rows


def annotator_rows(metrics: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of ``annotators`` and ``against_annotators`` of an evaluation's dict, each number with its interval.

    >>> pairs = {"model - ann": {"mre_mm": 1.5, "n_images": 9}}
    >>> annotator_rows({"annotators": pairs, "ci95": {"annotators": {"model - ann": {"mre_mm": [1.2, 1.8]}}}})
    ([{'between': 'model - ann', 'MRE mm': '1.50 [1.20, 1.80]', 'images': 9}], [])
    """
    names = {"mre": "MRE", "model": "model to one", "annotators": "two of them", "difference": "difference"}
    found = []
    for key, first in (("annotators", "between"), ("against_annotators", "landmark")):
        bounds = (metrics.get("ci95") or {}).get(key) or {}
        rows = []
        for name, values in (metrics.get(key) or {}).items():
            row: dict[str, Any] = {first: name}
            for part, value in values.items():
                what, _, unit = part.rpartition("_")
                own = number(value, interval=_interval(bounds.get(name), part))
                row |= {"images": value} if part == "n_images" else {f"{names[what]} {unit}": own}
            rows.append(row)
        found.append(rows)
    return found[0], found[1]


def _interval(intervals: Any, key: str) -> list[float] | None:
    pair = intervals.get(key) if isinstance(intervals, Mapping) else None
    return list(map(float, pair)) if isinstance(pair, Sequence) and len(pair) == 2 and None not in pair else None


def _is_numeric(rows: Sequence[Row], key: str) -> bool:
    values = [row.get(key) for row in rows if row.get(key) is not None]
    return bool(values) and all(isinstance(value, Real) or str(value)[:1].isdigit() for value in values)
