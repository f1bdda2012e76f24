"""VGG Image Annotator (VIA): projects and annotations of version 2 (and 1) as JSON or csv, projects of version 3."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import load_json, read_csv, shown, write_text
from trigpoint.data.formats.base import Format
from trigpoint.data.formats.collected import ABSENT
from trigpoint.data.formats.objects import ImageObjects, ObjectRows, repeats_of
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import Sample

INSTANCE = "instance"
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
_POINT3 = 1  # the number of a point among the shapes of version 3


class Via(Format):
    """Landmarks by an attribute of point regions: ``attribute`` names it, default the only one that points have.

    ``source`` is a project or the annotations exported as JSON or csv (of version 3 the project). A second attribute
    ``instance`` (or that of the option ``instance``) tells the objects of an image apart. A checkbox names a landmark
    if just one of its boxes is ticked, an option of version 3 by its text.

    Images are found by file name; that the number of bytes in VIA's key differs is told: it is another file. VIA
    counts pixels of the image as the browser shows it, upright; its numbers are kept as they are. It lists every image
    that was loaded, so that one without regions counts as not annotated.

    Told and left out: regions of other shapes, points without the attribute, other attributes of regions. VIA cannot
    say that a point is occluded or absent; occluded points come back as visible. Written is a project of version 2,
    with the landmarks' names; split and subject are attributes of its files. Pairs, groups and spacing are not stored.
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        attribute: str | None = None,
        instance: str = INSTANCE,
        repeats: str = "left_out",
    ) -> None:
        self.names, self.instance, self.repeats = names, str(instance), repeats_of(repeats)
        self.attribute = None if attribute is None else str(attribute)

    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """Read a project or an export. Raises DataError."""
        file = Path(source)
        rows = ObjectRows(file, file.parent if images is None else Path(images), self.names, self.repeats)
        listed, options = _files(file, rows)
        key = self._attribute(file, listed)
        if self.names is None:
            rows.names.update(dict.fromkeys(options.get(key, ())))
        named = False
        for entry in listed:
            image = rows.find(entry.name, f"{file}: {shown(entry.name)}")
            found = ImageObjects(rows, f"{file}: {entry.name[:200]}", seen=False)
            if entry.size is not None and entry.size >= 0 and image.is_file() and image.stat().st_size != entry.size:
                rows.tell("image with another number of bytes than VIA noted; another file?", found.where)
            for region in entry.regions:
                named |= self._point(found, region, key)
            split, subject = (entry.attributes.get(part) for part in ("split", "subject"))
            own = {
                "split": split if isinstance(split, str) else "",
                "subject": subject if isinstance(subject, str) else "",
            }
            rows.put(image, found, **own)
        return rows.dataset(file.stem, instances=named or None)

    def _attribute(self, file: Path, listed: "list[_File]") -> str:
        points = [region.attributes for entry in listed for region in entry.regions if region.point]
        used = Counter(key for own in points for key, value in own.items() if _text(value) and key != self.instance)
        if self.attribute is not None:
            if points and self.attribute not in used:
                raise DataError(f"{file}: unknown attribute '{self.attribute}'; {did_you_mean(self.attribute, used)}")
            return self.attribute
        if len(used) > 1:
            known = ", ".join(sorted(used)[:20])
            fix = "name the one that holds the landmark with --option attribute=NAME"
            raise DataError(f"{file}: expected points with one attribute, got {len(used)} ({known[:300]}); {fix}")
        if points and not used:
            raise DataError(f"{file}: expected points with an attribute that names the landmark, got points without")
        return next(iter(used), "")

    def _point(self, found: ImageObjects, region: "_Region", key: str) -> bool:
        """Take up a region; whether it names its object."""
        if not region.point:
            found.rows.tell(f"region of shape {shown(region.shape)}; only points are read", found.where)
            return False
        owner = _text(region.attributes.get(self.instance)) or ""
        for other, value in region.attributes.items():
            if other not in (key, self.instance) and _text(value):
                found.rows.tell(f"attribute {shown(other)} of points is not read", found.where)
        found.point(_text(region.attributes.get(key)), *region.at, group=owner)
        return bool(owner)

    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write one project of version 2; image files are asked for their number of bytes."""
        key = self.attribute or "landmark"
        images: dict[str, dict[str, Any]] = {}
        for indices in dataset.by_image():
            samples = [dataset.samples[index] for index in indices]
            name, size = dataset.image_name(samples[0]), _size(samples[0].image)
            own = {part: v for part, v in (("split", samples[0].split), ("subject", samples[0].subject)) if v}
            regions = [region for sample in samples for region in self._regions(dataset, sample, key)]
            images[f"{name}{size}"] = {"filename": name, "size": size, "regions": regions, "file_attributes": own}
        radio = {"type": "dropdown", "description": "", "options": dict.fromkeys(dataset.landmarks.names, "")}
        attributes: dict[str, Any] = {"region": {key: radio | {"default_options": {}}}, "file": {}}
        plain = {"type": "text", "description": "", "default_value": ""}
        if dataset.instances:
            attributes["region"][self.instance] = plain
        for part in ("split", "subject"):
            if any(part in image["file_attributes"] for image in images.values()):
                attributes["file"][part] = plain
        values = {
            "_via_settings": _settings(dataset.name or "trigpoint"),
            "_via_img_metadata": images,
            "_via_attributes": attributes,
            "_via_data_format_version": "2.0.10",
            "_via_image_id_list": list(images),
        }
        return [write_text(target, json.dumps(values, ensure_ascii=False) + "\n", overwrite=overwrite)]

    def _regions(self, dataset: LandmarkDataset, sample: Sample, key: str) -> Iterator[dict[str, Any]]:
        if dataset.instances and (sample.visibility == ABSENT).all():
            return
        own = {self.instance: sample.instance} if dataset.instances else {}
        for name, (x, y), v in zip(dataset.landmarks.names, sample.points, sample.visibility, strict=True):
            if v > 0:
                shape = {"name": "point", "cx": float(x), "cy": float(y)}
                yield {"shape_attributes": shape, "region_attributes": {key: name} | own}


@dataclass
class _Region:
    shape: object
    point: bool
    at: tuple[Any, Any]
    attributes: dict[str, Any]


@dataclass
class _File:
    name: str
    size: int | None
    regions: list[_Region]
    attributes: dict[str, Any]


def _files(file: Path, rows: ObjectRows) -> tuple[list[_File], dict[str, list[str]]]:
    """The images of any of VIA's files, and the options of each attribute in their order."""
    if file.suffix.lower() == ".csv":
        return _csv(file, rows), {}
    values = load_json(file)
    if not isinstance(values, dict):
        raise DataError(f"{file}: expected a project or annotations of VIA, got {type(values).__name__}")
    if isinstance(values.get("metadata"), dict) and isinstance(values.get("file"), dict):
        return _third(file, values, rows)
    images = values.get("_via_img_metadata", values)
    if not isinstance(images, dict) or not all(isinstance(image, dict) for image in images.values()):
        raise DataError(f"{file}: expected the images of a VIA project, got something else; export the annotations")
    options: dict[str, list[str]] = {}
    about = values.get("_via_attributes")
    region = about.get("region") if isinstance(about, dict) else None
    for key, attribute in region.items() if isinstance(region, dict) else ():
        if isinstance(attribute, dict) and isinstance(attribute.get("options"), dict):
            options[key] = list(attribute["options"])
    return [_second(file, key, image, rows) for key, image in images.items()], options


def _second(file: Path, key: str, image: dict[str, Any], rows: ObjectRows) -> _File:
    """An image of version 1 or 2."""
    name, size, regions = image.get("filename"), image.get("size"), image.get("regions")
    if not isinstance(name, str) or not isinstance(regions, list | dict):
        raise DataError(f"{file}: image {shown(key)}: expected 'filename' and 'regions'; is it a file of VIA?")
    out = []
    for region in regions.values() if isinstance(regions, dict) else regions:
        shape = region.get("shape_attributes") if isinstance(region, dict) else None
        if not isinstance(shape, dict):
            rows.tell("expected a region with 'shape_attributes'; left out", f"{file}: {name[:200]}")
            continue
        out.append(_region(shape, region.get("region_attributes")))
    known = isinstance(size, int) and not isinstance(size, bool)
    attributes = image.get("file_attributes")
    return _File(name, size if known else None, out, attributes if isinstance(attributes, dict) else {})


def _region(shape: dict[str, Any], attributes: Any) -> _Region:
    own = attributes if isinstance(attributes, dict) else {}
    return _Region(shape.get("name"), shape.get("name") == "point", (shape.get("cx"), shape.get("cy")), own)


def _csv(file: Path, rows: ObjectRows) -> list[_File]:
    """The csv of version 2: a row per region, JSON in its cells."""
    cells = read_csv(file)
    head = [cell.strip().lstrip("#") for cell in cells[0]] if cells else []
    if not set(_COLUMNS) <= set(head):
        got = shown(", ".join(head[:8]))
        fix = "export as csv in VIA 2, or of VIA 3 the project as JSON"
        raise DataError(f"{file}, row 1: expected the columns {', '.join(_COLUMNS)}, got {got}; {fix}")
    place = {name: head.index(name) for name in head}
    found: dict[tuple[str, str], _File] = {}
    for row, line in enumerate(cells[1:], start=2):
        if not any(line):
            continue
        if len(line) != len(head):
            raise DataError(f"{file}, row {row}: expected {len(head)} cells as in the header, got {len(line)}")
        name, size = line[place["filename"]].strip(), line[place["file_size"]] if "file_size" in place else ""
        own = _cell(file, row, line[place["file_attributes"]] if "file_attributes" in place else "")
        digits = int(size) if size.isascii() and size.isdigit() and len(size) < 20 else None
        entry = found.setdefault((name, size), _File(name, digits, [], own))
        shape = _cell(file, row, line[place["region_shape_attributes"]])
        if shape:
            entry.regions.append(_region(shape, _cell(file, row, line[place["region_attributes"]])))
    if not found:
        rows.problem(file, "expected a row per region, got none")
    return list(found.values())


def _cell(file: Path, row: int, text: str) -> dict[str, Any]:
    """A JSON object in a cell."""
    try:
        values = json.loads(text or "{}")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise DataError(f"{file}, row {row}: expected a JSON object in a cell, got {shown(text)}")
    return values


def _third(file: Path, values: dict[str, Any], rows: ObjectRows) -> tuple[list[_File], dict[str, list[str]]]:
    """A project of version 3: regions name their view, views their files, values of attributes the option."""
    about = {key: a for key, a in _objects(values.get("attribute")).items() if isinstance(a, dict)}
    names = {key: str(a.get("aname", key)) for key, a in about.items()}
    options = {key: _objects(a.get("options")) for key, a in about.items()}
    views = _objects(values.get("view"))
    files: dict[str, _File] = {}
    for key, entry in values["file"].items():
        name = entry.get("src") or entry.get("fname") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or name.startswith(("data:", "blob:")):
            name = entry.get("fname") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise DataError(f"{file}: file {shown(key)}: expected 'fname', got none; is it a project of VIA 3?")
        files[key] = _File(name, None, [], {})
    for key, region in values["metadata"].items():
        place = f"{file}: metadata {shown(key)}"
        view = views.get(str(region.get("vid"))) if isinstance(region, dict) else None
        ids = view.get("fid_list") if isinstance(view, dict) else None
        if not isinstance(ids, list) or len(ids) != 1 or str(ids[0]) not in files:
            rows.tell("expected a region of a view of one file; left out", place)
            continue
        xy, given = region.get("xy"), _objects(region.get("av"))
        if not isinstance(xy, list) or not xy:
            continue  # about the whole file
        point = xy[0] == _POINT3 and len(xy) == 3
        own = {names.get(k, k): options.get(k, {}).get(str(v), v) for k, v in given.items()}
        at = (xy[1], xy[2]) if point else (None, None)
        files[str(ids[0])].regions.append(_Region("point" if point else f"number {xy[0]}"[:40], point, at, own))
    return list(files.values()), {names[key]: [str(v) for v in texts.values()] for key, texts in options.items()}


def _objects(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """The value of an attribute: text, or the one box that is ticked."""
    if isinstance(value, dict):
        ticked = [key for key, on in value.items() if on is True]
        value = ticked[0] if len(ticked) == 1 else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _size(image: Path) -> int:
    try:
        return image.stat().st_size
    except OSError:
        return -1  # as VIA notes it for an address


def _settings(name: str) -> dict[str, Any]:
    """What VIA 2 wants of a project beside the regions."""
    grid: dict[str, Any] = {
        "img_height": 80,
        "rshape_fill": "none",
        "rshape_fill_opacity": 0.3,
        "rshape_stroke": "yellow",
    }
    grid |= {"rshape_stroke_width": 2, "show_region_shape": True, "show_image_policy": "all"}
    label = {"region_label": "__via_region_id__", "region_color": "__via_default_region_color__"}
    label |= {"region_label_font": "10px Sans", "on_image_annotation_editor_placement": "NEAR_REGION"}
    ui: dict[str, Any] = {"annotation_editor_height": 25, "annotation_editor_fontsize": 0.8, "leftsidebar_width": 18}
    ui |= {"image_grid": grid, "image": label}
    core = {"buffer_size": 18, "filepath": {}, "default_filepath": ""}
    return {"ui": ui, "core": core, "project": {"name": name}}
