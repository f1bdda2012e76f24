"""The vocabulary that every layer shares: a set of named landmarks, one sample, one batch, a prediction.

Points are (x, y) in pixels, x right, y down, the centre of the top-left pixel is (0, 0).
A missing landmark is NaN. Visibility is 0 missing or not annotated, 1 occluded but annotated, 2 visible; in sets with
several instances per image also ``ABSENT``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trigpoint.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import torch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ABSENT = -1
"""Visibility of a landmark that is known not to be in the image: a true negative. Only in sets with instances."""


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
    """Ordered landmark names with their left/right pairs, groups and NME normaliser.

    >>> marks = LandmarkSet(("left", "tip", "right"), pairs=(("left", "right"),))
    >>> marks.flip_permutation().tolist()
    [2, 1, 0]
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    normalizer: Normalizer | None = None

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise DataError(f"landmark names: expected each once, got {', '.join(twice)} more than once; rename them")
        used = [(f"pairs: {pair}", name) for pair in self.pairs for name in pair]
        used += [(f"groups: {group}", name) for group, members in self.groups.items() for name in members]
        if self.normalizer is not None and self.normalizer.between is not None:
            used += [("normalizer", name) for name in self.normalizer.between]
        for where, name in used:
            if name not in self.names:
                raise DataError(f"{where}: unknown landmark '{name}'; {did_you_mean(name, self.names)}")
        paired = [name for pair in self.pairs for name in pair]
        for name in paired:
            if paired.count(name) > 1:
                raise DataError(f"pairs: landmark '{name}' stands in more than one pair; keep one")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Position of a landmark; raises DataError with the nearest name when unknown."""
        if name not in self.names:
            raise DataError(f"unknown landmark '{name}'; {did_you_mean(name, self.names)}")
        return self.names.index(name)

    def flip_permutation(self) -> IntArray:
        """Order of the landmarks after a horizontal flip, shape (K,). Raises DataError when no pairs are named."""
        if not self.pairs and self.names:
            raise DataError(
                "a flip swaps left and right landmarks, but the dataset names no pairs; "
                "add 'pairs: [[left, right], ...]' to dataset.yaml or set data.augment.flip=0"
            )
        order = np.arange(len(self.names))
        for a, b in self.pairs:
            i, j = self.names.index(a), self.names.index(b)
            order[i], order[j] = j, i
        return order

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML; ``from_dict`` reads them back."""
        out: dict[str, Any] = {"landmarks": list(self.names)}
        if self.pairs:
            out["pairs"] = [list(pair) for pair in self.pairs]
        if self.groups:
            out["groups"] = {name: list(members) for name, members in self.groups.items()}
        if self.normalizer is not None:
            length: dict[str, Any] = {"name": self.normalizer.name}
            if self.normalizer.between is not None:
                length["between"] = list(self.normalizer.between)
            if self.normalizer.box:
                length["box"] = True
            out["normalizer"] = length
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
        )


@dataclass(frozen=True)
class Sample:
    """One annotated image, or one instance in it, as stored: points (K, 2) in original pixels, visibility (K,).

    A point is NaN where the visibility is 0 (missing or not annotated) or, only in sets with instances, ``ABSENT``
    (the instance has no such landmark in the image); else it is 1 (occluded but annotated) or 2 (visible).
    """

    image: Path
    points: FloatArray
    visibility: IntArray
    split: str = ""
    subject: str = ""
    instance: str = ""
    spacing_mm: float | None = None
    row: int = 0  # row of the table, counted as a spreadsheet does (the header is row 1)


@dataclass
class Batch:
    """What a network is fed. ``to_original`` (B, 2, 3) maps input pixels back to pixels of the stored image.

    Of a method that finds several instances, ``points`` are (B, M, K, 2), M instances, NaN = no such instance, and
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

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies faster; called by a DataLoader that is asked to."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return replace(self, **{name: part.pin_memory() for name, part in parts.items() if part is not None})


@dataclass
class Prediction:
    """Predicted points (N, K, 2) in original pixels, scores (N, K), radius (N, K) in original pixels.

    ``radius`` is the distance that the error of that landmark stayed below in ``coverage`` of the validation
    annotations (split conformal prediction); NaN when the run had no validation annotation of it. ``spread`` (N, K),
    in original pixels, is how far several attempts of a method that makes them lie apart; None for the others.
    """

    points: FloatArray
    scores: FloatArray
    radius: FloatArray
    landmarks: LandmarkSet
    images: tuple[str, ...] = ()
    coverage: float = 0.9
    spread: FloatArray | None = None

    def __len__(self) -> int:
        return int(self.points.shape[0])


@dataclass
class InstancePrediction:
    """What a method that finds several instances found in one image: N rows of K landmarks, the best first.

    ``points`` (N, K, 2) are original pixels, ``scores`` (N, K); both are NaN where there is no n-th one of a landmark.
    N may be 0. Each landmark is found for itself: row n holds the n-th most certain of each, and what stands in one row
    need not belong to one object, unless the predictor groups them (``Predictor.group``).
    """

    image: str
    points: FloatArray
    scores: FloatArray

    def __len__(self) -> int:
        return int(self.points.shape[0])

    def by_landmark(self) -> tuple[list[FloatArray], list[FloatArray]]:
        """Points [k] (N, 2) and scores [k] (N,) of each landmark, as ``trigpoint.metrics`` takes them for an image."""
        return list(self.points.swapaxes(0, 1)), list(self.scores.T)
