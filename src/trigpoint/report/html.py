"""One HTML file that carries everything: numbers, figures, settings, warnings and the rules behind the numbers."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from trigpoint.errors import DataError
from trigpoint.report.style import figure_png
from trigpoint.report.tables import columns_of, landmark_rows, metric_rows, number, percent

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_PARTS = {  # table of the metrics: its title, and what its rows are
    "per_landmark": ("Per landmark", "Landmark"),
    "per_group": ("Per group", "Group"),
    "detection": ("Detection of instances", "Landmark"),
    "detection_lenient": ("Detection of instances, misses counted leniently", "Landmark"),
    "detection_total": ("Detection of instances, all landmarks together", "Counting"),
}
_HEADINGS = {
    "landmark": "Landmark", "group": "Group", "n": "n", "count": "n", "n_points": "n", "name": "Name",
    "mre_px": "MRE (px)", "sd_px": "SD (px)", "median_px": "Median (px)", "distance_px": "Distance (px)",
    "mre_mm": "MRE (mm)", "sd_mm": "SD (mm)", "median_mm": "Median (mm)", "nme": "NME",
    "precision": "Precision", "recall": "Recall", "f1": "F1",
    "true_positives": "Found", "false_positives": "False", "misses": "Missed",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure of the report: a matplotlib Figure, PNG or JPEG bytes, or the path of such a file."""

    title: str
    image: Figure | bytes | Path
    caption: str = ""


@dataclass(frozen=True)
class _Table:
    title: str
    columns: dict[str, str]
    rows: list[dict[str, str]]


def render_html(
    metrics: Mapping[str, Any],
    figures: Sequence[Picture] = (),
    settings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    title: str = "Evaluation",
    subtitle: str = "",
    spacing_source: str | None = None,
) -> str:
    """The report as text of one HTML file that needs no network.

    ``metrics`` has the keys of an evaluation's dict; null keys are left out and an unknown unit is said.
    ``figures`` are embedded as base64. ``settings`` may be nested. ``spacing_source`` says where millimetres come from.
    All text is escaped. Raises DataError for an unreadable figure.
    """
    about: dict[str, Any] = {
        "autoescape": True,
        "undefined": StrictUndefined,
        "trim_blocks": True,
        "lstrip_blocks": True,
    }
    environment = Environment(loader=PackageLoader("trigpoint.report", "."), **about)
    return environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        tiles=_tiles(metrics),
        measures=metric_rows(metrics),
        has_intervals=bool(metrics.get("ci95")),
        tables=_tables(metrics),
        pictures=[{"title": p.title, "caption": p.caption, "uri": _data_uri(p)} for p in figures],
        settings=_flatten(settings or {}),
        warnings=list(warnings),
        rules=_rules(metrics, spacing_source),
    )


def _tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The three to five numbers that answer "how good is it" at a glance."""
    tiles: list[tuple[str, str, str]] = []  # value, unit, label
    unit = "mm" if metrics.get("mre_mm") is not None else "px"
    if (mean := metrics.get(f"mre_{unit}")) is not None:
        tiles.append((number(mean), unit, f"mean radial error, SD {number(metrics.get(f'sd_{unit}'))}"))
    for limit, share in list((metrics.get(f"sdr_{unit}") or {}).items())[:1]:
        tiles.append((percent(share).removesuffix(" %"), "%", f"of points within {limit} {unit}"))
    if (nme := metrics.get("nme") or {}).get("mean") is not None:
        tiles.append((f"{100 * nme['mean']:.2f}", "%", f"NME ({nme.get('name')})"))
    if (failure := metrics.get("fr") or {}).get("value") is not None:
        tiles.append((f"{100 * failure['value']:.1f}", "%", f"of images fail (NME > {failure['threshold']:g})"))
    instances = (metrics.get("detection_total") or {}).get("strict") or {}
    for key, label in (("recall", "of instances found"), ("precision", "of predictions right")):
        if instances.get(key) is not None:
            tiles.append((f"{100 * instances[key]:.1f}", "%", f"{label} ({key})"))
    if (images := metrics.get("n_images")) is not None:
        tiles.append((number(images), "", f"images, {number(metrics.get('n_landmarks'))} landmarks each"))
    return [{"value": value, "unit": unit, "label": label} for value, unit, label in tiles]


def _tables(metrics: Mapping[str, Any]) -> list[_Table]:
    found: list[_Table] = []
    intervals = metrics.get("ci95") or {}
    for key, (title, what) in _PARTS.items():
        rows = landmark_rows(metrics.get(key))
        if not rows:
            continue
        columns = {name: _heading(name) for name in columns_of(rows)} | {"landmark": what}
        bounds = [(intervals.get(key) or {}).get(row["landmark"]) or {} for row in rows]
        cells = [
            {name: _cell(name, row.get(name), b.get(name)) for name in columns}
            for row, b in zip(rows, bounds, strict=True)
        ]
        found.append(_Table(title, columns, cells))
    return found


def _heading(key: str) -> str:
    if key.startswith("sdr_"):
        unit, _, limit = key.removeprefix("sdr_").partition(" ")
        return f"≤ {limit} {unit} (%)"
    return _HEADINGS.get(key, key)


def _cell(key: str, value: Any, interval: Sequence[float] | None = None) -> str:
    if isinstance(value, int | float) and key in ("precision", "recall", "f1", "nme"):
        return percent(value, 1, interval)
    if isinstance(value, int | float) and key.startswith("sdr_"):
        return number(100 * value, 1)
    if isinstance(value, list | tuple):
        return ", ".join(number(item) for item in value)
    return number(value, interval=interval if isinstance(value, int | float) else None)


def _rules(metrics: Mapping[str, Any], spacing_source: str | None) -> list[tuple[str, str]]:
    """How each number was made, in words; only of numbers that are there."""
    rules = [
        ("Radial error", "distance between the predicted and the annotated point, in pixels of the original image"),
        ("Missing points", "points without annotation count in no number"),
    ]
    if metrics.get("mre_mm") is not None:
        origin = spacing_source or "the pixel spacing stated by the data set"
        rules.append(("Millimetres", f"pixels times {origin}; never guessed"))
    elif metrics.get("mre_px") is not None:
        rules.append(
            ("Millimetres", "unit unknown: the data state no pixel spacing, so lengths are given in pixels only")
        )
    if metrics.get("sdr_mm") or metrics.get("sdr_px"):
        rules.append(("SDR", "success detection rate: share of points with error <= threshold"))
    if (nme := metrics.get("nme") or {}).get("mean") is not None:
        rules.append(("NME", f"mean error of an image divided by its own {nme.get('name')}, averaged over images"))
    if (failure := metrics.get("fr") or {}).get("value") is not None:
        rules.append(("FR", f"failure rate: share of images with NME > {failure.get('threshold')}"))
    if (area := metrics.get("auc") or {}).get("value") is not None:
        rules.append(("AUC", f"area under the cumulative error curve up to {area.get('threshold')}, scaled to 0..1"))
    if metrics.get("ci95"):
        rules.append(("[low, high]", "95 % bootstrap interval, drawn over subjects where the data name them"))
    if metrics.get("detection"):
        rules += _detection_rules(metrics)
    return rules


def _detection_rules(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    radius, threshold = metrics.get("detection_radius_px"), metrics.get("detection_threshold")
    within = ""
    if radius is not None:
        within = f" nearer than {' to '.join(f'{r:g}' for r in np.atleast_1d(radius))} px"
    kept = "" if threshold is None else f" with a score above {threshold:.3g}"
    text = f"predictions{kept} and annotations{within} are matched one to one; what stays unmatched is an error"
    rules = [("Detection", text)]
    if metrics.get("detection_lenient") or "lenient" in (metrics.get("detection_total") or {}):
        text = "a miss is counted only where an image has fewer predictions of the landmark than annotations"
        rules.append(("Counted leniently", f"{text}; recall is then never lower"))
    return rules


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out += _flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
            out.append((f"{prefix}{key}", "not set" if value is None else text))
    return out


def _data_uri(picture: Picture) -> str:
    image, what = picture.image, f"report figure '{picture.title}'"
    if isinstance(image, Path):
        if not image.is_file():
            raise DataError(f"{what}: expected an image file, got no file at {image}; write it first")
        image = image.read_bytes()
    data = figure_png(image) if isinstance(image, Figure) else image
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    raise DataError(f"{what}: expected PNG or JPEG, got something else; convert it")
