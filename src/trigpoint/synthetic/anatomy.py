"""The template of the synthetic radiographs, facing right: outlines in units of the image's height, and modes."""

from typing import NamedTuple

import numpy as np

from trigpoint.landmarks import FloatArray
from trigpoint.synthetic.canvas import disk

ASPECT = 0.806  # width over height of the template, that of a 2400 x 1935 film


class Outline(NamedTuple):
    """Knots of a smooth line. ``jaw`` is how far it follows the mandible: 0 not, 1 fully, -1 by its height."""

    knots: list[tuple[float, float]]
    closed: bool = True
    jaw: float = 0.0


class Mode(NamedTuple):
    """A way in which heads differ: points within ``reach`` of ``center`` go by ``move`` for one standard deviation."""

    center: tuple[float, float]
    reach: float
    move: FloatArray


def _tooth(x: float, y: float, half: float, crown: float, root: float) -> list[tuple[float, float]]:
    """A molar: crown edge at y, roots on the side of ``root`` (its sign is the direction)."""
    way = 1.0 if root > 0 else -1.0
    neck = y + way * crown
    shape = [(-half, y), (0.0, y + way * 0.004), (half, y), (0.9 * half, neck), (0.55 * half, neck + root)]
    shape += [(0.0, neck + 0.35 * root), (-0.55 * half, neck + root), (-0.9 * half, neck)]
    return [(x + dx, dy) for dx, dy in shape]


def _vertebra(x: float, y: float) -> list[tuple[float, float]]:
    body = [(-0.036, -0.022), (0.0, -0.017), (0.036, -0.025), (0.033, 0.0)]
    body += [(0.037, 0.026), (0.0, 0.019), (-0.036, 0.023), (-0.033, 0.0)]
    return [(x + dx, y + dy) for dx, dy in body]


_SKIN = [(0.40, 0.015), (0.55, 0.05), (0.655, 0.15), (0.678, 0.25), (0.668, 0.32), (0.655, 0.362), (0.69, 0.425)]
_SKIN += [(0.728, 0.48), (0.738, 0.503), (0.722, 0.521), (0.688, 0.532), (0.690, 0.556), (0.706, 0.580), (0.690, 0.600)]
_SKIN += [(0.699, 0.622), (0.671, 0.650), (0.682, 0.695), (0.664, 0.738), (0.61, 0.755), (0.52, 0.755), (0.46, 0.785)]
_SKIN += [(0.445, 0.88), (0.46, 1.15), (0.30, 1.25), (0.11, 1.15), (0.10, 0.80), (0.08, 0.62), (0.03, 0.47)]
_SKIN += [(0.012, 0.28), (0.07, 0.11), (0.22, 0.02)]

_VAULT = [(0.622, 0.362), (0.645, 0.32), (0.652, 0.25), (0.628, 0.155), (0.545, 0.075), (0.40, 0.04), (0.24, 0.045)]
_VAULT += [(0.10, 0.125), (0.042, 0.28), (0.06, 0.42), (0.15, 0.495), (0.25, 0.49), (0.315, 0.455), (0.352, 0.38)]
_VAULT += [(0.40, 0.385), (0.47, 0.362), (0.55, 0.358)]

_MANDIBLE = [(0.650, 0.630), (0.634, 0.662), (0.655, 0.702), (0.642, 0.727), (0.612, 0.732), (0.54, 0.712)]
_MANDIBLE += [(0.45, 0.682), (0.385, 0.650), (0.358, 0.60), (0.348, 0.53), (0.335, 0.478), (0.340, 0.452)]
_MANDIBLE += [(0.360, 0.452), (0.372, 0.485), (0.397, 0.502), (0.428, 0.480), (0.440, 0.500), (0.442, 0.56)]
_MANDIBLE += [(0.462, 0.610), (0.54, 0.622), (0.625, 0.628)]

_MAXILLA = [(0.672, 0.516), (0.645, 0.535), (0.658, 0.566), (0.640, 0.572), (0.612, 0.548), (0.56, 0.528)]
_MAXILLA += [(0.48, 0.520), (0.452, 0.508), (0.50, 0.505), (0.60, 0.506)]

_UPPER_INCISOR = [(0.674, 0.606), (0.658, 0.580), (0.640, 0.555), (0.630, 0.534), (0.648, 0.552), (0.668, 0.578)]
_LOWER_INCISOR = [(0.662, 0.596), (0.658, 0.622), (0.645, 0.650), (0.628, 0.676), (0.632, 0.648), (0.645, 0.618)]

_CUP = [(0.415, 0.346), (0.407, 0.366), (0.388, 0.380), (0.370, 0.368), (0.362, 0.344), (0.350, 0.362)]

OUTLINES: dict[str, Outline] = {
    "skin": Outline(_SKIN, jaw=-1),
    "neck": Outline([(0.36, 0.55), (0.40, 0.7), (0.41, 1.2), (0.18, 1.2), (0.16, 0.8), (0.2, 0.6)]),
    "tongue": Outline([(0.46, 0.60), (0.54, 0.56), (0.62, 0.59), (0.60, 0.66), (0.50, 0.68)], jaw=0.5),
    "palate_soft": Outline([(0.455, 0.515), (0.425, 0.56), (0.410, 0.60), (0.405, 0.58), (0.42, 0.53)]),
    "airway": Outline(
        [(0.43, 0.49), (0.405, 0.56), (0.415, 0.64), (0.43, 0.80), (0.405, 0.80), (0.395, 0.70), (0.39, 0.52)]
    ),
    "vault": Outline(_VAULT),
    "base": Outline(
        [(0.345, 0.39), (0.40, 0.388), (0.43, 0.40), (0.36, 0.43), (0.31, 0.475), (0.24, 0.475), (0.27, 0.42)]
    ),
    "zygoma": Outline([(0.515, 0.43), (0.56, 0.445), (0.555, 0.50), (0.53, 0.53), (0.505, 0.48)]),
    "sinus": Outline([(0.53, 0.46), (0.60, 0.45), (0.63, 0.49), (0.59, 0.502), (0.53, 0.50)]),
    "frontal_sinus": Outline([(0.630, 0.345), (0.618, 0.32), (0.632, 0.285), (0.643, 0.31)]),
    **{f"vertebra_{k}": Outline(_vertebra(0.292 - 0.006 * k**1.5, 0.60 + 0.066 * k)) for k in range(7)},
    "mandible": Outline(_MANDIBLE, jaw=1),
    "maxilla": Outline([*_MAXILLA, _MAXILLA[0]], closed=False),
    "nasal_bone": Outline(
        [(0.622, 0.362), (0.648, 0.388), (0.668, 0.428), (0.655, 0.42), (0.632, 0.392), (0.622, 0.362)], False
    ),
    "frontal": Outline([(0.655, 0.20), (0.656, 0.25), (0.650, 0.31), (0.638, 0.345), (0.622, 0.362)], closed=False),
    "cup": Outline([(0.60, 0.358), (0.54, 0.348), (0.47, 0.347), *_CUP, (0.338, 0.41), (0.318, 0.46)], closed=False),
    "sella": Outline([*_CUP[:5]]),
    "orbit": Outline([(0.568, 0.372), (0.552, 0.40), (0.560, 0.432), (0.590, 0.446), (0.618, 0.432)], closed=False),
    "upper_incisor": Outline([*_UPPER_INCISOR, _UPPER_INCISOR[0]], closed=False),
    "lower_incisor": Outline([*_LOWER_INCISOR, _LOWER_INCISOR[0]], closed=False, jaw=1),
    **{f"upper_molar_{k}": Outline(_tooth(0.500 + 0.034 * k, 0.603, 0.0155, 0.022, -0.03)) for k in range(4)},
    **{f"lower_molar_{k}": Outline(_tooth(0.492 + 0.034 * k, 0.607, 0.0155, 0.022, 0.03), jaw=1) for k in range(4)},
    "ear_rod": Outline(disk((0.322, 0.432), 0.011, points=12).tolist()),
}

# the point of an outline farthest in a direction, within a box (left, top, right, bottom) of the template
EXTREMES: dict[str, tuple[str, tuple[float, float], tuple[float, float, float, float]]] = {
    "orbitale": ("orbit", (0.0, 1.0), (0.55, 0.41, 0.62, 0.47)),
    "gonion": ("mandible", (-0.75, 0.66), (0.34, 0.56, 0.44, 0.70)),
    "menton": ("mandible", (0.0, 1.0), (0.55, 0.69, 0.66, 0.76)),
    "pogonion": ("mandible", (1.0, 0.0), (0.63, 0.67, 0.68, 0.73)),
    "point_b": ("mandible", (-1.0, 0.0), (0.60, 0.637, 0.66, 0.69)),
    "point_a": ("maxilla", (-1.0, 0.0), (0.63, 0.522, 0.67, 0.56)),
    "porion": ("ear_rod", (0.0, -1.0), (0.30, 0.40, 0.34, 0.432)),
    "pronasale": ("skin", (1.0, 0.0), (0.70, 0.47, 0.76, 0.53)),
}

# a knot of an outline by its place among the dense points (0 the first, -1 the last), or None: the mean of the outline
POINTS: dict[str, tuple[str, int | None]] = {
    "sella": ("sella", None),
    "nasion": ("nasal_bone", 0),
    "anterior_nasal_spine": ("maxilla", 0),
    "upper_incisor": ("upper_incisor", 0),
    "lower_incisor": ("lower_incisor", 0),
}

MODES = [
    Mode((0.60, 0.74), 0.14, np.array([0.000, 0.016])),  # height of the lower face
    Mode((0.64, 0.53), 0.10, np.array([0.010, 0.004])),  # advance of the upper jaw
    Mode((0.38, 0.66), 0.08, np.array([-0.012, 0.008])),  # angle of the lower jaw
    Mode((0.66, 0.70), 0.05, np.array([0.008, 0.000])),  # chin
    Mode((0.74, 0.50), 0.05, np.array([0.012, 0.004])),  # nose
    Mode((0.38, 0.37), 0.08, np.array([0.006, -0.007])),  # cranial base
    Mode((0.64, 0.36), 0.09, np.array([0.006, -0.008])),  # forehead and nasal root
    Mode((0.15, 0.25), 0.20, np.array([-0.010, 0.010])),  # back of the head
    Mode((0.58, 0.43), 0.05, np.array([0.004, 0.007])),  # orbit
    Mode((0.27, 0.85), 0.20, np.array([0.020, 0.000])),  # bend of the neck
]
