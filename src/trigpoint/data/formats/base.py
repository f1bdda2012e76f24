"""What the foreign formats share: the contract, finding the image of an annotation file, reading JSON."""

import os
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import check_path, load_json, refuse_existing, same_content, shown, utf8, write_bytes
from trigpoint.data.formats.collected import Collected, Mark, listed, reason
from trigpoint.data.pixels.images import NAMES, SUFFIXES, image_size, is_image
from trigpoint.errors import ConfigError, DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample, Spacing

T = TypeVar("T")


class Format(ABC):
    """A foreign annotation format; options are keywords of the constructor, all with defaults.

    The docstring of each says what does not survive writing and reading back. ``untold`` says what an option asked for
    and the files that were written last lack.
    """

    untold: Sequence[str] = ()

    @property
    def keeps(self) -> Collection[str]:
        """What its files hold of the pixel size, ``pairs``, ``groups``, ``normalizer`` and ``measurements``."""
        return ()

    @abstractmethod
    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """A dataset whose images are looked for below ``images`` (default: beside the annotations), not opened."""

    @abstractmethod
    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Store the annotations of a dataset, not its images; returns the files. Raises DataError, as ``read``."""


def annotation_files(
    source: str | Path, suffix: str | tuple[str, ...], images: str | Path | None = None
) -> tuple[Path, Path, list[Path]]:
    """The folder that names are relative to, that of the images (default: the same), and the files or single file.

    ``suffix``: lower case, of the files of a folder; theirs may have upper case.
    """
    path = Path(source)
    check_path(path)
    wanted = f"*{suffix}" if isinstance(suffix, str) else " or ".join(f"*{one}" for one in suffix)
    root = path.parent if path.is_file() else path
    if not root.is_dir():
        raise DataError(f"{path}: expected a folder of {wanted} files, got nothing there; check the path")
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.name.lower().endswith(suffix))
    if not found:
        raise DataError(f"{path}: expected {wanted} files, got none; check the path")
    for file in found:
        check_path(file)
    return root, root if images is None else Path(images), found


class Parsed(NamedTuple):
    """One annotation file: K landmarks, their points (K, 2) with NaN = missing, and what was left out of it."""

    landmarks: LandmarkSet
    points: FloatArray
    notes: Sequence[str] = ()


class StemFinder:
    """Finds the image that an annotation file is named after, below ``images``, whatever its suffix."""

    def __init__(self, root: Path, images: Path) -> None:
        self.root, self.images = root, images
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def __call__(self, annotation: Path) -> list[Path]:
        """All images of that name, the usual suffixes first; none: there is no such image."""
        stem = self.images / stem_of(annotation).relative_to(self.root)
        if stem.parent not in self._folders:
            self._folders[stem.parent] = self._listing(stem.parent)
        return self._folders[stem.parent].get(unicodedata.normalize("NFC", stem.name), [])

    @staticmethod
    def _listing(folder: Path) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        files = [entry for entry in folder.iterdir() if entry.is_file()] if folder.is_dir() else []
        order = {suffix: place for place, suffix in enumerate((*SUFFIXES, ""))}  # "": DICOM, by its first bytes
        known = [file for file in files if file.suffix.lower() in order and is_image(file)]
        for file in sorted(known, key=lambda file: (order[file.suffix.lower()], file.name)):
            found.setdefault(unicodedata.normalize("NFC", file.stem), []).append(file)
        return found


def read_per_image(
    source: str | Path,
    suffix: str,
    images: str | Path | None,
    parse: Callable[[Path], Parsed],
    *,
    named: bool = False,
    spacing_mm: float | Spacing | None = None,
) -> LandmarkDataset:
    """Read the landmarks of each file and match them by name (``named``), or in files without names by their order.

    A file that cannot be read, or in files without names has another number of points than most, is left out and told.
    Raises DataError when images are missing, all of them at once, and when nothing is left.
    """
    root, folder, files = annotation_files(source, suffix, images)
    rows = Collected(Path(source), folder)
    found: dict[Path, Parsed] = {}
    for file in files:
        try:
            found[file] = parse(file)
        except DataError as error:
            if len(files) == 1:
                raise
            rows.problem(file, f"{reason(file, error)}; left out")
        else:
            for note in found[file].notes:
                rows.problem(file, note)
    if found and not named:
        found = _of_one_count(rows, found)
    marks = _joined(rows, found)
    places = images_of(rows, root, found)
    for file, one in found.items():
        rows.names.update(dict.fromkeys(one.landmarks.names))
        points = [Mark(x, y, 0 if np.isnan(x) else 2) for x, y in one.points]
        rows.add(places[file], dict(zip(one.landmarks.names, points, strict=True)), spacing_mm=spacing_mm)
    return rows.dataset(root.name, landmarks=marks, instances=False)


def _of_one_count(rows: Collected, found: dict[Path, Parsed]) -> dict[Path, Parsed]:
    """The files with as many points as most have: without names, nobody knows which points the others lack."""
    counts = Counter(len(one.points) for one in found.values()).most_common(2)
    if len(counts) == 2 and counts[0][1] == counts[1][1]:
        first = {len(one.points): file.name for file, one in reversed(found.items())}
        got = " and ".join(f"{count} ({first[count]})" for count, _ in counts)
        raise DataError(f"{rows.source}: expected files with one number of points, got {got}; divide them")
    out = {}
    for file, one in found.items():
        if len(one.points) == counts[0][0]:
            out[file] = one
        else:
            expected = f"expected {counts[0][0]} points, as most files have, got another number; left out"
            rows.tally(rows.source, expected, f"{file.name}: {len(one.points)}")
    return out


def _joined(rows: Collected, found: Mapping[Path, Parsed]) -> LandmarkSet:
    """The landmarks of all files, with the groups and lines that any names; which files lack some is told."""
    sets = list(dict.fromkeys(one.landmarks.names for one in found.values()))
    names = tuple(dict.fromkeys(name for each in sets for name in each))
    for file, one in found.items() if len(sets) > 1 else []:
        lacking = [name for name in names if name not in one.landmarks.names]
        if lacking:
            rows.tally(rows.source, f"files without '{lacking[0]}', which counts as not annotated there", file.name)
    groups = {group: members for one in found.values() for group, members in one.landmarks.groups.items()}
    lines = dict.fromkeys(line for one in found.values() for line in one.landmarks.skeleton)
    return LandmarkSet(names, groups=groups, skeleton=tuple(lines))


def stem_of(file: Path) -> Path:
    """A file without its suffix, which may have two parts.

    >>> stem_of(Path("a/b.v1.mrk.json")).name, stem_of(Path("b.v1.pts")).name
    ('b.v1', 'b.v1')
    """
    plain = file.with_suffix("")
    return plain.with_suffix("") if plain.suffix.lower() == ".mrk" else plain


def images_of(rows: Collected, root: Path, found: Collection[Path]) -> dict[Path, Path]:
    """The image of each annotation file below ``root``, of the same name. Raises DataError, for all missing at once."""
    finder, out, missing = StemFinder(root, rows.images), {}, []
    for file in found:
        candidates = finder(file)
        if not candidates:
            stem = rows.images / stem_of(file).relative_to(root)
            missing.append(f"{file}: expected its image {stem}.* ({NAMES}), got none")
            continue
        out[file] = candidates[0]
        if len(candidates) > 1:
            which = f"{file.name}: {' or '.join(each.name for each in candidates)}"
            rows.tally(rows.source, "several images have the name of a file; the first is taken", which)
    if missing:
        count = f"{rows.source}: {len(missing)} of {len(found)} files have no image:{listed(missing)}\n"
        fix = "give the images folder (--images FOLDER)"
        raise DataError(f"{count}{fix}" if len(missing) > 1 else f"{missing[0]}; {fix}")
    return out


def visible(image: Path, points: FloatArray, **rest: Any) -> Sample:
    """A sample of points (K, 2) of which NaN are missing and all others visible."""
    return Sample(image, points, np.where(np.isnan(points[:, 0]), 0, 2).astype(np.int64), **rest)


def write_per_image(
    dataset: LandmarkDataset,
    target: str | Path,
    suffix: str,
    text: Callable[[Sample], str | bytes],
    names: Sequence[str] | None = None,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write one text, or bytes, per sample, of the landmarks ``names`` (None: all), into a folder, named as its image.

    Raises DataError, before anything is written, for several instances per image, equal names and files in the way.
    Files that hold just what they should, but not all of them, are of a command that was stopped: the rest is written.
    """
    if dataset.instances:
        expected = f"one set of landmarks per image, as {suffix} files store it"
        raise DataError(f"{target}: expected {expected}, got a dataset with instances; use coco instead")
    files: dict[Path, bytes] = {}
    for sample in (dataset if names is None else dataset.pick(names)).samples:
        name = Path(dataset.image_name(sample))
        relative = Path(name.name) if name.is_absolute() or os.pardir in name.parts else name
        file = Path(target) / relative.with_suffix(suffix)
        if file in files:
            raise DataError(f"{sample.image}: expected one image called '{name.stem}', got two; rename one")
        content = text(sample)
        files[file] = utf8(file, content) if isinstance(content, str) else content
    left = [file for file, content in files.items() if not same_content(file, content)]
    for file in left or files:
        refuse_existing(file, overwrite)
    for file in left:
        write_bytes(file, files[file], overwrite=overwrite)
    return list(files)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises DataError with file and line."""
    values = load_json(file)
    if not isinstance(values, dict):
        raise DataError(f"{file}, line 1: expected a JSON object, got {type(values).__name__}")
    return values


def member(values: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    """``values[key]`` of a given type. Raises DataError naming ``where`` (file and place)."""
    value = values.get(key)
    if not isinstance(value, kind):
        got = "nothing" if key not in values else type(value).__name__
        raise DataError(f"{where}: expected '{key}' as {kind.__name__}, got {got}")
    return value


def objects(values: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """``values[key]`` as a list of JSON objects. Raises DataError."""
    items: list[Any] = member(values, key, list, where)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DataError(f"{where}: {key}[{index}]: expected a JSON object, got {type(item).__name__}")
    return items


def image_sizes(images: Sequence[Path]) -> list[tuple[int, int]]:
    """(height, width) of each image. Raises one DataError that counts and lists all that cannot be read."""
    sizes, problems = [], []
    for image in images:
        try:
            sizes.append(image_size(image))
        except DataError as error:
            problems.append(str(error))
    if len(problems) > 1:
        raise DataError(f"expected {len(images)} images, {len(problems)} cannot be read:{listed(problems)}")
    if problems:
        raise DataError(problems[0])
    return sizes


def yes_or_no(option: str, value: bool | str) -> bool:
    """A yes or no as the command line gives it. Raises ConfigError naming the option.

    >>> yes_or_no("instances", "no"), yes_or_no("instances", True)
    (False, True)
    """
    words = {"yes": True, "true": True, "no": False, "false": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise ConfigError(f"{option}: expected yes or no, got {shown(value)}")
    return words[str(value).lower()]


def default_names(count: int) -> tuple[str, ...]:
    """Names for a format that has none.

    >>> default_names(3)
    ('p00', 'p01', 'p02')
    """
    digits = max(2, len(str(count - 1)))
    return tuple(f"p{index:0{digits}d}" for index in range(count))


def beside(dataset: LandmarkDataset, sample: Sample, target: str | Path, suffix: str) -> Path:
    """The annotation file of an image below ``target``, named as the image."""
    name = Path(dataset.image_name(sample))
    inside = not (name.is_absolute() or name.parts[0] == os.pardir)
    return Path(target) / (name if inside else Path(name.name)).with_suffix(suffix)


def write_files(texts: dict[Path, str], *, overwrite: bool) -> list[Path]:
    """Write several text files, or none: what is in the way is found before, as in ``write_per_image``."""
    files = {file: utf8(file, text) for file, text in texts.items()}
    left = [file for file, content in files.items() if not same_content(file, content)]
    for file in left or files:
        refuse_existing(file, overwrite)
    for file in left:
        write_bytes(file, files[file], overwrite=overwrite)
    return list(files)


def not_kept(form: Format, dataset: LandmarkDataset) -> list[str]:
    """What a dataset states that the files of a format do not hold, by the keys of ``dataset.yaml``."""
    marks = dataset.landmarks
    stated = {
        "spacing_mm": any(sample.spacing_mm is not None for sample in dataset.samples),
        "pairs": bool(marks.pairs),
        "groups": bool(marks.groups),
        "normalizer": marks.normalizer is not None,
        "measurements": bool(marks.measurements),
    }
    return [key for key, there in stated.items() if there and key not in form.keeps]
