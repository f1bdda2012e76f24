"""One HTML file that carries everything: numbers, figures, settings, warnings and the rules behind the numbers."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from trigpoint.errors import DataError
from trigpoint.report.palette import MISTAKEN, PREDICTED, TRUTH
from trigpoint.report.style import figure_png
from trigpoint.report.tables import columns_of, landmark_rows, metric_rows, number, percent
from trigpoint.report.views import Gallery, beside

_DPI, _SHARP = 110, 2  # of a figure as it stands in the page, and how many times as many pixels it has, to be enlarged
_OF_VIEW = ("title", "told", "size", "marks", "bones", "exact", "link", "small", "key")
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_PARTS = {  # table of the metrics: its title, and what its rows are
    "per_landmark": ("Per landmark", "Landmark"),
    "per_group": ("Per group", "Group"),
    "annotators": ("Model and annotators: mean distances", "Between"),
    "against_annotators": ("Model against annotators, as far as two have labelled", "Landmark"),
    "measurements": ("Measurements", "Measurement"),
    "detection": ("Detection of instances", "Landmark"),
    "detection_lenient": ("Detection of instances, misses counted leniently", "Landmark"),
    "detection_total": ("Detection of instances, all landmarks together", "Counting"),
}
_HEADINGS = {
    "landmark": "Landmark", "group": "Group", "n": "n", "count": "n", "n_points": "n", "name": "Name",
    "mre_px": "MRE (px)", "sd_px": "SD (px)", "median_px": "Median (px)", "distance_px": "Distance (px)",
    "mre_mm": "MRE (mm)", "sd_mm": "SD (mm)", "median_mm": "Median (mm)", "nme": "NME",
    "precision": "Precision", "recall": "Recall", "f1": "F1",
    "model_mm": "Model to one (mm)", "model_px": "Model to one (px)",
    "annotators_mm": "Two of them (mm)", "annotators_px": "Two of them (px)",
    "difference_mm": "Difference (mm)", "difference_px": "Difference (px)",
    "unit": "Unit", "n_images": "Images", "n_subjects": "Subjects", "n_unpredicted": "Not predicted", "mae": "MAE",
    "bias": "Bias", "sd": "SD", "limits": "95 % limits", "icc": "ICC(2,1)", "half_width": "90 % interval, ±",
    "within": "Within it", "true_positives": "Found", "false_positives": "False", "misses": "Missed",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A figure of the report: a matplotlib Figure, PNG or JPEG bytes, or the path of such a file."""

    title: str
    image: Figure | bytes | Path
    caption: str = ""


def render_html(
    metrics: Mapping[str, Any],
    figures: Sequence[Picture | Gallery] = (),
    settings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    title: str = "Evaluation",
    subtitle: str = "",
    spacing_source: str | None = None,
) -> str:
    """The report as text of one HTML file that needs no network.

    ``metrics`` has the keys of an evaluation's dict; null keys are left out and an unknown unit is said.
    ``figures`` are embedded as base64, each once; a click shows them enlarged. ``settings`` may be nested.
    ``spacing_source`` says where millimetres come from.
    All text is escaped. Raises DataError for an unreadable figure.
    """
    how: dict[str, Any] = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=PackageLoader("trigpoint.report", "."), autoescape=True, **how)
    environment.filters |= {"number": number, "percent": percent}
    return environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        metrics=metrics,
        measures=metric_rows(metrics),
        tables=_tables(metrics),
        pictures=[_gallery(one) if isinstance(one, Gallery) else _picture(one) for one in figures],
        truth=TRUTH,
        predicted=PREDICTED,
        mistaken=MISTAKEN,
        beside=beside,
        settings=_flatten(settings or {}),
        warnings=list(warnings),
        spacing_source=spacing_source,
    )


def _tables(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
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
        found.append({"title": title, "columns": columns, "rows": cells})
    return found


def _heading(key: str) -> str:
    if key.startswith("sdr_"):
        unit, _, limit = key.removeprefix("sdr_").partition(" ")
        return f"≤ {limit} {unit} (%)"
    return _HEADINGS.get(key, key)


def _cell(key: str, value: Any, interval: Sequence[float] | None = None) -> str:
    if isinstance(value, int | float) and key in ("precision", "recall", "f1", "nme", "within"):
        return percent(value, 1, interval)
    if isinstance(value, int | float) and key.startswith("sdr_"):
        return number(100 * value, 1)
    if isinstance(value, list | tuple):
        return ", ".join(number(item) for item in value)
    return number(value, interval=interval if isinstance(value, int | float) else None)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            out += _flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
            out.append((f"{prefix}{key}", "not set" if value is None else text))
    return out


def _picture(picture: Picture) -> dict[str, Any]:
    """What the template needs: also how large the picture is in the page, pixels."""
    image, what = picture.image, f"report figure '{picture.title}'"
    if isinstance(image, Path):
        if not image.is_file():
            raise DataError(f"{what}: expected an image file, got no file at {image}; write it first")
        image = image.read_bytes()
    scale = _SHARP if isinstance(image, Figure) else 1
    data = figure_png(image, dpi=scale * _DPI) if isinstance(image, Figure) else image
    uri = _data_uri(data, what)
    try:
        with Image.open(io.BytesIO(data)) as read:
            width, height = read.size
    except OSError as error:
        raise DataError(f"{what}: expected a whole PNG or JPEG, got {error}; write it again") from None
    size = {"width": width // scale, "height": height // scale}
    return {"title": picture.title, "caption": picture.caption, "uri": uri, "command": "", **size}


def _gallery(gallery: Gallery) -> dict[str, Any]:
    what = f"report figure '{gallery.title}'"
    views = [
        {name: getattr(view, name) for name in _OF_VIEW} | {"uri": _data_uri(view.picture, what)}
        for view in gallery.views
    ]
    return {**vars(gallery), "views": views}


def _data_uri(data: bytes, what: str) -> str:
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    raise DataError(f"{what}: expected PNG or JPEG, got something else; convert it")
