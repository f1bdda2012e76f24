"""A set of named landmarks, with what is known of them as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trigpoint.errors import DataError, did_you_mean
from trigpoint.landmarks.values import IntArray

Measurement = dict[str, Any]  # as dataset.yaml states it, such as {"angle": ["a", "b", "c"]}; see data.measurements
_TOLD = 20  # names that an error lists


@dataclass(frozen=True)
class Normalizer:
    """What an error is divided by to give the normalised mean error (NME).

    ``between`` names two landmarks whose distance is the length; ``box=True`` takes the geometric mean of the
    sides of the box around the annotated landmarks, sqrt(width * height).
    """

    name: str
    between: tuple[str, str] | None = None
    box: bool = False


@dataclass(frozen=True)
class LandmarkSet:
    """Ordered landmark names with their left/right pairs, groups, NME normaliser and the lines between them.

    ``mirrors``: whether a mirrored image shows the same landmarks, once the pairs are swapped. None: it does where
    there are pairs, and without any nobody has said so; True: also without any (``pairs: []``); False: it does not, for
    the other one of a pair is left out.

    >>> marks = LandmarkSet(("left", "tip", "right"), pairs=(("left", "right"),))
    >>> marks.flip_permutation().tolist()
    [2, 1, 0]
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    normalizer: Normalizer | None = None
    mirrors: bool | None = None
    skeleton: tuple[tuple[str, str], ...] = ()  # which landmarks a drawing joins; teaches and measures nothing
    measurements: dict[str, Measurement] = field(default_factory=dict)
    """Angles, lengths and ratios by their names, see ``trigpoint.metrics.measurements``."""

    def __post_init__(self) -> None:
        known = set(self.names)
        if len(known) != len(self.names):
            twice = sorted(name for name, times in Counter(self.names).items() if times > 1)[:_TOLD]
            raise DataError(f"landmark names: expected each once, got {', '.join(twice)} more than once; rename them")
        used = [(f"pairs: {pair}", name) for pair in self.pairs for name in pair]
        used += [(f"groups: {group}", name) for group, members in self.groups.items() for name in members]
        used += [(f"skeleton: {line}", name) for line in self.skeleton for name in line]
        for own in self.measurements:
            used += [(f"measurements: {own}", name) for name in measured_landmarks(own, self.measurements)]
        if self.normalizer is not None and self.normalizer.between is not None:
            used += [("normalizer", name) for name in self.normalizer.between]
        for where, name in used:
            if name not in known:
                raise DataError(f"{where}: unknown landmark '{name}'; {did_you_mean(name, self.names)}")
        for name, times in Counter(name for pair in self.pairs for name in pair).items():
            if times > 1:
                raise DataError(f"pairs: landmark '{name}' stands in more than one pair; keep one")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a landmark; raises DataError with the nearest name when unknown."""
        if name not in self.names:
            raise DataError(f"unknown landmark '{name}'; {did_you_mean(name, self.names)}")
        return self.names.index(name)

    def flip_permutation(self, without: str = "data.augment.flip=0") -> IntArray:
        """Order of the landmarks after a horizontal flip, shape (K,); ``without``: what asks for no flip.

        Raises DataError when no pairs are named nor ruled out, or one of a pair is left out.
        """
        if self.mirrors is False:
            raise DataError(
                "a flip swaps left and right landmarks, but of one of the pairs only one landmark is used; "
                f"use both (data.landmarks) or set {without}"
            )
        if not self.pairs and self.names and not self.mirrors:
            raise DataError(
                "a flip swaps left and right landmarks, but the dataset names no pairs; add 'pairs: [[left, right], "
                f"...]' to dataset.yaml, or 'pairs: []' where each landmark mirrors itself, or set {without}"
            )
        order = np.arange(len(self.names))
        for a, b in self.pairs:
            i, j = self.names.index(a), self.names.index(b)
            order[i], order[j] = j, i
        return order

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML; ``from_dict`` reads them back."""
        out: dict[str, Any] = {"landmarks": list(self.names)}
        if self.pairs or self.mirrors:
            out["pairs"] = [list(pair) for pair in self.pairs]
        if self.groups:
            out["groups"] = {name: list(members) for name, members in self.groups.items()}
        if self.normalizer is not None:
            given = {"between": list(self.normalizer.between or ()), "box": self.normalizer.box}
            out["normalizer"] = {"name": self.normalizer.name, **{key: value for key, value in given.items() if value}}
        if self.skeleton:
            out["skeleton"] = [list(line) for line in self.skeleton]
        if self.measurements:
            out["measurements"] = {name: dict(one) for name, one in self.measurements.items()}
        return out

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LandmarkSet:
        """Read what ``to_dict`` wrote."""
        length = values.get("normalizer")
        normalizer = None
        if length is not None:
            between = length.get("between")
            normalizer = Normalizer(length["name"], tuple(between) if between else None, bool(length.get("box")))
        return cls(
            names=tuple(str(name) for name in values["landmarks"]),
            pairs=tuple((str(a), str(b)) for a, b in values.get("pairs") or ()),
            groups={str(k): tuple(str(n) for n in v) for k, v in (values.get("groups") or {}).items()},
            normalizer=normalizer,
            mirrors=True if values.get("pairs") == [] else None,
            skeleton=tuple((str(a), str(b)) for a, b in values.get("skeleton") or ()),
            measurements={str(name): dict(one) for name, one in (values.get("measurements") or {}).items()},
        )

    def pick(self, names: Sequence[str]) -> LandmarkSet:
        """Only the landmarks ``names``, in that order, with the pairs, groups, measurements and normaliser that stay
        whole.

        >>> marks = LandmarkSet(("left", "tip", "right"), pairs=(("left", "right"),))
        >>> marks.pick(["tip"]).mirrors, marks.pick(["left", "tip"]).mirrors
        (True, False)
        """
        kept, length, measured = set(names), self.normalizer, self.measurements
        pairs = tuple(pair for pair in self.pairs if set(pair) <= kept)
        groups = {group: tuple(m for m in members if m in kept) for group, members in self.groups.items()}
        mirrors = self.mirrors
        if any(len(kept & set(pair)) == 1 for pair in self.pairs):
            mirrors = False
        elif self.pairs and not pairs:
            mirrors = True
        return LandmarkSet(
            tuple(names),
            pairs,
            {group: members for group, members in groups.items() if members},
            length if length is None or set(length.between or ()) <= kept else None,
            mirrors,
            tuple(line for line in self.skeleton if set(line) <= kept),
            {name: m for name, m in measured.items() if {*measured_landmarks(name, measured)} <= kept},
        )


def measured_landmarks(name: str, measurements: Mapping[str, Measurement]) -> tuple[str, ...]:
    """The landmarks that a measurement needs, in the order in which they are named; of a difference those of its parts.

    >>> measured_landmarks("ab", {"ab": {"ratio": [["a", "b"], ["b", "c"]]}})
    ('a', 'b', 'c')
    """
    one = measurements[name]
    if "difference" in one:
        found = [mark for part in one["difference"] for mark in measured_landmarks(part, measurements)]
    else:
        listed = [entry for names in one.values() for entry in names]
        found = [mark for entry in listed for mark in (entry if isinstance(entry, list | tuple) else [entry])]
    return tuple(dict.fromkeys(found))
