"""``dataset.yaml``: what a dataset folder says about itself, and the problems found on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trigpoint.config import read_yaml, to_yaml
from trigpoint.data.files import check_path, inside, number, possible_name, shown
from trigpoint.data.measurements import read_measurements, with_all, without
from trigpoint.errors import ConfigError, DataError, did_you_mean
from trigpoint.landmarks import (
    LandmarkSet,
    Measurement,
    Normalizer,
    Spacing,
    measured_landmarks,
    plain_spacing,
    spacing_pair,
)

DESCRIPTION = "dataset.yaml"
DEFAULT_TABLE = "landmarks.csv"
_HINTED = 20  # problems of one kind that are told in full


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
    spacing_mm: Spacing | None
    instances: bool | None
    pairs: tuple[tuple[str, str], ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    normalizer: Normalizer | None = None
    mirrors: bool | None = None  # as in ``LandmarkSet``: True where ``pairs`` is an empty list
    skeleton: tuple[tuple[str, str], ...] = ()
    annotators: dict[str, str] = field(default_factory=dict)
    """Tables beside ``dataset.yaml``, one for each person who labels, by their names."""
    measurements: dict[str, Measurement] = field(default_factory=dict)

    @property
    def images_folder(self) -> Path:
        """Where plain names of images are looked for: ``images``, else ``images/`` where it is there, else here."""
        if self.images:
            return self.folder / self.images
        default = self.folder / "images"
        return default if default.is_dir() else self.folder

    def for_columns(self, names: Sequence[str], instances: bool) -> Description:
        """The same for a table of predictions beside the set's own: it may hold other landmarks, or instances."""
        order = (*(name for name in self.landmarks or () if name in names), *names)
        marks = tuple(dict.fromkeys(order))
        groups = {group: tuple(name for name in members if name in marks) for group, members in self.groups.items()}
        length, pairs = self.normalizer, [set(pair) & set(marks) for pair in self.pairs]
        beyond = [m for m in self.measurements if not set(measured_landmarks(m, self.measurements)) <= set(marks)]
        half, none = any(len(pair) == 1 for pair in pairs), bool(pairs) and not any(pairs)
        return replace(
            self,
            mirrors=False if half else True if none else self.mirrors,
            skeleton=tuple(line for line in self.skeleton if set(line) <= set(marks)),
            measurements=without(self.measurements, beyond),
            landmarks=marks or None,
            instances=instances,
            pairs=tuple(pair for pair in self.pairs if set(pair) <= set(marks)),
            groups={group: members for group, members in groups.items() if members},
            normalizer=length if length is None or set(length.between or ()) <= set(marks) else None,
        )

    def landmark_set(self, names: tuple[str, ...], problems: list[Problem]) -> LandmarkSet:
        """The landmarks ``names`` with what is said about them and holds; the rest becomes problems."""
        known = dict.fromkeys(names)
        pairs = []
        paired: set[str] = set()
        for pair in self.pairs:
            twice = [name for name in pair if name in paired or pair[0] == pair[1]]
            if twice:
                message = f"pairs: expected each landmark in one pair of two, got '{twice[0]}' again; keep one"
                problems.append(Problem(self.file, message))
            elif self._known(f"pairs {list(pair)}", pair, known, problems):
                pairs.append(pair)
                paired.update(pair)
        groups = {g: m for g, m in self.groups.items() if self._known(f"groups '{g}'", m, known, problems)}
        normalizer = self.normalizer
        if normalizer is not None and not self._known("normalizer", normalizer.between or (), known, problems):
            normalizer = None
        lines = (line for line in self.skeleton if self._known(f"skeleton {list(line)}", line, known, problems))
        whole = with_all(self.measurements, names)
        used = {m: measured_landmarks(m, whole) for m in whole}
        wrong = [m for m, marks in used.items() if not self._known(f"measurements '{m}'", marks, known, problems)]
        own = without(whole, wrong)
        return LandmarkSet(names, tuple(pairs), groups, normalizer, self.mirrors, tuple(lines), own)

    def _known(self, where: str, used: tuple[str, ...], names: Mapping[str, None], problems: list[Problem]) -> bool:
        unknown = [name for name in used if name not in names]
        for name in unknown:
            hint = did_you_mean(name, names) if len(problems) < _HINTED else "correct it as those before"
            problems.append(Problem(self.file, f"{where}: unknown landmark; {hint}", landmark=name))
        return not unknown


def description_text(name: str, landmarks: LandmarkSet, spacing_mm: float | Spacing | None, instances: bool) -> str:
    """The text of a ``dataset.yaml`` with the usual names of table and images."""
    about = {"name": name, "images": "images", "table": DEFAULT_TABLE, **landmarks.to_dict()}
    about |= {} if spacing_mm is None else {"spacing_mm": plain_spacing(spacing_pair(spacing_mm))}
    return to_yaml(about | ({"instances": True} if instances else {}))


def _is_names(value: Any, count: int | None = None) -> bool:
    """A list of landmark names, ``count`` of them; an unquoted yes, no or 1.0 is none since YAML changes it."""
    plain = isinstance(value, list) and all(isinstance(n, str | int) and not isinstance(n, bool) for n in value)
    return plain and count in (None, len(value))


def _is_length(value: Any) -> bool:
    """A normaliser: two landmarks or the box around all, under a name."""
    if not isinstance(value, dict) or not value.get("name") or not value.keys() <= {"name", "between", "box"}:
        return False
    between, box = value.get("between"), value.get("box") is True
    return box if between is None else not box and _is_names(between, 2) and len(set(_names(between))) == 2


def _is_spacing(value: Any) -> bool:
    sides = value if isinstance(value, list) else [value] * 2
    return len(sides) == 2 and all(not isinstance(side, str) and (number(side) or 0) > 0 for side in sides)


def _is_annotators(value: Any) -> bool:
    """Names of people, each with a table of its own that lies beside ``dataset.yaml``."""
    if not isinstance(value, dict) or not all(isinstance(file, str) for file in value.values()):
        return False
    plain = all(_is_person(name) for name in value) and all(_is_table(file) for file in value.values())
    return plain and len({file.casefold() for file in value.values()}) == len(value)


def _is_person(name: Any) -> bool:
    return _is_names([name]) and possible_name(str(name)) and not set(str(name)) & {*"/\\,"} and str(name)[:1] != "."


def _is_table(file: str) -> bool:
    return inside(file) and file.lower().endswith(".csv") and not set(file) & {*"/\\"}


_PATH = (lambda v: isinstance(v, str) and inside(v), "a path inside the dataset folder", "; move or link it there")
_QUOTE = "; put it in quotes if YAML took a name for another value"
KEYS: dict[str, tuple[Callable[[Any], bool], str, str]] = {  # what a value has to be, in words, and the fix
    "name": (lambda value: True, "", ""),
    "images": _PATH,
    "table": _PATH,
    "landmarks": (_is_names, "a list of landmark names", _QUOTE),
    "spacing_mm": (_is_spacing, "millimetres per pixel above 0", "; one number, or two for x and y"),
    "pairs": (
        lambda value: isinstance(value, list) and all(_is_names(pair, 2) for pair in value),
        "two landmark names in each, such as [[left, right]]",
        _QUOTE,
    ),
    "groups": (
        lambda value: isinstance(value, dict) and all(map(_is_names, value.values())),
        "'group: [landmark, ...]'",
        _QUOTE,
    ),
    "normalizer": (_is_length, "'name' and either 'between: [a, b]' or 'box: true'", ""),
    "instances": (lambda value: isinstance(value, bool), "true or false", ""),
    "annotators": (
        _is_annotators,
        "'name: table.csv' for each, tables of their own beside dataset.yaml",
        ", such as {ann: landmarks_ann.csv, ben: landmarks_ben.csv}; names without comma or slash",
    ),
    "measurements": (lambda value: True, "", ""),  # see ``read_measurements``
    "skeleton": (
        lambda value: isinstance(value, list) and all(_is_names(line, 2) for line in value),
        "two landmark names in each, such as [[hip, knee], [knee, ankle]]",
        _QUOTE,
    ),
}


def read_description(folder: Path, problems: list[Problem]) -> Description:
    """Read ``dataset.yaml`` of a folder; without one, every value has its default.

    Values that cannot be used are appended to ``problems`` and left out. Raises ProblemError when the file is no YAML
    mapping.
    """
    file = folder / DESCRIPTION
    check_path(file)
    values: dict[str, Any] = {}
    if file.is_file():
        try:
            values = read_yaml(file)
        except ConfigError as error:
            raise ProblemError(Problem(file, str(error).removeprefix(f"{file}: "))) from None
    for key, value in list(values.items()):
        if key not in KEYS:
            problems.append(Problem(file, f"unknown key '{key}'; {did_you_mean(str(key), KEYS)}"))
        elif value is None:
            del values[key]
        elif not KEYS[key][0](value):
            _, expected, fix = KEYS[key]
            problems.append(Problem(file, f"{key}: expected {expected}, got {shown(values.pop(key))}{fix}"))
    names, length = _names(values.get("landmarks", ())), values.get("normalizer", {})
    for name in sorted(name for name, times in Counter(names).items() if times > 1)[:_HINTED]:
        message = f"landmarks: expected each name once, got '{name}' more than once; rename one"
        problems.append(Problem(file, message))
    between = _names(length.get("between") or ())
    wrong: list[str] = []
    measured = read_measurements(values.get("measurements") or {}, wrong)
    problems += [Problem(file, message) for message in wrong]
    return Description(
        file=file,
        folder=folder,
        name=str(values.get("name") or folder.resolve().name),
        images=values.get("images"),
        table=values.get("table") or DEFAULT_TABLE,
        landmarks=tuple(dict.fromkeys(names)) or None,
        spacing_mm=spacing_pair(values.get("spacing_mm")),
        instances=values.get("instances"),
        pairs=tuple((str(a), str(b)) for a, b in values.get("pairs", ())),
        groups={str(group): _names(members) for group, members in values.get("groups", {}).items()},
        normalizer=Normalizer(str(length["name"]), (between[0], between[1]) if between else None, not between)
        if length
        else None,
        mirrors=True if values.get("pairs") == [] else None,
        skeleton=tuple((str(a), str(b)) for a, b in values.get("skeleton", ())),
        annotators={str(name): file for name, file in values.get("annotators", {}).items()},
        measurements=with_all(measured, tuple(dict.fromkeys(names))) if names else measured,
    )


def _names(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in values)
