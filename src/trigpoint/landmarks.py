"""The vocabulary that every layer shares: a set of named landmarks, one sample, one batch, what was found in it.

Points are (x, y) in pixels, x right, y down, the centre of the top-left pixel is (0, 0).
A missing landmark is NaN. Visibility is 0 missing or not annotated, 1 occluded but annotated, 2 visible; in sets with
several instances per image also ``ABSENT``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Spacing = tuple[float, float]  # millimetres per pixel, x and y
Measurement = dict[str, Any]  # as dataset.yaml states it, such as {"angle": ["a", "b", "c"]}; see data.measurements
Widths = Mapping[str, Mapping[str, float]]  # half widths of intervals, by measurement and unit

COVERAGE = 0.9  # share of the validation annotations whose error stays below the radius of their landmark
CANDIDATES = 0.05
"""Score above which a maximum is a candidate when a threshold is chosen: below it is noise, and costs time."""
_TOLD = 20  # names that an error lists
ABSENT = -1
"""Visibility of a landmark that is known not to be in the image: a true negative. Only in sets with instances."""


def spacing_pair(given: object, where: str = "spacing_mm") -> Spacing | None:
    """Millimetres per pixel (x, y) from one number, or two; None stays None. Raises DataError for anything else.

    >>> spacing_pair(0.1), spacing_pair([0.2, 0.1]), spacing_pair(None)
    ((0.1, 0.1), (0.2, 0.1), None)
    """
    if given is None:
        return None
    plain: Any = given.tolist() if isinstance(given, np.ndarray | np.generic) else given
    values = list(plain) if isinstance(plain, list | tuple) else [plain, plain]
    if len(values) != 2 or not all(_is_length(value) for value in values):
        expected = "expected millimetres per pixel above 0, one number, or two for x and y"
        raise DataError(f"{where}: {expected}, got {given!r:.80}; correct it, or leave it out")
    return float(values[0]), float(values[1])


def plain_spacing(spacing: Spacing | None) -> float | list[float] | None:
    """A spacing as files state it: one number where both are equal.

    >>> plain_spacing((0.1, 0.1)), plain_spacing((0.2, 0.1))
    (0.1, [0.2, 0.1])
    """
    if spacing is None:
        return None
    return spacing[0] if spacing[0] == spacing[1] else list(spacing)


def _is_length(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < np.inf


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

    def flip_permutation(self) -> IntArray:
        """Order of the landmarks after a horizontal flip, shape (K,).

        Raises DataError when no pairs are named nor ruled out, or one of a pair is left out.
        """
        if self.mirrors is False:
            raise DataError(
                "a flip swaps left and right landmarks, but of one of the pairs only one landmark is used; "
                "use both (data.landmarks) or set data.augment.flip=0"
            )
        if not self.pairs and self.names and not self.mirrors:
            raise DataError(
                "a flip swaps left and right landmarks, but the dataset names no pairs; add 'pairs: [[left, right], "
                "...]' to dataset.yaml, or 'pairs: []' where each landmark mirrors itself, or set data.augment.flip=0"
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


@dataclass(frozen=True)
class Sample:
    """One annotated image, or one instance in it, as stored: points (K, 2) in original pixels, visibility (K,).

    A point is NaN where the visibility is 0 (missing or not annotated) or, only in sets with instances, ``ABSENT``
    (the instance has no such landmark in the image); else it is 1 (occluded but annotated) or 2 (visible).
    ``scores`` (K,) of a prediction that was read back; None: of annotations.
    """

    image: Path
    points: FloatArray
    visibility: IntArray
    split: str = ""
    subject: str = ""
    instance: str = ""
    spacing_mm: Spacing | None = None  # (x, y); one number may be given for both
    row: int = 0  # row of the table, counted as a spreadsheet does (the header is row 1)
    scores: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", spacing_pair(self.spacing_mm, f"{self.image}: spacing_mm"))


@dataclass
class Batch:
    """What a network is fed. ``to_original`` (B, 2, 3) maps input pixels back to pixels of the stored image.

    For multi-instance methods ``points`` are (B, M, K, 2), M instances, NaN = no such instance, and
    ``annotated`` and ``heights`` are given: an image without a point of a landmark that is annotated shows none of it.
    """

    images: torch.Tensor  # (B, C, H, W) float
    points: torch.Tensor  # (B, K, 2) input pixels, NaN = missing
    to_original: torch.Tensor  # (B, 2, 3) float64
    index: torch.Tensor  # (B,) position in the dataset
    annotated: torch.Tensor | None = None  # (B, K) bool, False: this landmark neither teaches nor measures here
    heights: torch.Tensor | None = None  # (B,) rows of the stored images

    def __len__(self) -> int:
        return int(self.images.shape[0])

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device, but for ``index``: asking a device for it would wait until it has done all its work."""
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "index"}
        return replace(
            self, **{name: part.to(device, non_blocking=True) for name, part in parts.items() if part is not None}
        )

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies faster; called by a DataLoader that is asked to."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(self, **{name: part.pin_memory() for name, part in parts.items() if part is not None})


class Detections(NamedTuple):
    """What a method finds in a batch of B images: M instances of each of K landmarks, the best first.

    ``points`` (B, M, K, 2) in pixels of the original images and ``scores`` (B, M, K); M = 1 where a method finds
    exactly one of each landmark. Where an image has fewer instances, points are NaN and scores 0. ``numbers``: others
    (B, M, K) beside each point, by name, such as the ``spread`` of several attempts at it, original pixels.
    """

    points: torch.Tensor
    scores: torch.Tensor
    numbers: Mapping[str, torch.Tensor] = {}


@dataclass
class ImageDetections:
    """What was found in one image: ``points`` (M, K, 2) in original pixels and ``scores`` (M, K), the best first.

    Both are NaN where there is no m-th instance of a landmark; M may be 0. Each landmark is found for itself: row m
    holds the m-th most certain of each, and what stands in one row need not belong to one object, unless the predictor
    groups them (``Predictor.group``). ``numbers`` (M, K) as in ``Detections``. ``scale``: original pixels to a pixel of
    the network's input. ``file``: the image file where ``image`` is just its path, so that a table may name it its way.
    ``time_s``: seconds of a video's frame from the first, None of what has no time.
    """

    image: str
    points: FloatArray
    scores: FloatArray
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)
    scale: float = 1.0
    file: Path | None = None
    time_s: float | None = None

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def by_landmark(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Points [k] (M, 2) and scores [k] (M,) of each landmark, as ``trigpoint.metrics`` takes them for an image."""
        return list(self.points.swapaxes(0, 1)), list(self.scores.T)

    def best(self) -> ImageDetections:
        """The first instance alone, NaN where nothing was found.

        >>> ImageDetections("a.png", np.zeros((0, 2, 2)), np.zeros((0, 2))).best().scores
        array([[nan, nan]])
        """
        if len(self):
            numbers = {name: values[:1] for name, values in self.numbers.items()}
            return replace(self, points=self.points[:1], scores=self.scores[:1], numbers=numbers)
        count = self.points.shape[1]
        nothing = np.full((1, count), np.nan)
        beside = dict.fromkeys(self.numbers, nothing)
        return replace(self, points=np.full((1, count, 2), np.nan), scores=nothing, numbers=beside)


@dataclass
class Prediction:
    """What was found in N images, one ``ImageDetections`` each; arrays of the best of each landmark beside it.

    ``radii`` (K,): original pixels that the error of a landmark stays below in ``coverage`` of the images of new
    subjects (split conformal prediction), in images with ``scale`` pixels to a pixel of the network's input; they grow
    with it (None: they do not, in runs made before that was noted). NaN when the run had too few validation subjects.
    ``threshold``: the score that every instance exceeds; None: exactly one of each landmark was looked for.
    """

    detections: list[ImageDetections]
    landmarks: LandmarkSet
    radii: FloatArray
    coverage: float = COVERAGE
    threshold: float | None = None
    scale: float | None = None

    def __len__(self) -> int:
        return len(self.detections)

    def __getitem__(self, index: int) -> ImageDetections:
        return self.detections[index]

    @property
    def multi_instance(self) -> bool:
        """Whether any number of instances may have been found in an image."""
        return self.threshold is not None

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images."""
        return tuple(found.image for found in self.detections)

    @property
    def points(self) -> FloatArray:
        """The best of each landmark (N, K, 2), NaN = none was found."""
        return self._best("points", (len(self.landmarks), 2))

    @property
    def scores(self) -> FloatArray:
        """Scores (N, K) of ``points``."""
        return self._best("scores", (len(self.landmarks),))

    @property
    def radius(self) -> FloatArray:
        """Radii (N, K) of each image, original pixels."""
        return (self.scales / self.scale if self.scale else np.ones(len(self)))[:, None] * self.radii

    @property
    def scales(self) -> FloatArray:
        """Original pixels to an input pixel (N,), of each image."""
        return np.array([found.scale for found in self.detections])

    @property
    def spread(self) -> FloatArray | None:
        """Spread (N, K) of ``points``, None for methods that make one attempt."""
        apart = [found.numbers["spread"][0] for found in self.detections if "spread" in found.numbers]
        return np.stack(apart) if apart else None

    def _best(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        rows = [getattr(found.best(), name)[0] for found in self.detections]
        return np.stack(rows) if rows else np.zeros((0, *shape))
