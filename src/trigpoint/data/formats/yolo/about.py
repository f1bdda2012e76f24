"""The dataset yaml: its landmarks, classes and pairs, and the images that it lists with their label files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from trigpoint.config import read_yaml
from trigpoint.data.files import check_path, number, read_text, shown
from trigpoint.data.formats.objects import ObjectRows
from trigpoint.data.pixels.folders import hidden
from trigpoint.data.pixels.images import is_image
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import LandmarkSet


def yaml_file(source: Path) -> Path:
    check_path(source)
    if source.is_file():
        return source
    found = sorted([*source.glob("*.yaml"), *source.glob("*.yml")])
    if len(found) != 1:
        got = ", ".join(file.name for file in found[:5]) or "none"
        fix = "name the file with 'kpt_shape: [points, 2 or 3]', 'train:' and 'names:'"
        raise DataError(f"{source}: expected one dataset yaml (*.yaml), got {got}; {fix}")
    return found[0]


class About:
    """What a dataset yaml says."""

    def __init__(self, file: Path, names: Sequence[str] | None, category: str | None) -> None:
        self.file = file
        try:
            self.values = read_yaml(file)
        except ConfigError as error:
            raise DataError(str(error)) from None
        shape = self.values.get("kpt_shape")
        plain = isinstance(shape, list) and [type(n) for n in shape] == [int, int]
        if not isinstance(shape, list) or not plain or shape[1] not in (2, 3) or not 0 < shape[0] <= 10_000:
            raise DataError(
                f"{file}: expected 'kpt_shape: [points, 2 or 3]', got {shown(shape)}; is it a pose dataset?"
            )
        self.count, self.numbers = shape
        self.classes = self._classes()
        self.category = self._chosen(category)
        self.names = self._names(names)
        path = self.values.get("path")
        root = Path(path) if isinstance(path, str) and path else Path()
        here = file.parent
        self.root = next((r for r in (here / root, here / root.name) if root.parts and _is_dir(r)), here)

    def _classes(self) -> dict[int, str]:
        names = self.values.get("names")
        pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
        return {int(k): str(name) for k, name in pairs if number(k) is not None and float(k).is_integer()}

    def _chosen(self, category: str | int | None) -> int | None:
        if category is None:
            return None
        for key, name in self.classes.items():
            if str(category) in (name, str(key)):
                return key
        hint = did_you_mean(str(category), self.classes.values()) if self.classes else "the yaml names none"
        raise DataError(f"{self.file}: unknown class '{category}'; {hint}")

    def _names(self, given: Sequence[str] | None) -> tuple[str, ...]:
        stored = self.values.get("kpt_names")
        if isinstance(stored, dict):  # a list for each class
            stored = stored.get(self.category or 0, next(iter(stored.values()), None))
        names = given or stored or [f"k{index}" for index in range(self.count)]
        if not isinstance(names, list | tuple) or len(names) != self.count:
            got = f"{len(names)}" if isinstance(names, list | tuple) else shown(names)
            raise DataError(f"{self.file}: expected {self.count} names of landmarks as in kpt_shape, got {got}")
        try:
            return LandmarkSet(tuple(str(name) for name in names)).names
        except DataError as error:
            raise DataError(f"{self.file}: {error}") from None

    def pairs(self, rows: ObjectRows) -> tuple[tuple[str, str], ...]:
        """The pairs of ``flip_idx``: two landmarks that a flip swaps."""
        flip = self.values.get("flip_idx")
        if flip is None:
            return ()
        indices = list(range(self.count))
        swaps = isinstance(flip, list) and sorted(map(repr, flip)) == sorted(map(repr, indices))
        if not swaps or any(flip[flip[k]] != k for k in indices):
            rows.problem(self.file, f"flip_idx: expected the order of {self.count} landmarks after a flip; left out")
            return ()
        return tuple((self.names[k], self.names[flip[k]]) for k in indices if k < flip[k])

    def listed(self, split: str, base: Path, rows: ObjectRows) -> Iterator[tuple[Path, Path]]:
        """(image, its label file) of a subset."""
        entries = self.values.get(split, self.values.get("validation") if split == "val" else None)
        for entry in entries if isinstance(entries, list) else [entries] if entries else []:
            if not isinstance(entry, str) or "\0" in entry:
                rows.problem(self.file, f"{split}: expected a folder or a list of images, got {shown(entry)}; left out")
                continue
            place = self._place(entry, base)
            if place is None:
                rows.problem(
                    self.file, f"{split}: expected the folder or list {shown(entry)}, got none there; left out"
                )
            elif is_file(place):
                for line in filter(None, map(str.strip, read_text(place).splitlines())):
                    image = Path(os.path.normpath(place.parent / line))
                    yield image, labels_of(image)
            elif place == place.parent:
                rows.problem(self.file, f"{split}: expected a folder of images, got all of {place}; left out")
            else:
                images = sorted(file for file in place.rglob("*") if not hidden(file, place) and is_image(file))
                if not images:
                    rows.problem(self.file, f"{split}: expected images in {place}, got none")
                yield from ((image, labels_of(image)) for image in images)

    def _place(self, entry: str, base: Path) -> Path | None:
        """A folder or list: as it stands, without a leading ../ (as some exports need), or by its end."""
        plain = entry.replace("\\", "/")
        parts = [part for part in plain.split("/") if part not in ("", "..", ".")]
        forms = [plain, *("/".join(parts[k:]) for k in range(len(parts)))]
        for form in forms:
            for root in dict.fromkeys((base, self.root, self.file.parent)):
                place = root / form
                if _is_dir(place) or (place.suffix == ".txt" and is_file(place)):
                    return Path(os.path.normpath(place))
        return None


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def labels_of(image: Path) -> Path:
    """The text file of an image: the last folder ``images`` of its path is ``labels`` there.

    >>> labels_of(Path("a/images/b/c.png")).as_posix(), labels_of(Path("a/c.png")).as_posix()
    ('a/labels/b/c.txt', 'a/c.txt')
    """
    parts = list(image.parts[:-1])
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts, image.name).with_suffix(".txt")
