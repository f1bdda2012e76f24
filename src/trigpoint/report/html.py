"""One HTML file that carries everything: numbers, figures, settings, warnings and the rules behind the numbers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from trigpoint.errors import DataError
from trigpoint.report.style import figure_png
from trigpoint.report.tables import columns_of, landmark_rows, metric_rows, number, percent

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_HEADINGS = {
    "landmark": "Landmark", "group": "Group", "n": "n", "count": "n", "n_points": "n", "name": "Name",
    "mre_px": "MRE (px)", "sd_px": "SD (px)", "median_px": "Median (px)", "distance_px": "Distance (px)",
    "mre_mm": "MRE (mm)", "sd_mm": "SD (mm)", "median_mm": "Median (mm)", "nme": "NME",
    "precision": "Precision", "recall": "Recall", "f1": "F1",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure of the report: a matplotlib Figure, PNG or JPEG bytes, or the path of such a file."""

    title: str
    image: Figure | bytes | Path | str
    caption: str = ""


@dataclass(frozen=True)
class _Table:
    title: str
    columns: dict[str, str]
    rows: list[dict[str, str]]


def render_html(
    metrics: Mapping[str, Any],
    figures: Mapping[str, Figure | bytes | Path | str] | Sequence[Picture] = (),
    settings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    title: str = "Evaluation",
    subtitle: str = "",
    spacing_source: str | None = None,
) -> str:
    """The report as text of one HTML file that needs no network.

    ``metrics`` has the keys of an evaluation's dict; null keys are left out and an unknown unit is said.
    ``figures`` are {title: image} or ``Picture``s, embedded as base64. ``settings`` may be nested.
    ``spacing_source`` says where millimetres come from. All text is escaped. Raises DataError for an unreadable figure.
    """
    pictures = [Picture(name, image) for name, image in figures.items()] if isinstance(figures, Mapping) else figures
    environment = Environment(
        loader=PackageLoader("trigpoint.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        tiles=_tiles(metrics),
        measures=metric_rows(metrics),
        has_intervals=bool(metrics.get("ci95")),
        tables=_tables(metrics),
        pictures=[{"title": p.title, "caption": p.caption, "uri": _data_uri(p)} for p in pictures],
        settings=_flatten(settings or {}),
        warnings=list(warnings),
        rules=_rules(metrics, spacing_source),
    )


def write_html(path: str | Path, metrics: Mapping[str, Any], **options: Any) -> Path:
    """Write ``render_html(metrics, **options)`` to ``path``, making the folder; returns the path."""
    file = Path(path)
    text = render_html(metrics, **options)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def _tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The three to five numbers that answer "how good is it" at a glance."""
    tiles: list[dict[str, str]] = []
    unit = "mm" if metrics.get("mre_mm") is not None else "px"
    if metrics.get(f"mre_{unit}") is not None:
        spread = number(metrics.get(f"sd_{unit}"), 2)
        tiles.append(
            {"value": number(metrics[f"mre_{unit}"]), "unit": unit, "label": f"mean radial error, SD {spread}"}
        )
    rates = metrics.get(f"sdr_{unit}") or {}
    if rates:
        limit, share = next(iter(rates.items()))
        tiles.append(
            {"value": percent(share).removesuffix(" %"), "unit": "%", "label": f"of points within {limit} {unit}"}
        )
    nme, failure = metrics.get("nme") or {}, metrics.get("fr") or {}
    if nme.get("mean") is not None:
        tiles.append({"value": f"{100 * nme['mean']:.2f}", "unit": "%", "label": f"NME ({nme.get('name')})"})
    if failure.get("value") is not None:
        label = f"of images fail (NME > {failure['threshold']:g})"
        tiles.append({"value": f"{100 * failure['value']:.1f}", "unit": "%", "label": label})
    images, marks = metrics.get("n_images"), metrics.get("n_landmarks")
    if images is not None:
        tiles.append({"value": number(images), "unit": "", "label": f"images, {number(marks)} landmarks each"})
    return tiles


def _tables(metrics: Mapping[str, Any]) -> list[_Table]:
    found: list[_Table] = []
    parts = (("per_landmark", "Per landmark"), ("per_group", "Per group"), ("detection", "Detection of instances"))
    for key, title in parts:
        rows = landmark_rows(metrics.get(key))
        if not rows:
            continue
        columns = {name: _heading(name) for name in columns_of(rows)}
        if key == "per_group":
            columns["landmark"] = "Group"
        found.append(_Table(title, columns, [{name: _cell(name, row.get(name)) for name in columns} for row in rows]))
    return found


def _heading(key: str) -> str:
    if key.startswith("sdr_"):
        unit, _, limit = key.removeprefix("sdr_").partition(" ")
        return f"≤ {limit} {unit} (%)"
    return _HEADINGS.get(key, key)


def _cell(key: str, value: Any) -> str:
    if isinstance(value, int | float) and (key.startswith("sdr_") or key in ("precision", "recall", "f1", "nme")):
        return number(100 * value, 1) + ("" if key.startswith("sdr_") else " %")
    if isinstance(value, list | tuple):
        return ", ".join(number(item) for item in value)
    return number(value)


def _rules(metrics: Mapping[str, Any], spacing_source: str | None) -> list[tuple[str, str]]:
    """How each number was made, in words; only of numbers that are there."""
    rules = [
        ("Radial error", "distance between the predicted and the annotated point, in pixels of the original image"),
        ("Missing points", "points without annotation count in no number"),
    ]
    if metrics.get("mre_mm") is not None:
        origin = spacing_source or metrics.get("spacing_source") or "the pixel spacing stated by the data set"
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
        rules.append(
            ("Detection", "predictions and annotations are matched one to one; what stays unmatched is an error")
        )
    return rules


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out += _flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
            out.append((f"{prefix}{key}", UNSET if value is None else text))
    return out


UNSET = "not set"


def _data_uri(picture: Picture) -> str:
    image = picture.image
    if isinstance(image, Figure):
        data = figure_png(image)
    elif isinstance(image, bytes):
        data = image
    else:
        if not Path(image).is_file():
            raise DataError(
                f"report figure '{picture.title}': expected an image file, got no file at {image}; write it first"
            )
        data = Path(image).read_bytes()
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    raise DataError(f"report figure '{picture.title}': expected PNG or JPEG, got something else; convert it")
