"""``measurements`` of ``dataset.yaml``: angles, lengths and ratios of named landmarks, read and checked.

What they mean, and their signs, stands with their formulas: ``trigpoint.metrics.measurements``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trigpoint.data.files import is_formula, possible_name, shown
from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks import Measurement

ANGLE, LENGTH, RATIO = "angle", "length", "ratio"  # what is compared with what
DIFFERENCE = "difference"
LOW, HIGH = "_low", "_high"  # ends of the columns of an interval
_TAKEN = ("image", "time_s")  # columns of a table of measurements that are none


class Form(NamedTuple):
    """How a kind is written: by its keys, how many landmarks (0: any number), or pairs of them, each lists; and how the
    whole looks in an example."""

    counts: dict[str, int]
    pairs: bool
    quantity: str
    example: str


FORMS: dict[str, Form] = {
    "angle": Form({"angle": 3}, False, ANGLE, "{angle: [sella, nasion, a_point]}, the vertex in the middle"),
    "angle_between": Form({"angle_between": 2}, True, ANGLE, "{angle_between: [[a, b], [c, d]]}"),
    "signed_angle": Form({"signed_angle": 2}, True, ANGLE, "{signed_angle: [[a, b], [c, d]]}"),
    "distance": Form({"distance": 2}, False, LENGTH, "{distance: [p, q]}"),
    "projection": Form({"projection": 2, "onto": 2}, False, LENGTH, "{projection: [p, q], onto: [r, s]}"),
    "distance_to_line": Form({"distance_to_line": 1, "line": 2}, False, LENGTH, "{distance_to_line: p, line: [r, s]}"),
    "centroid_size": Form({"centroid_size": 0}, False, LENGTH, "{centroid_size: [a, b, c]}, or [] for all landmarks"),
    "ratio": Form({"ratio": 2}, True, RATIO, "{ratio: [[a, b], [c, d]]}"),
    DIFFERENCE: Form({DIFFERENCE: 2}, False, "", "{difference: [SNA, SNB]}, of two measurements above it"),
}


def read_measurements(given: Any, problems: list[str]) -> dict[str, Measurement]:
    """The measurements that are written right, names as text; what is wrong with others is added to ``problems``.

    Whether the landmarks are there is not looked at: a ``LandmarkSet`` does.

    >>> wrong = []
    >>> read_measurements({"SNA": {"angle": ["s", "n", "a"]}, "x": {"angle": ["s", "n"]}}, wrong)
    {'SNA': {'angle': ['s', 'n', 'a']}}
    >>> print(wrong[0].partition(";")[0])
    measurements 'x': expected angle with 3 landmarks, got ['s', 'n']
    """
    if not isinstance(given, Mapping):
        problems.append(f"measurements: expected 'NAME: {{angle: [a, b, c]}}' for each, got {shown(given)}")
        return {}
    found: dict[str, Measurement] = {}
    taken = set(_TAKEN)
    for key, value in given.items():
        name = str(key)
        try:
            _check_name(key, taken)
            found[name] = _one(value, found)
            taken |= _columns(name)
        except DataError as error:
            problems.append(f"measurements '{name}': {error}")
    return found


def quantity(name: str, measurements: Mapping[str, Measurement]) -> str:
    """``angle``, ``length`` or ``ratio``; a difference is what its parts are.

    >>> quantity("x", {"a": {"distance": ["p", "q"]}, "x": {"difference": ["a", "a"]}})
    'length'
    """
    kind = kind_of(measurements[name])
    return quantity(measurements[name][DIFFERENCE][0], measurements) if kind == DIFFERENCE else FORMS[kind].quantity


def kind_of(measurement: Measurement) -> str:
    """The key of ``FORMS``, such as ``angle``."""
    return next(key for key in measurement if key in FORMS)


def with_all(measurements: Mapping[str, Measurement], names: Sequence[str]) -> dict[str, Measurement]:
    """The same with the landmarks ``names`` where ``centroid_size: []`` stands for all.

    >>> with_all({"size": {"centroid_size": []}}, ("a", "b"))
    {'size': {'centroid_size': ['a', 'b']}}
    """
    unnamed: Measurement = {"centroid_size": []}
    return {n: {"centroid_size": list(names)} if one == unnamed else one for n, one in measurements.items()}


def without(measurements: Mapping[str, Measurement], left_out: Collection[str]) -> dict[str, Measurement]:
    """Those that are not ``left_out``, nor a difference of one that is."""
    kept: dict[str, Measurement] = {}
    for name, one in measurements.items():
        if name not in left_out and all(part in kept for part in one.get(DIFFERENCE, ())):
            kept[name] = one
    return kept


def column(name: str, unit: str) -> str:
    """What a table calls it: lengths in millimetres say so.

    >>> column("overjet", "mm"), column("overjet", "px"), column("SNA", "deg")
    ('overjet_mm', 'overjet', 'SNA')
    """
    return f"{name}_mm" if unit == "mm" else name


def _columns(name: str) -> set[str]:
    """All columns that a table of the measurement may have."""
    return {f"{column(name, unit)}{end}" for unit in ("px", "mm") for end in ("", LOW, HIGH)}


def _check_name(key: Any, taken: Collection[str]) -> None:
    name = str(key)
    if not _is_name(key) or not possible_name(name) or is_formula(name) or set(name) & {*",;"}:
        raise DataError(f"expected a plain name without comma, got {shown(key)}; rename it")
    if both := sorted(_columns(name) & set(taken)):
        raise DataError(f"expected a name whose columns are its own, got another column '{both[0]}'; rename it")


def _one(value: Any, above: Mapping[str, Measurement]) -> Measurement:
    """One measurement; raises DataError for anything else."""
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"expected one of {', '.join(FORMS)}, such as {FORMS['angle'].example}, got {shown(value)}")
    kinds = [str(key) for key in value if key in FORMS]
    if len(kinds) != 1:
        named = [str(key) for key in value if key not in ("onto", "line")] or [str(next(iter(value)))]
        hint = f"one of {', '.join(FORMS)}" if kinds else did_you_mean(named[0], FORMS)
        raise DataError(f"expected one kind of measurement, got {', '.join(map(str, value))}; {hint}")
    kind = kinds[0]
    form = FORMS[kind]
    fix = f"; write {form.example}"
    if set(map(str, value)) != set(form.counts):
        raise DataError(f"{kind}: expected the keys {', '.join(form.counts)}, got {', '.join(map(str, value))}{fix}")
    one: Measurement = {}
    for key, count in form.counts.items():
        listed = [value[key]] if count == 1 and _is_name(value[key]) else value[key]
        if not _fits(listed, count, form.pairs):
            what = "pairs of landmarks" if form.pairs else "measurements" if kind == DIFFERENCE else "landmarks"
            wanted = f"{count} {what}" if count > 1 else "a landmark" if count else f"a list of {what}"
            raise DataError(f"expected {key} with {wanted}, got {shown(value[key])}{fix}")
        one[key] = [[str(name) for name in pair] if form.pairs else str(pair) for pair in listed]
    if repeated := next(_twice(one, kind), None):
        raise DataError(f"expected different landmarks, got '{repeated}' twice{fix}")
    if kind == DIFFERENCE:
        _check_difference(one[DIFFERENCE], above)
    return one


def _check_difference(parts: Sequence[str], above: Mapping[str, Measurement]) -> None:
    for part in parts:
        if part not in above:
            hint = did_you_mean(part, above) if above else "none stands above it"
            raise DataError(f"difference: expected measurements that stand above it, got '{part}'; {hint}")
    kinds = [quantity(part, above) for part in parts]
    if kinds[0] != kinds[1]:
        raise DataError(f"difference: expected two angles, lengths or ratios, got {kinds[0]} and {kinds[1]}")


def _twice(one: Measurement, kind: str) -> Iterator[str]:
    """Names that stand twice where that leaves nothing to measure."""
    for entries in one.values():
        for names in entries if FORMS[kind].pairs else [entries]:
            yield from (name for name in names if names.count(name) > 1)


def _fits(listed: Any, count: int, pairs: bool) -> bool:
    if not isinstance(listed, list | tuple) or (count and len(listed) != count):
        return False
    if not pairs:
        return (count > 0 or len(listed) != 1) and all(map(_is_name, listed))
    return all(isinstance(pair, list | tuple) and len(pair) == 2 and all(map(_is_name, pair)) for pair in listed)


def _is_name(value: Any) -> bool:
    """Text or a whole number; an unquoted yes, no or 1.0 is none, since YAML changes it."""
    return isinstance(value, str | int) and not isinstance(value, bool)
