"""Tasks as the full export has them, whatever the export was, and the image that each is about."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from trigpoint.data.formats.objects import ObjectRows
from trigpoint.data.pixels.images import SUFFIXES
from trigpoint.errors import DataError

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts this before the name of an uploaded file
_LABELS = ("keypointlabels", "labels")


def task_of(file: Path, index: int, item: Any) -> dict[str, Any]:
    """One task as the full export has it; JSON_MIN has the results beside the data, by the name of their control."""
    where = f"{file}: task {index}"
    if not isinstance(item, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(item).__name__}; is it an export of Label Studio?")
    data = item.get("data")
    if isinstance(data, dict):
        old = {"annotations": item["completions"]} if "completions" in item and "annotations" not in item else {}
        return {**item, **old, "_where": where, "_least": False}
    lists = [values for values in item.values() if isinstance(values, list)]
    found = [value for values in lists for value in values if isinstance(value, dict) and "x" in value]
    results = [{"value": value, "type": _kind(value), **_sizes(value)} for value in found]
    note = {"result": results, "completed_by": item.get("annotator")}
    plain = {key: value for key, value in item.items() if isinstance(value, str)}
    notes = [note] if results or "annotation_id" in item else []
    return {"id": item.get("id"), "data": plain, "annotations": notes, "_where": where, "_least": True}


def _kind(value: dict[str, Any]) -> str:
    return next((key for key in value if key in _LABELS or key.endswith("labels")), "other")


def _sizes(value: dict[str, Any]) -> dict[str, Any]:
    names = ("original_width", "original_height", "image_rotation")
    return {name: value[name] for name in names if name in value}


def merged(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON_MIN lists a task once for each annotation: those of one image and number are one task."""
    out: dict[str, dict[str, Any]] = {}
    for index, task in enumerate(tasks):
        images = sorted(value for value in task["data"].values() if isinstance(value, str) and is_image(value))
        own = json.dumps([task["id"], images]) if task.get("_least") else str(index)
        if own in out:
            out[own]["annotations"] += task["annotations"]
        else:
            out[own] = task
    return list(out.values())


def is_image(text: str) -> bool:
    path = urlsplit(text).path if "//" in text[:10] else text
    return path.lower().endswith(SUFFIXES)


def image_file(text: str, rows: ObjectRows, where: str) -> Path:
    """The file of an image's address."""
    name = text
    if "?" in text:
        stored = parse_qs(urlsplit(text).query).get("d", [])
        name = stored[-1] if stored else text.partition("?")[0] if "//" in text[:10] else text
    image = rows.find(name, where)
    last = name.replace("\\", "/").rpartition("/")[2]
    if not image.is_file() and _UPLOADED.search(last):
        rows.image.missing.pop(name, None)
        image = rows.find(_UPLOADED.sub("", last), where)
    return image
