"""Label Studio: JSON and JSON_MIN exports, points in percent of the image; tasks with pre-annotations to import."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import load_json, number, shown
from trigpoint.data.formats.base import Format, write_files
from trigpoint.data.formats.objects import ImageObjects, ObjectRows, repeats_of, size_differs
from trigpoint.data.pixels.images import SUFFIXES, image_size
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import Sample

RESULTS = ("predictions", "annotations")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio puts this before the name of an uploaded file
_LABELS = ("keypointlabels", "labels")


class LabelStudio(Format):
    """Landmarks by the labels of key points; the region that is their parent (``parentID``) is their object.

    Points are percent of the image's width and height, so they hold for a resized copy too: the size of the upright
    file counts, and ``original_width`` and ``original_height`` only where there is no file; a difference is told.
    Points of an image that was turned in Label Studio (``image_rotation``) are, as its documentation says, those of the
    image as it was before; that is told. 0 percent is the corner of the top-left pixel: the numbers are kept as they
    are, unless ``--origin corner`` takes away the half pixel.

    The image may be an address, ``/data/upload/1/abcdef12-a.png`` (the name is looked for with and without the eight
    signs) or ``/data/local-files/?d=sub/a.png``; ``image`` names its key in the data, if it is not clear.

    Of several annotations of a task the one marked as ground truth counts, else the first, and that is told;
    ``annotator`` (the id or address in ``completed_by``) chooses. Cancelled annotations are told and left out; a task
    without any was not annotated, one with an empty annotation shows none. Predictions are read only where no task in
    the file has an annotation. Told and left out: other regions, relations, points without a label.

    Written are tasks with ``predictions`` (with ``result=annotations`` annotations), with scores, and beside them the
    labelling interface, ``NAME_config.xml``. ``prefix`` stands before the image names. Label Studio cannot say that a
    point is occluded (it comes back as visible) or absent. Names of instances are the notes of a rectangle around them.
    Pairs, groups and spacing are not stored; ``split`` and ``subject`` are among the data of a task.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        annotator: str | None = None,
        image: str | None = None,
        repeats: str = "left_out",
        result: str = "predictions",
        prefix: str = "/data/local-files/?d=",
    ) -> None:
        if result not in RESULTS:
            raise ConfigError(f"result: expected {' or '.join(RESULTS)}, got {shown(result)}")
        self.names, self.image, self.repeats = names, image, repeats_of(repeats)
        self.annotator = None if annotator is None else str(annotator)
        self.result, self.prefix = result, str(prefix)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read an export, JSON or JSON_MIN. Raises DataError."""
        file = Path(source)
        values = load_json(file)
        tasks = [
            _task(file, index, item) for index, item in enumerate(values if isinstance(values, list) else [values])
        ]
        if not tasks:
            raise DataError(f"{file}: expected a list of tasks, got an empty one")
        rows = ObjectRows(file, file.parent if images is None else Path(images), self.names, self.repeats)
        merged = _merged(tasks)
        key = "annotations" if any(task.get("annotations") for task in merged) else "predictions"
        predicted = sum(bool(task.get("predictions")) for task in merged)
        if predicted and key == "annotations":
            rows.problem(file, f"{predicted} tasks have predictions beside annotations; they are not read")
        elif predicted:
            rows.problem(file, f"no task has an annotation; the predictions of {predicted} tasks are read")
        named = False
        for task in merged:
            named |= self._add(task, key, rows)
        return rows.dataset(file.stem, instances=named or None)

    def _add(self, task: dict[str, Any], key: str, rows: ObjectRows) -> bool:
        """Add a task's image; whether we wrote it as one of a set with instances."""
        where, data = task["_where"], task["data"]
        name = self._image_name(task, rows)
        if name is None:
            return False
        image = _image(name, rows, where)
        chosen = self._chosen(task, key, rows)
        found = ImageObjects(rows, where, seen=chosen is not None)
        rows.listed(data.get("landmarks"))
        if chosen is not None:
            _points(found, chosen, image)
        split, subject = (data.get(part) if isinstance(data.get(part), str) else "" for part in ("split", "subject"))
        rows.put(image, found, split=split or "", subject=subject or "")
        return data.get("instances") is True

    def _image_name(self, task: dict[str, Any], rows: ObjectRows) -> str | None:
        data, where = task["data"], task["_where"]
        keys = [key for key, value in data.items() if isinstance(value, str) and _is_image(value)]
        key = self.image or ("image" if "image" in data else keys[0] if len(keys) == 1 else None)
        if key is None or not isinstance(data.get(key), str):
            got = ", ".join(keys[:5]) or ", ".join(map(str, list(data)[:5])) or "nothing"
            raise DataError(f"{where}: expected the image in its data, got {got}; name the key with --option image=KEY")
        text: str = data[key]
        if text.startswith("data:"):
            rows.tell("an image stands in the file itself; left out (export it to a file)", where)
            return None
        return text

    def _chosen(self, task: dict[str, Any], key: str, rows: ObjectRows) -> dict[str, Any] | None:
        """The annotation that counts, None without one."""
        given = task.get(key)
        notes = [note for note in given if isinstance(note, dict)] if isinstance(given, list) else []
        for note in notes:
            if note.get("was_cancelled"):
                rows.tell("cancelled annotation; left out", task["_where"])
        notes = [note for note in notes if not note.get("was_cancelled") and isinstance(note.get("result"), list)]
        if self.annotator is not None and key == "annotations":
            own = [note for note in notes if self.annotator in _who(note)]
            if notes and not own:
                rows.tell(f"task without an annotation of {shown(self.annotator)}; not annotated", task["_where"])
            notes = own
        if len(notes) > 1:
            who = ", ".join(dict.fromkeys(min(_who(note), key=len, default="?") for note in notes))
            what = "several annotations of a task, the ground truth or else the first is read"
            fix = "; choose one with --option annotator=ID" if self.annotator is None else ""
            rows.tell(f"{what}{fix}", f"{task['_where']} (by {who})"[:300])
        return next((note for note in notes if note.get("ground_truth")), notes[0] if notes else None)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one JSON file of tasks and the labelling interface; image files are opened for their size."""
        tasks = []
        for number_, indices in enumerate(dataset.by_image(), start=1):
            samples = [dataset.samples[index] for index in indices]
            name = dataset.image_name(samples[0])
            data: dict[str, Any] = {"image": self.prefix + quote(name), "landmarks": list(dataset.landmarks.names)}
            data |= {key: v for key, v in (("split", samples[0].split), ("subject", samples[0].subject)) if v}
            data |= {"instances": True} if dataset.instances else {}
            task: dict[str, Any] = {"id": number_, "data": data}
            if not all((sample.visibility == 0).all() for sample in samples):
                note: dict[str, Any] = {"result": _results(dataset, samples)}
                scores = np.concatenate([s.scores for s in samples if s.scores is not None] or [np.zeros(0)])
                if np.isfinite(scores).any():
                    note["score"] = float(np.nanmean(scores))
                if self.result == "predictions":
                    note["model_version"] = "trigpoint"
                task[self.result] = [note]
            tasks.append(task)
        file = Path(target)
        texts = {file: json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"}
        texts[file.with_name(f"{file.stem}_config.xml")] = _config(dataset)
        return write_files(texts, overwrite=overwrite)


def _task(file: Path, index: int, item: Any) -> dict[str, Any]:
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


def _merged(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON_MIN lists a task once for each annotation: those of one image and number are one task."""
    out: dict[str, dict[str, Any]] = {}
    for index, task in enumerate(tasks):
        images = sorted(value for value in task["data"].values() if isinstance(value, str) and _is_image(value))
        own = json.dumps([task["id"], images]) if task.get("_least") else str(index)
        if own in out:
            out[own]["annotations"] += task["annotations"]
        else:
            out[own] = task
    return list(out.values())


def _is_image(text: str) -> bool:
    path = urlsplit(text).path if "//" in text[:10] else text
    return path.lower().endswith(SUFFIXES)


def _image(text: str, rows: ObjectRows, where: str) -> Path:
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


def _who(note: dict[str, Any]) -> set[str]:
    """What an annotator may be called: number, address."""
    by = note.get("completed_by")
    values = [by.get(key) for key in ("id", "email", "username")] if isinstance(by, dict) else [by]
    return {str(value) for value in values if isinstance(value, str | int)}


def _points(found: ImageObjects, note: dict[str, Any], image: Path) -> None:
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
    for message in filter(None, [size_differs(image, *pair) for pair in sorted(stated, key=str)]):
        place = found.where.rpartition(": ")[2]
        found.rows.problem(found.rows.source, f"{place}: {message}; percent of the file are read")
    turned = sorted({f"{angle:g}" for item in points if (angle := number(item.get("image_rotation")))})
    if turned:
        what = "the image was turned in Label Studio; its points are read as those of the image before that"
        found.rows.tell(what, f"{found.where} ({', '.join(turned)} degrees)"[:300])


def _results(dataset: LandmarkDataset, samples: list[Sample]) -> list[dict[str, Any]]:
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


def _config(dataset: LandmarkDataset) -> str:
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
