"""``dataset.yaml``: what a dataset folder says about itself, and the problems found on the way."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data.files import inside, shown
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import LandmarkSet, Normalizer

DESCRIPTION = "dataset.yaml"
DEFAULT_TABLE = "landmarks.csv"
KEYS = ("name", "images", "table", "landmarks", "spacing_mm", "pairs", "groups", "normalizer", "instances")
_LENGTH = ("name", "between", "box")  # keys of the normalizer


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a dataset: where it stands and what to do about it."""

    file: Path
    message: str
    row: int | None = None
    landmark: str | None = None

    def __str__(self) -> str:
        where = str(self.file)
        if self.row is not None:
            where += f", row {self.row}"
        if self.landmark is not None:
            where += f", landmark '{self.landmark}'"
        return f"{where}: {self.message}"


class ProblemError(DataError):
    """A problem after which nothing more can be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class Description:
    """The values of ``dataset.yaml``; ``landmarks`` is None when the table's columns give the names."""

    file: Path
    folder: Path
    name: str
    images: str | None
    table: str
    landmarks: tuple[str, ...] | None
    spacing_mm: float | None
    instances: bool | None
    pairs: tuple[tuple[str, str], ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    normalizer: Normalizer | None = None

    def landmark_set(self, names: tuple[str, ...], problems: list[Problem]) -> LandmarkSet:
        """The landmarks ``names`` with the pairs, groups and normaliser that hold; the others become problems."""
        pairs = []
        paired: set[str] = set()
        for pair in self.pairs:
            twice = [name for name in pair if name in paired or pair[0] == pair[1]]
            if twice:
                message = f"pairs: expected each landmark in one pair of two, got '{twice[0]}' again; keep one"
                problems.append(Problem(self.file, message))
            elif self._known(f"pairs {list(pair)}", pair, names, problems):
                pairs.append(pair)
                paired.update(pair)
        groups = {g: m for g, m in self.groups.items() if self._known(f"groups '{g}'", m, names, problems)}
        normalizer = self.normalizer
        if normalizer is not None and not self._known("normalizer", normalizer.between or (), names, problems):
            normalizer = None
        return LandmarkSet(names, tuple(pairs), groups, normalizer)

    def _known(self, where: str, used: tuple[str, ...], names: tuple[str, ...], problems: list[Problem]) -> bool:
        unknown = [name for name in used if name not in names]
        for name in unknown:
            message = f"{where}: unknown landmark; {did_you_mean(name, names)}"
            problems.append(Problem(self.file, message, landmark=name))
        return not unknown


def read_description(folder: Path, problems: list[Problem]) -> Description:
    """Read ``dataset.yaml`` of a folder; without one, every value has its default.

    Values that cannot be used are appended to ``problems``. Raises ProblemError when the file is no YAML mapping.
    """
    file = folder / DESCRIPTION
    values: dict[str, Any] = {}
    if file.is_file():
        try:
            values = read_yaml(file)
        except ConfigError as error:
            raise ProblemError(Problem(file, str(error).removeprefix(f"{file}: "))) from None
    return _Reader(file, values, problems).description(folder)


def description_text(name: str, landmarks: LandmarkSet, spacing_mm: float | None, instances: bool) -> str:
    """The text of a ``dataset.yaml`` with the usual names of table and images."""
    about = {"name": name, "images": "images", "table": DEFAULT_TABLE, **landmarks.to_dict()}
    about |= {} if spacing_mm is None else {"spacing_mm": spacing_mm}
    return to_yaml(about | ({"instances": True} if instances else {}))


class _Reader:
    """Typed access to the values of one file; each wrong one is reported and left out."""

    def __init__(self, file: Path, values: dict[str, Any], problems: list[Problem]) -> None:
        self.file, self.values, self.problems = file, values, problems

    def description(self, folder: Path) -> Description:
        for key in self.values:
            if key not in KEYS:
                self.report(f"unknown key '{key}'; {did_you_mean(str(key), KEYS)}")
        path = "a path inside the dataset folder", "; move it there or link to it"
        spacing = self.value("spacing_mm", _is_length, "millimetres per pixel above 0")
        return Description(
            file=self.file,
            folder=folder,
            name=str(self.values.get("name") or folder.resolve().name),
            images=self.value("images", _is_inside, *path),
            table=self.value("table", _is_inside, *path) or DEFAULT_TABLE,
            landmarks=self.landmarks(),
            spacing_mm=None if spacing is None else float(spacing),
            instances=self.value("instances", lambda value: isinstance(value, bool), "true or false"),
            pairs=self.pairs(),
            groups=self.groups(),
            normalizer=self.normalizer(),
        )

    def report(self, message: str) -> None:
        self.problems.append(Problem(self.file, message))

    def value(self, key: str, valid: Callable[[Any], bool], expected: str, fix: str = "") -> Any:
        """The value of a key; None when there is none, or when it is not ``valid``, which is reported."""
        value = self.values.get(key)
        if value is None or valid(value):
            return value
        self.report(f"{key}: expected {expected}, got {shown(value)}{fix}")
        return None

    def names(self, key: str, value: Any) -> tuple[str, ...] | None:
        """A list of landmark names; an unquoted yes, no or 1.0 is refused since YAML changes it."""
        if not isinstance(value, list):
            self.report(f"{key}: expected a list of landmark names, got {shown(value)}")
            return None
        for name in value:
            if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
                self.report(f"{key}: expected landmark names, got {shown(name)}; put it in quotes")
                return None
        return tuple(str(name) for name in value)

    def landmarks(self) -> tuple[str, ...] | None:
        value = self.values.get("landmarks")
        names = None if value is None else self.names("landmarks", value)
        if not names:
            return None
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.report(f"landmarks: expected each name once, got '{name}' more than once; rename one")
        return tuple(dict.fromkeys(names))

    def pairs(self) -> tuple[tuple[str, str], ...]:
        out = []
        for item in self.value("pairs", lambda value: isinstance(value, list), "a list such as [[left, right]]") or ():
            names = self.names("pairs", item)
            if names is not None and len(names) != 2:
                self.report(f"pairs: expected two landmark names, got {shown(item)}")
            elif names is not None:
                out.append((names[0], names[1]))
        return tuple(out)

    def groups(self) -> dict[str, tuple[str, ...]]:
        value = self.value("groups", lambda value: isinstance(value, dict), "'group: [landmark, ...]'") or {}
        found = {str(group): self.names(f"groups '{group}'", members) for group, members in value.items()}
        return {group: members for group, members in found.items() if members is not None}

    def normalizer(self) -> Normalizer | None:
        expected = "'name' and either 'between: [a, b]' or 'box: true'"
        value = self.value("normalizer", lambda value: isinstance(value, dict), expected)
        if value is None:
            return None
        for key in value:
            if key not in _LENGTH:
                self.report(f"normalizer: unknown key '{key}'; {did_you_mean(str(key), _LENGTH)}")
        between = None if value.get("between") is None else self.names("normalizer", value["between"])
        box = value.get("box") is True
        if not value.get("name") or box == (between is not None) or (between is not None and len(set(between)) != 2):
            self.report(f"normalizer: expected {expected}, got {shown(value)}")
            return None
        return Normalizer(str(value["name"]), (between[0], between[1]) if between else None, box)


def _is_inside(value: Any) -> bool:
    return isinstance(value, str) and inside(value)


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
