"""What the foreign formats share: the contract, finding the image of an annotation file, reading JSON."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.files import check_path, load_json, refuse_existing, same_content, utf8, write_bytes
from trigpoint.data.pixels.images import NAMES, SUFFIXES, is_image
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Sample

T = TypeVar("T")


class Format(ABC):
    """A foreign annotation format; options are keywords of the constructor, all with defaults.

    The docstring of each says what does not survive writing and reading back.
    """

    @abstractmethod
    def read(self, source: str | Path, images: str | Path | None = None) -> LandmarkDataset:
        """A dataset whose images are looked for below ``images`` (default: beside the annotations), not opened."""

    @abstractmethod
    def write(self, dataset: LandmarkDataset, target: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Store the annotations of a dataset, not its images; returns the files. Raises DataError, as ``read``."""


def annotation_files(
    source: str | Path, suffix: str, images: str | Path | None = None
) -> tuple[Path, Path, list[Path]]:
    """The folder that names are relative to, that of the images (default: the same), and the files or single file."""
    path = Path(source)
    check_path(path)
    root = path.parent if path.is_file() else path
    if not root.is_dir():
        raise DataError(f"{path}: expected a folder of *{suffix} files, got nothing there; check the path")
    found = [path] if path.is_file() else sorted(path.rglob(f"*{suffix}"))
    if not found:
        raise DataError(f"{path}: expected *{suffix} files, got none; check the path")
    for file in found:
        check_path(file)
    return root, root if images is None else Path(images), found


def image_of(annotation: Path, root: Path, images: Path) -> Path:
    """The image with the same name below ``images``, whatever its suffix. Raises DataError when there is none."""
    stem = images / annotation.relative_to(root).with_suffix("")
    for suffix in SUFFIXES:
        for spelled in (suffix, suffix.upper()):
            candidate = stem.with_name(stem.name + spelled)
            if candidate.is_file():
                return candidate
    if is_image(stem):  # such as DICOM, which many systems store without a suffix
        return stem
    expected = f"expected its image {stem}.* ({NAMES})"
    raise DataError(f"{annotation}: {expected}, got none; give the images folder")


def read_per_image(
    source: str | Path, suffix: str, images: str | Path | None, parse: Callable[[Path], tuple[LandmarkSet, FloatArray]]
) -> LandmarkDataset:
    """Read the landmarks and points (K, 2) of each file and match them by name, in the order of the first file."""
    root, folder, files = annotation_files(source, suffix, images)
    found = [parse(file) for file in files]
    landmarks = found[0][0]
    samples = []
    for file, (marks, points) in zip(files, found, strict=True):
        if odd := sorted(set(marks.names) ^ set(landmarks.names)):
            expected = f"expected the landmarks of {files[0].name}"
            raise DataError(f"{file}: {expected}, got a difference in '{odd[0]}'; all files need the same")
        place = {name: index for index, name in enumerate(marks.names)}
        points = points[[place[name] for name in landmarks.names]]
        samples.append(visible(image_of(file, root, folder), points))
    return LandmarkDataset(samples, landmarks, name=root.name, images=folder, table=Path(source))


def visible(image: Path, points: FloatArray, **rest: Any) -> Sample:
    """A sample of points (K, 2) of which NaN are missing and all others visible."""
    return Sample(image, points, np.where(np.isnan(points[:, 0]), 0, 2).astype(np.int64), **rest)


def write_per_image(
    dataset: LandmarkDataset,
    target: str | Path,
    suffix: str,
    text: Callable[[Sample], str],
    names: Sequence[str] | None = None,
    *,
    overwrite: bool,
) -> list[Path]:
    """Write one text per sample, of the landmarks ``names`` (None: all), into a folder, named as its image.

    Raises DataError, before anything is written, for several instances per image, equal names and files in the way.
    Files that hold just what they should, but not all of them, are of a command that was stopped: the rest is written.
    """
    if dataset.instances:
        expected = f"one set of landmarks per image, as {suffix} files store it"
        raise DataError(f"{target}: expected {expected}, got a dataset with instances; use coco instead")
    files: dict[Path, bytes] = {}
    for sample in (dataset if names is None else dataset.pick(names)).samples:
        name = Path(dataset.image_name(sample))
        relative = Path(name.name) if name.is_absolute() else name
        file = Path(target) / relative.with_suffix(suffix)
        if file in files:
            raise DataError(f"{sample.image}: expected one image called '{name.stem}', got two; rename one")
        files[file] = utf8(file, text(sample))
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


def default_names(count: int) -> tuple[str, ...]:
    """Names for a format that has none.

    >>> default_names(3)
    ('p00', 'p01', 'p02')
    """
    digits = max(2, len(str(count - 1)))
    return tuple(f"p{index:0{digits}d}" for index in range(count))
