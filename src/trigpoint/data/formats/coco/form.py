"""The format's options, and a dataset to a COCO file."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import write_text
from trigpoint.data.formats.base import Format, image_sizes, yes_or_no
from trigpoint.data.formats.coco.reading import key, read_category, read_coco, read_object
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, Sample

_LEAST = 1.0  # side of a box in pixels, since OKS divides by its area


class Coco(Format):
    """Landmarks by the names in the category's ``keypoints``; ``category`` is needed when several have keypoints.

    COCO keypoints are pixel indices counted from 0, so the centre of the top-left pixel is (0, 0) as here, and the
    numbers are kept as they are (tools that put the pixel's corner at 0 add the half pixel themselves). Visibility
    0, 1, 2 means the same as here; the coordinates of a point with visibility 0 are ignored. Ids are compared as text.

    Several annotations of one image become instances, called by their own key ``instance`` or 1, 2, ... That is told
    where the file does not name them, and ``instances=no`` leaves such images out instead. In a set with instances 0
    stays what COCO says, not labelled; that a landmark is known to be absent cannot be said and is read back as not
    labelled, as is all of an image with a crowd, or with an annotation without keypoints or one that is damaged. Only
    an image without annotations is known to have no instance.

    ``truth=FILE`` reads a list of COCO results (predictions), whose images and categories the annotation file lists;
    ``results=yes`` writes such a list, with the ids of ``truth`` where it is given. Scores are read from and written
    to ``score``, and those of single landmarks to ``keypoint_scores``, in results to the third number. Our keys
    ``split``, ``subject`` (of an image), ``instance`` and ``keypoint_scores`` are extra and ignored by other tools.
    Pairs, groups and the normaliser are not stored; boxes (at least a pixel wide and high) and areas are written from
    the points; segmentations are read past.
    """

    def __init__(
        self,
        category: str | int | None = None,
        instances: bool | str | None = None,
        truth: str | None = None,
        results: bool | str = False,
    ) -> None:
        self.category = None if category is None else str(category)
        self.instances = None if instances is None else yes_or_no("instances", instances)
        self.truth = None if truth is None else Path(str(truth))
        self.results = yes_or_no("results", results)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read an annotation file; ``images`` is the folder of its ``file_name`` (default: the file's own folder)."""
        file = Path(source)
        folder = (self.truth or file).parent if images is None else Path(images)
        return read_coco(file, folder, self.category, self.instances, self.truth)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one JSON file; image files are opened for their width and height, but for results."""
        values = self._results(dataset) if self.results else self._annotations(dataset)
        return [write_text(target, json.dumps(values, ensure_ascii=False) + "\n", overwrite=overwrite)]

    def _annotations(self, dataset: LandmarkDataset) -> dict[str, Any]:
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        by_image = dataset.by_image()
        sizes = image_sizes([dataset.samples[indices[0]].image for indices in by_image])
        for number_, (indices, (height, width)) in enumerate(zip(by_image, sizes, strict=True), start=1):
            first = dataset.samples[indices[0]]
            image = {"id": number_, "file_name": dataset.image_name(first), "width": width, "height": height}
            images.append(image | {key: v for key, v in (("split", first.split), ("subject", first.subject)) if v})
            for index in indices:
                sample = dataset.samples[index]
                if dataset.instances and (sample.visibility == ABSENT).all():
                    continue  # no instance
                notes.append(_annotation(sample, len(notes) + 1, number_, dataset.instances))
        marks = dataset.landmarks
        skeleton = [[marks.index(a) + 1, marks.index(b) + 1] for a, b in marks.skeleton]
        kind = {"id": 1, "name": self.category or dataset.name or "object", "supercategory": "landmarks"}
        categories = [{**kind, "keypoints": list(marks.names), "skeleton": skeleton}]
        return {"images": images, "annotations": notes, "categories": categories}

    def _results(self, dataset: LandmarkDataset) -> list[dict[str, Any]]:
        """One entry for each instance in which something was found."""
        names = {dataset.image_name(sample): None for sample in dataset.samples}
        ids: dict[str, Any] = {name: number_ for number_, name in enumerate(names, start=1)}
        kind: Any = 1
        if self.truth is not None:
            values = read_object(self.truth)
            category = read_category(self.truth, values, self.category)
            kind, dataset = category.id, dataset.pick(category.landmarks.names)
            ids = _ids_of(self.truth, values, list(names))
        out = []
        for sample in dataset.samples:
            seen = sample.visibility > 0
            if seen.any():
                scores = np.ones(len(seen)) if sample.scores is None else np.nan_to_num(sample.scores)
                points = np.column_stack([np.nan_to_num(sample.points), scores])
                points[~seen] = 0
                entry = {"image_id": ids[dataset.image_name(sample)], "category_id": kind}
                out.append(entry | {"keypoints": points.ravel().tolist(), "score": float(scores[seen].mean())})
        return out


def _ids_of(file: Path, values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The id of each image in an annotation file, by its name there or, where one image has it, its file name."""
    listed = [image for image in values.get("images") or [] if isinstance(image, dict) and key(image.get("id"))]
    whole = {str(image.get("file_name")): image["id"] for image in listed}
    ends: dict[str, list[Any]] = {}
    for name, own in whole.items():
        ends.setdefault(Path(name).name, []).append(own)
    found = {name: [whole[name]] if name in whole else ends.get(Path(name).name, []) for name in names}
    unknown = [name for name, own in found.items() if len(own) != 1]
    if unknown:
        which = ", ".join(unknown[:5])
        raise DataError(f"{file}: expected the images of the dataset by name, got none for {len(unknown)}: {which}")
    return {name: own[0] for name, own in found.items()}


def _annotation(sample: Sample, own_id: int, image_id: int, instances: bool) -> dict[str, Any]:
    seen = sample.visibility > 0
    keypoints: list[float] = []
    for (x, y), v in zip(sample.points, sample.visibility, strict=True):
        keypoints += [float(x), float(y), int(v)] if v > 0 else [0, 0, 0]
    box = [0.0, 0.0, 0.0, 0.0]
    if seen.any():
        low, high = sample.points[seen].min(axis=0), sample.points[seen].max(axis=0)
        margin = np.maximum(_LEAST - (high - low), 0) / 2
        box = [float(value) for value in (*(low - margin), *(high - low + 2 * margin))]
    scored: dict[str, Any] = {}
    if sample.scores is not None and np.isfinite(sample.scores[seen]).any():
        single = [float(score) if np.isfinite(score) else None for score in sample.scores]
        scored = {"score": float(np.nanmean(sample.scores[seen])), "keypoint_scores": single}
    return {
        "id": own_id,
        "image_id": image_id,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": int(seen.sum()),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        **scored,
        **({"instance": sample.instance} if instances else {}),
    }
