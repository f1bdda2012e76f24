"""Colours of landmarks: how far apart they are seen, also by those who see fewer."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from trigpoint.report.palette import OF_LANDMARKS, PREDICTED, colour_of

# linear RGB to OKLab, and what protanopes and deuteranopes see of linear RGB (Machado et al. 2009)
CONES = np.array(
    [[0.41222147, 0.53633254, 0.05144599], [0.21190350, 0.68069955, 0.10739696], [0.08830246, 0.28171884, 0.62997870]]
)
LAB = np.array(
    [
        [0.21045426, 0.79361779, -0.00407205],
        [1.97799850, -2.42859221, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
)
EYES = {
    "usual": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
CLEARLY = 0.15  # distance in OKLab, in which black and white are 1 apart


def seen(eyes: str) -> NDArray[np.float64]:
    """The colours in OKLab (20, 3)."""
    stored = np.array([ImageColor.getrgb(colour) for colour in OF_LANDMARKS]) / 255
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(np.clip(linear @ EYES[eyes].T, 0, 1) @ CONES.T) @ LAB.T
    return lab


def apart(colours: NDArray[np.float64]) -> float:
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(colours, 2))


def test_twenty_landmarks_have_colours_that_differ() -> None:
    assert len({colour_of(k) for k in range(20)}) == 20
    assert colour_of(0) == PREDICTED
    assert apart(seen("usual")) > 0.09
    assert apart(seen("usual")[:10]) > CLEARLY


def test_the_first_colours_differ_for_the_colour_blind() -> None:
    for eyes in ("protan", "deutan"):
        assert apart(seen(eyes)[:7]) > 0.07


def test_neighbours_in_the_list_differ_clearly() -> None:
    assert min(float(np.linalg.norm(a - b)) for a, b in pairwise(seen("usual"))) > CLEARLY


def test_colours_are_seen_on_dark_images() -> None:
    assert (seen("usual")[:, 0] > 0.6).all()
