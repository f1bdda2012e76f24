"""Whether images are like those that a run was validated on, told by what is found in them and by their grey values.

Radii and errors that were measured hold for images like those; a run knows nothing of others and does not err visibly:
its points lie in plausible places. So a few numbers of each validation image are kept with the run, and images whose
numbers lie far outside are told:

- ``size`` of the figure: root mean square distance of the points from their centre, in the network's input
- ``turn`` of the figure against the mean shape
- ``shape``: how far the points lie from where the others imply them, on average
- ``brightness`` and ``contrast``: mean and SD of the pixels as shares of their range
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.landmarks import FloatArray, ImageDetections
from trigpoint.metrics.difficulty import Difficulty, onto

FEWEST = 20  # validation images that can say what is usual
FAR = {"size": 3.5, "turn": 3.5, "shape": 6.0, "brightness": 3.5, "contrast": 3.5}
"""SD that a single image may be away; unlikely shapes are met more often than a Gaussian has them."""
SHIFTED = 1.5  # SD that the middle of several images may be away
SEVERAL = 8  # images of which that can be told
FLOORS = {"size": 0.03, "turn": 2.0, "shape": 0.1, "brightness": 0.02, "contrast": 0.05}
"""SD that each is taken to have at least: of logarithms, but the turn in degrees and brightness as a share."""
SUBJECTS = {
    "size": "the figure is",
    "turn": "the figure is",
    "shape": "the points form",
    "brightness": "pixels are",
    "contrast": "contrast is",
}
ANY = 60.0  # degrees; where turns scatter more, figures are turned to all sides


@dataclass(frozen=True)
class Domain:
    """What is usual: by the name of a number its mean and SD over ``images`` validation images."""

    usual: Mapping[str, tuple[float, float]]
    images: int

    @classmethod
    def of(cls, found: Sequence[ImageDetections], difficulty: Difficulty) -> Domain | None:
        """From what was found in the validation images; None where these are fewer than ``FEWEST``."""
        if len(found) < FEWEST:
            return None
        usual = dict[str, tuple[float, float]]()
        for name, values in numbers_of(found, difficulty).items():
            known = values[np.isfinite(values)]
            if len(known) < FEWEST:
                continue
            middle = _mean_turn(known) if name == "turn" else float(np.median(known))
            away = _turned(known - middle) if name == "turn" else known - middle
            spread = max(FLOORS[name], float(np.sqrt(np.mean(away**2))))
            if name != "turn" or spread < ANY:
                usual[name] = (middle, spread)
        return cls(usual, len(found))

    def away(self, found: Sequence[ImageDetections], difficulty: Difficulty) -> dict[str, FloatArray]:
        """By the name of a number how many SD each image (N,) is away, NaN where that is not known."""
        numbers = numbers_of(found, difficulty)
        out = dict[str, FloatArray]()
        for name, (middle, spread) in self.usual.items():
            apart = numbers[name] - middle
            out[name] = (_turned(apart) if name == "turn" else apart) / spread
        return out

    def unlike(self, found: Sequence[ImageDetections], difficulty: Difficulty) -> npt.NDArray[np.bool_]:
        """Which images (N,) are far from what is usual in any number."""
        far = [np.abs(np.nan_to_num(away)) > FAR[name] for name, away in self.away(found, difficulty).items()]
        return np.any(far, axis=0) if far else np.zeros(len(found), bool)

    def shifted(self, found: Sequence[ImageDetections], difficulty: Difficulty) -> bool:
        """Whether the images together are unlike the validation images, whatever each of them is."""
        return any(abs(_middle(away)) >= SHIFTED for away in self.away(found, difficulty).values())

    def told(self, found: Sequence[ImageDetections], difficulty: Difficulty) -> list[str]:
        """What is unlike the validation images, in words, worst first; nothing where nothing is."""
        return self.in_words(self.away(found, difficulty), [one.image for one in found])

    def in_words(self, far_away: Mapping[str, FloatArray], names: Sequence[str] = ()) -> list[str]:
        """``told`` of what ``away`` gave of these images; the worst is called by its name, if ``names`` are given.

        Images that are off to different sides are told apart: a middle of both would be of neither. The turn of points
        in an unlikely shape is a guess, and is not told in degrees.
        """
        guessed = far_away.get("shape", np.zeros(len(next(iter(far_away.values()), ())))) > FAR["shape"]
        none = np.zeros_like(guessed)
        lines = [self._line(name, away, guessed if name == "turn" else none, names) for name, away in far_away.items()]
        return [text for _, text in sorted((line for line in lines if line), key=lambda line: -line[0])]

    def _line(
        self, name: str, away: FloatArray, guessed: npt.NDArray[np.bool_], names: Sequence[str]
    ) -> tuple[float, str] | None:
        """How far a number is off, in SD, and what to say of it; None where it is usual. ``guessed``: of which images
        (N,) it is not to be believed."""
        far, middle = np.abs(np.nan_to_num(away)) > FAR[name], _middle(away)
        sides = [(side * away > 0) & far & ~guessed for side in (1, -1)]
        parts = []
        if abs(middle) >= SHIFTED:
            unsure = bool(guessed[np.isfinite(away)].mean() >= 0.5)
            parts.append((abs(middle), f"{self._predicate(name, middle, unsure)} on the whole"))
            groups = [sides[int(middle > 0)]]
        else:
            groups = [*sides, far & guessed]
        for group in sorted((one for one in groups if one.any()), key=lambda one: -np.abs(away[one]).max()):
            typical, worst = float(np.median(away[group])), int(np.argmax(np.where(group, np.abs(away), 0)))
            text = self._predicate(name, typical, bool(guessed[worst]))
            if len(away) > 1:
                text += f" in {int(group.sum())}" + ("" if parts else f" of {len(away)} images")
                text += f", such as {Path(names[worst]).name}" if names and names[worst] else ""
            parts.append((abs(typical), text))
        return (parts[0][0], f"{SUBJECTS[name]} {', and '.join(text for _, text in parts)}") if parts else None

    def _predicate(self, name: str, away: float, unsure: bool) -> str:
        """What is said of the subject of a number that is off by so many SD."""
        by = away * self.usual[name][1]
        more = by > 0
        if unsure:
            return "turned or of another kind (how far cannot be told)"
        if name == "turn":
            degrees = f"{abs(by):.0f}"
            return f"turned by {degrees} degree{'' if degrees == '1' else 's'} to the {'right' if more else 'left'}"
        if name == "brightness":
            return f"{'brighter' if more else 'darker'} by {abs(by):.0%} of their range"
        share = abs(np.expm1(by)) if more else abs(1 - np.exp(by))
        if name == "size":
            return f"{share:.0%} {'larger' if more else 'smaller'}"
        if name == "contrast":
            return f"{share:.0%} {'higher' if more else 'lower'}"
        return "an unlikely shape" if more else "a shape nearer to the mean"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        usual = {name: [float(f"{value:.6g}") for value in pair] for name, pair in self.usual.items()}
        return {"images": self.images, "usual": usual}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Domain:
        """As ``to_dict`` gave it. Raises KeyError, TypeError or ValueError for others."""
        usual = {str(name): (float(a), float(b)) for name, (a, b) in values["usual"].items()}
        if unknown := set(usual) - set(FLOORS):
            raise ValueError(f"domain: unknown number '{min(unknown)}'")
        return cls(usual, int(values["images"]))


def look_of(pixels: npt.NDArray[Any], value_range: tuple[float, float] | None) -> tuple[float, float]:
    """Mean and SD of an image's pixels (C, H, W) as shares of their range, from about 10,000 of them."""
    step = max(1, int(np.sqrt(pixels.shape[1] * pixels.shape[2] / 1e4)))
    values = pixels[:, ::step, ::step].astype(np.float64)
    full = (0.0, 1.0) if pixels.dtype.kind == "f" else (0.0, float(np.iinfo(pixels.dtype).max))
    low, high = full if value_range is None else value_range
    span = high - low if high > low else 1.0
    shares = np.clip((values - low) / span, 0, 1)
    return float(shares.mean()), float(shares.std())


def numbers_of(found: Sequence[ImageDetections], difficulty: Difficulty) -> dict[str, FloatArray]:
    """The numbers (N,) of the module's list for images with one instance each, NaN where one is not known."""
    points = np.stack([one.points[0] for one in found]) / np.array([one.scale for one in found])[:, None, None]
    shapes = points[..., 0] + 1j * points[..., 1]
    numbers = {"size": np.full(len(found), np.nan)}
    known = np.isfinite(shapes).sum(1) > 1
    if known.any():
        centred = shapes[known] - np.nanmean(shapes[known], axis=1, keepdims=True)
        numbers["size"][known] = np.log(np.sqrt(np.nanmean(np.abs(centred) ** 2, axis=1)).clip(1e-3))
    mean = difficulty.mean[:, 0] + 1j * difficulty.mean[:, 1]
    numbers["turn"] = -np.degrees(np.angle(onto(shapes, mean)[1]))
    away = difficulty.away(points)
    numbers["shape"] = np.nanmean(np.log1p(away), axis=1) if away.any() else np.full(len(found), np.nan)
    looks = np.array([(np.nan, np.nan) if one.look is None else one.look for one in found])
    numbers["brightness"], numbers["contrast"] = looks[:, 0], np.log(looks[:, 1].clip(1e-3))
    return numbers


def _middle(away: FloatArray) -> float:
    """Of SD that images are away: their median; 0 where they are too few to tell, and where as many are off to one side
    as to the other, between which no image need be."""
    known = np.sort(away[np.isfinite(away)])
    if len(known) < SEVERAL or known[(len(known) - 1) // 2] * known[len(known) // 2] <= 0:
        return 0.0
    return float(np.median(known))


def _turned(degrees: FloatArray) -> FloatArray:
    """The same between -180 and 180."""
    return (degrees + 180) % 360 - 180


def _mean_turn(degrees: FloatArray) -> float:
    return float(np.degrees(np.angle(np.exp(1j * np.radians(degrees)).mean())))
