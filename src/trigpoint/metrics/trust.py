"""What a run knows of its own errors beside its radii: how hard an image is, and whether it is like those it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trigpoint.errors import counted
from trigpoint.landmarks import FloatArray, ImageDetections, Prediction
from trigpoint.metrics.difficulty import SUBJECTS, Difficulty
from trigpoint.metrics.domain import Domain

DOUBTFUL, UNLIKE, SHIFTED = "doubtful", "unlike", "shifted"
RADII = 9  # validation subjects below which ``methods.validation`` knows no radius
UNLIKE_ADVICE = "Radii and measured errors do not hold for such images: look at them, and label and train on some"

UNLIKE_FIRST = "Not as in the validation images, so radii and measured errors do not hold"
UNLIKE_THEN = "Look at such images, and label and train on some"
"""The same about the list, where there is little room for it: what matters is read first."""


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

    def alone(self, one: ImageDetections) -> tuple[str, list[str] | None]:
        """Of an image that is seen alone its flag, as in ``flags``, and in what it is unlike, in words; None where that
        cannot be told."""
        return self.flags([one])[0], None if self.domain is None else self.told([one])

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


def untold(radii: bool, trust: bool, several: bool, subjects: int | None) -> str:
    """What a model cannot tell of its errors, and why; nothing where it can tell all.

    ``radii``, ``trust``: whether it has any; ``several``: whether it finds any number of instances; ``subjects`` that
    were validated on, None = not known.

    >>> print(untold(False, False, False, 6))
    how sure it is of points, nor whether images are unlike those of its training: it was validated on 6 subjects, 20 \
are needed (9 to be sure of points)
    """
    if trust:
        return "" if radii else f"how sure it is of points: {why_untold(radii, several, subjects)}"
    what = "whether images are doubtful, or unlike those of its training"
    if not radii:
        what = "how sure it is of points, nor whether images are unlike those of its training"
    return f"{what}: {why_untold(radii, several, subjects)}"


def why_untold(radii: bool, several: bool, subjects: int | None) -> str:
    """Why a model cannot tell which images are unlike, see ``untold``.

    >>> why_untold(True, False, 12), why_untold(True, True, 40)
    ('it was validated on 12 subjects, 20 are needed', 'it finds any number of instances in an image')
    """
    if several:
        return "it finds any number of instances in an image" + ("" if radii else f", and {_fewer(subjects, RADII)}")
    fewer = "" if radii else f" ({RADII} to be sure of points)"
    return _fewer(subjects, SUBJECTS) + (fewer if subjects is None or subjects < SUBJECTS else "")


def _fewer(subjects: int | None, needed: int) -> str:
    if subjects is not None and subjects >= needed:
        return "an early version made it, or too few of its validation images are labelled"
    got = "an unknown number of subjects" if subjects is None else counted(subjects, "subject")
    return f"it was validated on {got}, {needed} are needed"
