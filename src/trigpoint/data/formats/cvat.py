"""CVAT: the XML formats "CVAT for images 1.1" and "CVAT for video 1.1", with points and skeletons."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import number, shown
from trigpoint.data.formats.base import Format, write_files
from trigpoint.data.formats.collected import ABSENT, NOT_ANNOTATED
from trigpoint.data.formats.objects import ImageObjects, ObjectRows, repeats_of
from trigpoint.data.pixels.folders import hidden, natural_key
from trigpoint.data.pixels.images import image_size, is_image
from trigpoint.data.xml import read_xml
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import Sample

SHAPES = ("skeleton", "points")
_SPLITS = {"train": "train", "training": "train", "val": "val", "validation": "val", "valid": "val", "test": "test"}
_NOT_XML = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ufffe\\uffff]")


class Cvat(Format):
    """Landmarks by the labels of ``points``, or of the points in a ``skeleton``; each skeleton is an object.

    Points outside of a skeleton belong to the object of their ``group_id``. ``occluded`` is visibility 1, ``outside``
    is not annotated. ``subset`` gives the split (Train, Validation, ...; ``default`` none). Skeletons of several labels
    need ``category``. A "points" shape of several points is one landmark several times, see ``repeats``.

    ``source`` is the XML file or the folder with ``annotations.xml``; images are looked for in ``images/`` beside it,
    with and without the folder of their subset. Frames of a video are ``frame_000012.png``, as CVAT exports them; else
    the images of the folder in natural order, if there are as many as the task has frames. A video is one
    subject. Points that CVAT interpolated between key frames are read and counted in the problems; with
    ``keyframes=true`` only key frames are.

    An image without a shape counts as not annotated, since CVAT exports every frame of a task, also those that nobody
    opened. Told and left out: other shapes, attributes, an image of another size than labelled. CVAT counts from the
    corner of the top-left pixel; the numbers are kept as they are, unless ``--origin corner`` takes away the half.

    Written is the format for images, with skeletons (``shape=points``: points with a ``group_id``). CVAT has no names
    of instances, no absent landmark and no subjects; pairs, groups and spacing are not stored. XML with a
    DOCTYPE is refused.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        category: str | None = None,
        repeats: str = "left_out",
        shape: str = "skeleton",
        keyframes: bool = False,
    ) -> None:
        if shape not in SHAPES:
            raise ConfigError(f"shape: expected {' or '.join(SHAPES)}, got {shown(shape)}")
        self.names, self.repeats, self.shape = names, repeats_of(repeats), shape
        self.category = None if category is None else str(category)
        self.keyframes = keyframes is True

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read an XML file. Raises DataError."""
        file = Path(source) / "annotations.xml" if Path(source).is_dir() else Path(source)
        if file.suffix.lower() == ".zip":
            raise DataError(f"{file}: expected the XML file or the folder, got the archive; unzip it")
        root = read_xml(file)
        if root.tag != "annotations":
            raise DataError(
                f"{file}: expected CVAT's <annotations>, got <{root.tag[:80]}>; export 'CVAT for images 1.1'"
            )
        beside = file.parent / "images"
        folder = Path(images) if images is not None else beside if beside.is_dir() else file.parent
        rows = ObjectRows(file, folder, self.names, self.repeats)
        labels = _Labels(root, file, self.category)
        if self.names is None:
            rows.names.update(dict.fromkeys(labels.points))
        for index, image in enumerate(root.iter("image")):
            _image(image, f"{file}: image {image.get('id', index)}", labels, rows)
        if next(root.iter("track"), None) is not None:
            _video(root, file, labels, rows, self.keyframes)
        return rows.dataset(file.parent.resolve().name if file.stem == "annotations" else file.stem)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one XML file for images; image files are opened for their width and height."""
        kind = self.category or dataset.name or "object"
        if self.shape == "skeleton" and kind in dataset.landmarks.names:
            kind = f"{kind} (object)"
        for name in (*dataset.landmarks.names, kind):
            if _NOT_XML.search(name):
                raise DataError(f"{target}: expected names without control characters, got {shown(name)}; rename it")
        root = Element("annotations")
        SubElement(root, "version").text = "1.1"
        images = dataset.by_image()
        _meta(root, dataset, kind, len(images), self.shape == "skeleton")
        for index, indices in enumerate(images):
            samples = [dataset.samples[i] for i in indices]
            height, width = image_size(samples[0].image)
            about = {"id": str(index), "name": dataset.image_name(samples[0])}
            about |= {"subset": samples[0].split} if samples[0].split else {}
            element = SubElement(root, "image", about | {"width": str(width), "height": str(height)})
            for order, sample in enumerate(samples, start=1):
                if (sample.visibility > 0).any() and not (sample.visibility == ABSENT).all():
                    _object(element, sample, dataset, kind, order, self.shape == "skeleton")
        indent(root)
        text = '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"
        return write_files({Path(target): text}, overwrite=overwrite)


class _Labels:
    """What the file says about its labels: those of points in their order, and the skeleton that is read."""

    def __init__(self, root: Element, file: Path, category: str | None) -> None:
        used = {element.get("label", "") for element in root.iter("skeleton")} - {""}
        used |= {track.get("label", "") for track in root.iter("track") if track.find("skeleton") is not None}
        if category is not None and category not in used:
            known = ", ".join(sorted(used)[:20]) or "no skeletons"
            raise DataError(f"{file}: expected a skeleton label, got '{category}'; the file has {known}")
        if category is None and len(used) > 1:
            known = ", ".join(sorted(used)[:20])
            fix = "choose one with --option category=NAME"
            raise DataError(f"{file}: expected skeletons of one label, got {len(used)} ({known}); {fix}")
        self.skeleton = category if category is not None else next(iter(used), None)
        self.points: list[str] = []
        for label in root.iter("label"):
            name, kind, parent = (label.findtext(tag, "").strip() for tag in ("name", "type", "parent"))
            if name and (parent == self.skeleton if parent else kind == "points") and name not in self.points:
                self.points.append(name)


def _image(image: Element, where: str, labels: _Labels, rows: ObjectRows) -> None:
    """The shapes of one image."""
    name, subset = image.get("name", ""), image.get("subset", "")
    path = rows.images / subset / name
    if not name:
        raise DataError(f"{where}: expected the 'name' of an image, got none")
    if not subset or "\0" in name or ".." in Path(subset).parts or Path(subset).is_absolute() or not _is_file(path):
        path = rows.find(name, where)
    rows.stated_size(path, image.get("width"), image.get("height"))
    found = ImageObjects(rows, f"{where} ({name[:80]})", seen=False)
    for order, shape in enumerate(image, start=1):
        group = shape.get("group_id", "0")
        if shape.tag == "points":
            _points(found, shape, "" if group == "0" else f"group {group}")
        elif shape.tag == "skeleton":
            _skeleton(found, shape, f"skeleton {order}", labels)
        else:
            rows.tell(f"<{shape.tag[:80]}>; only points and skeletons are read", found.where)
    rows.put(path, found, split=_split(subset))


def _skeleton(found: ImageObjects, shape: Element, group: str, labels: _Labels) -> None:
    if shape.get("label") != labels.skeleton:
        found.rows.tell(f"skeleton of label {shown(shape.get('label'))}; left out", found.where)
        return
    found.groups.setdefault(group, {})
    for points in shape.iter("points"):
        _points(found, points, group)


def _points(found: ImageObjects, shape: Element, group: str) -> None:
    """One element ``points``: coordinates ``x,y;x,y``."""
    label, outside = shape.get("label"), shape.get("outside") == "1"
    if next(shape.iter("attribute"), None) is not None:
        found.rows.tell("attributes of points are not read", found.where)
    for pair in [part for part in shape.get("points", "").split(";") if part.strip()] or [""]:
        x, comma, y = pair.partition(",")
        if outside and label:
            found.mark(label, NOT_ANNOTATED, group)
        else:
            at = (number(x), number(y)) if comma else (None, None)
            found.point(label, *at, group=group, visibility=1 if shape.get("occluded") == "1" else 2)


@dataclass
class _Frame:
    """The shapes of one frame of a video: of whom, the element, its label."""

    shapes: list[tuple[str, Element, str]] = field(default_factory=list)


def _video(root: Element, file: Path, labels: _Labels, rows: ObjectRows, keyframes: bool) -> None:
    """Tracks: each lists its points frame by frame, interpolated ones with keyframe 0."""
    frames: dict[int, _Frame] = {}
    for order, track in enumerate(root.iter("track"), start=1):
        group = track.get("group_id", "0")
        owner = f"track {track.get('id', order)}"
        for shape in track:
            at = number(shape.get("frame"))
            if shape.tag not in SHAPES or at is None or not at.is_integer() or not 0 <= at < 1 << 31:
                rows.tell(f"<{shape.tag[:80]}> in a track; only points and skeletons of a frame are read", f"{file}")
                continue
            if shape.get("keyframe", "1") == "0" and shape.get("outside") != "1":
                what = "left out" if keyframes else "read as annotated (--option keyframes=true leaves them out)"
                rows.tell(f"shape that CVAT interpolated between key frames; {what}", f"{file}: frame {at:g}")
                if keyframes:
                    continue
            own = owner if shape.tag == "skeleton" else "" if group == "0" else f"group {group}"
            frames.setdefault(int(at), _Frame()).shapes.append((own, shape, track.get("label", "")))
    path, size = _frame_images(root, rows, frames), _original_size(root)
    subject = (root.findtext("meta/source") or root.findtext("meta/task/name") or file.parent.resolve().name).strip()
    for frame, content in sorted(frames.items()):
        found = ImageObjects(rows, f"{file}: frame {frame}")
        for own, shape, label in content.shapes:
            shape.set("label", label)
            if shape.tag == "points":
                _points(found, shape, own)
            elif shape.get("outside") != "1":
                _skeleton(found, shape, own, labels)
        marks = [mark for points in found.groups.values() for several in points.values() for mark in several]
        if not any(mark.visibility > 0 for mark in marks):
            continue  # all has left the picture
        rows.stated_size(path[frame], *size)
        rows.put(path[frame], found, subject=subject)


def _frame_images(root: Element, rows: ObjectRows, frames: dict[int, _Frame]) -> dict[int, Path]:
    """The image of every frame that has shapes."""
    stems = {file.stem: file for file in sorted(rows.images.rglob("frame_*")) if is_image(file)}
    if not any(f"frame_{frame:06d}" in stems for frame in frames):
        count = number(root.findtext("meta/task/size") or root.findtext("meta/job/size"))
        there = [file for file in rows.images.rglob("*") if not hidden(file, rows.images) and is_image(file)]
        if count is not None and len(there) == count and all(frame < count for frame in frames):
            there.sort(key=lambda file: natural_key(file.as_posix()))
            rows.problem(
                rows.source, f"no image is called frame_000000; the {len(there)} images are its frames in order"
            )
            return {frame: there[frame] for frame in frames}
    return {frame: stems.get(f"frame_{frame:06d}") or rows.image(f"frame_{frame:06d}.png") for frame in frames}


def _original_size(root: Element) -> tuple[str | None, str | None]:
    size = next(root.iter("original_size"), None)
    return (None, None) if size is None else (size.findtext("width"), size.findtext("height"))


def _split(subset: str) -> str:
    return "" if subset.lower() == "default" else _SPLITS.get(subset.lower(), subset)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _meta(root: Element, dataset: LandmarkDataset, kind: str, size: int, skeleton: bool) -> None:
    """What CVAT and Datumaro read before the images: the task and its labels."""
    task = SubElement(SubElement(root, "meta"), "task")
    for tag, text in (("name", dataset.name or "trigpoint"), ("size", str(size)), ("mode", "annotation")):
        SubElement(task, tag).text = text
    labels = SubElement(task, "labels")
    for name, type_, parent in [
        *([(kind, "skeleton", "")] if skeleton else []),
        *((name, "points", kind if skeleton else "") for name in dataset.landmarks.names),
    ]:
        label = SubElement(labels, "label")
        SubElement(label, "name").text, SubElement(label, "type").text = name, type_
        SubElement(label, "attributes")
        if parent:
            SubElement(label, "parent").text = parent


def _object(image: Element, sample: Sample, dataset: LandmarkDataset, kind: str, order: int, skeleton: bool) -> None:
    """One object: a skeleton needs all its points, so those that are missing are ``outside``, in its middle."""
    seen = sample.visibility > 0
    middle = sample.points[seen].mean(axis=0)
    common = {"source": "manual" if sample.scores is None else "auto"}
    holder = image
    if skeleton:
        holder = SubElement(image, "skeleton", {"label": kind, **common, "occluded": "0", "z_order": "0"})
    for name, point, v in zip(dataset.landmarks.names, sample.points, sample.visibility, strict=True):
        if v <= 0 and not skeleton:
            continue
        x, y = np.where(v > 0, point, middle).tolist()
        about = {"label": name, **common, "occluded": str(int(v == 1)), "points": f"{x!r},{y!r}"}
        own = {"outside": str(int(v <= 0))} if skeleton else {"z_order": "0"}
        if dataset.instances and not skeleton:
            own["group_id"] = str(order)
        SubElement(holder, "points", about | own)
