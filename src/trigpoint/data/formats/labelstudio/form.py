"""The format: which annotation of which task counts, and the files that are written."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import load_json, shown
from trigpoint.data.formats.base import Format, write_files
from trigpoint.data.formats.labelstudio.regions import add_points, interface, regions
from trigpoint.data.formats.labelstudio.tasks import image_file, is_image, merged, task_of
from trigpoint.data.formats.objects import ImageObjects, ObjectRows, repeats_of
from trigpoint.errors import ConfigError, DataError

RESULTS = ("predictions", "annotations")


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
            task_of(file, index, item) for index, item in enumerate(values if isinstance(values, list) else [values])
        ]
        if not tasks:
            raise DataError(f"{file}: expected a list of tasks, got an empty one")
        rows = ObjectRows(file, file.parent if images is None else Path(images), self.names, self.repeats)
        found = merged(tasks)
        key = "annotations" if any(task.get("annotations") for task in found) else "predictions"
        predicted = sum(bool(task.get("predictions")) for task in found)
        if predicted and key == "annotations":
            rows.problem(file, f"{predicted} tasks have predictions beside annotations; they are not read")
        elif predicted:
            rows.problem(file, f"no task has an annotation; the predictions of {predicted} tasks are read")
        named = False
        for task in found:
            named |= self._add(task, key, rows)
        return rows.dataset(file.stem, instances=named or None)

    def _add(self, task: dict[str, Any], key: str, rows: ObjectRows) -> bool:
        """Add a task's image; whether we wrote it as one of a set with instances."""
        where, data = task["_where"], task["data"]
        name = self._image_name(task, rows)
        if name is None:
            return False
        image = image_file(name, rows, where)
        chosen = self._chosen(task, key, rows)
        found = ImageObjects(rows, where, seen=chosen is not None)
        rows.listed(data.get("landmarks"))
        if chosen is not None:
            add_points(found, chosen, image)
        split, subject = (data.get(part) if isinstance(data.get(part), str) else "" for part in ("split", "subject"))
        rows.put(image, found, split=split or "", subject=subject or "")
        return data.get("instances") is True

    def _image_name(self, task: dict[str, Any], rows: ObjectRows) -> str | None:
        data, where = task["data"], task["_where"]
        keys = [key for key, value in data.items() if isinstance(value, str) and is_image(value)]
        key = self.image or ("image" if "image" in data else keys[0] if len(keys) == 1 else None)
        if key is None or not isinstance(data.get(key), str):
            got = ", ".join(keys[:5]) or ", ".join(map(str, list(data)[:5])) or "nothing"
            under = f" under '{self.image}'" if self.image else ""
            raise DataError(
                f"{where}: expected an image{under} in its data, got {got}; name its key: --option image=KEY"
            )
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
                note: dict[str, Any] = {"result": regions(dataset, samples)}
                scores = np.concatenate([s.scores for s in samples if s.scores is not None] or [np.zeros(0)])
                if np.isfinite(scores).any():
                    note["score"] = float(np.nanmean(scores))
                if self.result == "predictions":
                    note["model_version"] = "trigpoint"
                task[self.result] = [note]
            tasks.append(task)
        file = Path(target)
        texts = {file: json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"}
        texts[file.with_name(f"{file.stem}_config.xml")] = interface(dataset)
        return write_files(texts, overwrite=overwrite)


def _who(note: dict[str, Any]) -> set[str]:
    """What an annotator may be called: number, address."""
    by = note.get("completed_by")
    values = [by.get(key) for key in ("id", "email", "username")] if isinstance(by, dict) else [by]
    return {str(value) for value in values if isinstance(value, str | int)}
