"""What a run knows of its own errors beside its radii: how hard an image is, and whether it is like those it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trigpoint.landmarks import FloatArray, ImageDetections, Prediction
from trigpoint.metrics.difficulty import Difficulty
from trigpoint.metrics.domain import Domain

DOUBTFUL, UNLIKE, SHIFTED = "doubtful", "unlike", "shifted"
UNLIKE_ADVICE = "Radii and measured errors do not hold for such images: look at them, and label and train on some"


@dataclass(frozen=True)
class Trust:
    """How errors grow (``difficulty``), and what images are usual (``domain``; None: too few to tell)."""

    difficulty: Difficulty
    domain: Domain | None

    @classmethod
    def fit(
        cls, found: Prediction, truth: FloatArray, subjects: Sequence[str], shapes: FloatArray
    ) -> tuple[Trust, FloatArray] | None:
        """As ``Difficulty.fit``, and what is usual in the same images."""
        fitted = Difficulty.fit(found, truth, subjects, shapes)
        if fitted is None:
            return None
        difficulty, doubts = fitted
        return cls(difficulty, Domain.of(found.detections, difficulty)), doubts

    def told(self, found: Sequence[ImageDetections]) -> list[str]:
        """What is unlike the validation images, in words; see ``Domain.told``."""
        return [] if self.domain is None or not found else self.domain.told(found, self.difficulty)

    def flags(self, found: Sequence[ImageDetections]) -> list[str]:
        """Of each image why a person should look at it: ``unlike`` the validation images, ``doubtful`` as their most
        doubtful tenth was, or nothing."""
        if not found:
            return []
        doubt = self.difficulty.doubts(found)
        flags = np.where(doubt.mean(1) > self.difficulty.flag, DOUBTFUL, "").astype(object)
        if self.domain is not None:
            flags[self.domain.unlike(found, self.difficulty)] = UNLIKE
        return [str(flag) for flag in flags]

    def marks(self, found: Sequence[ImageDetections]) -> list[str]:
        """As ``flags``, for those who see an image alone: where the images together are unlike the validation images,
        so that radii do not hold in any of them, ``shifted`` of all that are not ``unlike`` themselves."""
        flags = self.flags(found)
        if self.domain is None or not found or not self.domain.shifted(found, self.difficulty):
            return flags
        return [UNLIKE if flag == UNLIKE else SHIFTED for flag in flags]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, as they are written."""
        domain = None if self.domain is None else self.domain.to_dict()
        return {"difficulty": self.difficulty.to_dict(), "domain": domain}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trust:
        """As ``to_dict`` gave it. Raises KeyError, TypeError or ValueError for others."""
        domain = values["domain"]
        return cls(Difficulty.from_dict(values["difficulty"]), None if domain is None else Domain.from_dict(domain))
