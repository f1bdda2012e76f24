"""The template of the synthetic radiographs: ``anatomy.yaml``, which says what its values mean, and what repeats."""

from pathlib import Path
from typing import Any, NamedTuple

from trigpoint.config import read_yaml
from trigpoint.landmarks import LandmarkSet
from trigpoint.synthetic.canvas import disk

ASPECT = 0.806  # width over height of the template, that of a 2400 x 1935 film

Knots = list[tuple[float, float]]


class Outline(NamedTuple):
    """Knots of a smooth line. ``jaw`` is how far it follows the mandible: 0 not, 1 fully, -1 by its height."""

    knots: Knots
    closed: bool = True
    jaw: float = 0.0


def _molar(x: float, y: float, way: int) -> Knots:
    """Crown edge at ``y``, two roots upwards (``way`` -1) or downwards (1)."""
    half, neck, root = 0.0155, y + way * 0.022, way * 0.03
    shape = [(-half, y), (0.0, y + way * 0.004), (half, y), (0.9 * half, neck), (0.55 * half, neck + root)]
    shape += [(0.0, neck + 0.35 * root), (-0.55 * half, neck + root), (-0.9 * half, neck)]
    return [(x + dx, dy) for dx, dy in shape]


def _vertebra(x: float, y: float) -> Knots:
    body = [(-0.036, -0.022), (0.0, -0.017), (0.036, -0.025), (0.033, 0.0)]
    body += [(0.037, 0.026), (0.0, 0.019), (-0.036, 0.023), (-0.033, 0.0)]
    return [(x + dx, y + dy) for dx, dy in body]


_TEMPLATE = read_yaml(Path(__file__).with_name("anatomy.yaml"))

OUTLINES: dict[str, Outline] = {
    **{name: Outline(**about) for name, about in _TEMPLATE["outlines"].items()},
    **{f"vertebra_{k}": Outline(_vertebra(0.292 - 0.006 * k**1.5, 0.60 + 0.066 * k)) for k in range(7)},
    **{f"upper_molar_{k}": Outline(_molar(0.500 + 0.034 * k, 0.603, -1)) for k in range(4)},
    **{f"lower_molar_{k}": Outline(_molar(0.492 + 0.034 * k, 0.607, 1), jaw=1) for k in range(4)},
    "ear_rod": Outline(disk((0.322, 0.432), 0.011, points=12).tolist()),
}
EXTREMES: dict[str, dict[str, Any]] = _TEMPLATE["extremes"]
POINTS: dict[str, dict[str, Any]] = _TEMPLATE["points"]
LANDMARKS = LandmarkSet.from_dict({"landmarks": [*EXTREMES, *POINTS], **_TEMPLATE["belonging"]})
MODES: list[dict[str, Any]] = list(_TEMPLATE["modes"].values())
