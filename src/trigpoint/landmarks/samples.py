"""Annotated images: one sample as it is stored, and a batch of them as a network is fed with it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trigpoint.landmarks.values import FloatArray, IntArray, Spacing, spacing_pair

if TYPE_CHECKING:
    import torch

ABSENT = -1
"""Visibility of a landmark that is known not to be in the image: a true negative. Only in sets with instances."""


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
