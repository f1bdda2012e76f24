"""Regions of an annotation: key points and their parents, in percent of the image, read and written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, shown
from trigpoint.data.formats.objects import ImageObjects, size_differs
from trigpoint.data.pixels.images import image_size
from trigpoint.errors import DataError
from trigpoint.landmarks import Sample

_LABELS = ("keypointlabels", "labels")


def add_points(found: ImageObjects, note: dict[str, Any], image: Path) -> None:
    """The key points of one annotation."""
    results = [item for item in note["result"] if isinstance(item, dict) and isinstance(item.get("value"), dict)]
    lost = len(note["result"]) - len(results)
    relations = sum(isinstance(item, dict) and item.get("type") == "relation" for item in note["result"])
    if relations:
        found.rows.tell("relations between regions are not read", found.where)
    if lost > relations:
        found.rows.tell("expected a region with a 'value'; left out", found.where)
        found.lost("")
    owners = _owners(results)
    labels: dict[str, list[Any]] = {}  # of a region, where another control gives it its label
    for item in results:
        if "id" in item and _own_labels(item["value"]):
            labels.setdefault(str(item["id"]), _own_labels(item["value"]))
    points = {index: item for index, item in enumerate(results) if _is_point(item)}
    done: set[str] = set()
    size = _size(image)
    _tell_sizes(found, list(points.values()), image)
    for item in points.values():
        value, own = item["value"], str(item.get("id"))
        if "id" in item and own in done:
            continue  # the same region, as another control gives it
        done.add(own)
        width, height = size or (number(item.get("original_width")), number(item.get("original_height")))
        if width is None or height is None:
            found.rows.tell("expected an image file or its original_width and original_height; left out", found.where)
            continue
        at = [None if isinstance(value.get(axis), str) else number(value.get(axis)) for axis in "xy"]
        pixel = [None if v is None else v * most / 100 for v, most in zip(at, (width, height), strict=True)]
        group = owners.get(str(item.get("parentID")), "") if item.get("parentID") is not None else ""
        for name in labels.get(own if "id" in item else "", []) or _own_labels(value) or [None]:
            found.point(name, pixel[0], pixel[1], group, score=number(item.get("score")))
    used = done | {str(item.get("parentID")) for item in points.values()}
    for index, item in enumerate(results):
        if index not in points and not ("id" in item and str(item["id"]) in used):
            found.rows.tell(f"region of type {shown(item.get('type'))}; only key points are read", found.where)


def _own_labels(value: dict[str, Any]) -> list[Any]:
    return next((value[key] for key in _LABELS if isinstance(value.get(key), list)), [])


def _is_point(item: dict[str, Any]) -> bool:
    """A key point: by its labels, or one that another control labels."""
    value = item["value"]
    return item.get("type") in ("keypointlabels", "keypoint") or "keypointlabels" in value


def _owners(results: list[dict[str, Any]]) -> dict[str, str]:
    """Names of the objects by the id of their region: its note, where it has one of its own, else 1, 2, ..."""
    wanted = {str(item["parentID"]) for item in results if item.get("parentID") is not None}
    found: dict[str, str] = {}
    for item in results:
        own = str(item.get("id"))
        if own in wanted and own not in found:
            meta = item.get("meta")
            texts = meta.get("text") if isinstance(meta, dict) else None
            text = texts[0] if isinstance(texts, list) and texts and isinstance(texts[0], str) else ""
            found[own] = text if text and text not in found.values() else str(len(found) + 1)
    for own in sorted(wanted - set(found)):
        found[own] = str(len(found) + 1)
    return found


def _size(image: Path) -> tuple[float, float] | None:
    if not image.is_file():
        return None
    try:
        height, width = image_size(image)
    except DataError:
        return None
    return width, height


def _tell_sizes(found: ImageObjects, points: list[dict[str, Any]], image: Path) -> None:
    """Tell what differs between an image and what was labelled, once for an image."""
    stated = {(number(item.get("original_width")), number(item.get("original_height"))) for item in points}
    for differs in filter(None, [size_differs(image, *pair) for pair in sorted(stated, key=str)]):
        what = "labels state another size than that of the upright image; points are read as percent of the file"
        found.rows.tell(what, differs)
    turned = sorted({f"{angle:g}" for item in points if (angle := number(item.get("image_rotation")))})
    if turned:
        what = "the image was turned in Label Studio; its points are read as those of the image before that"
        found.rows.tell(what, f"{found.where} ({', '.join(turned)} degrees)"[:300])


def regions(dataset: LandmarkDataset, samples: list[Sample]) -> list[dict[str, Any]]:
    height, width = image_size(samples[0].image)
    common = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    out: list[dict[str, Any]] = []
    for order, sample in enumerate(samples, start=1):
        seen = sample.visibility > 0
        if not seen.any():
            continue
        shares = 100 * sample.points / (width, height)
        if dataset.instances:
            low, high = shares[seen].min(axis=0), shares[seen].max(axis=0)
            box = {"x": low[0], "y": low[1], "width": high[0] - low[0], "height": high[1] - low[1]}
            frame = {**{key: float(v) for key, v in box.items()}, "rotation": 0, "rectanglelabels": ["object"]}
            owner = {"id": f"object{order}", "type": "rectanglelabels", "from_name": "object", "value": frame}
            out.append(owner | {"meta": {"text": [sample.instance or str(order)]}} | common)
        for k, name in enumerate(dataset.landmarks.names):
            if not seen[k]:
                continue
            value = {"x": float(shares[k, 0]), "y": float(shares[k, 1]), "width": 0.5, "keypointlabels": [name]}
            region: dict[str, Any] = {
                "id": f"point{order}_{k}",
                "type": "keypointlabels",
                "from_name": "landmarks",
                "value": value,
            }
            if dataset.instances:
                region["parentID"] = f"object{order}"
            if sample.scores is not None and np.isfinite(sample.scores[k]):
                region["score"] = float(sample.scores[k])
            out.append(region | common)
    return out


def interface(dataset: LandmarkDataset) -> str:
    """The labelling interface that takes the tasks."""

    def lines() -> Iterator[str]:
        yield "<View>"
        yield '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>'
        yield '  <KeyPointLabels name="landmarks" toName="image" strokeWidth="3">'
        for name in dataset.landmarks.names:
            yield f"    <Label value={quoteattr(name)}/>"
        yield "  </KeyPointLabels>"
        if dataset.instances:
            yield '  <RectangleLabels name="object" toName="image"><Label value="object"/></RectangleLabels>'
        yield "</View>"

    return "\n".join(lines()) + "\n"
