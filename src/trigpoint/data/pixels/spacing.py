"""Millimetres per pixel, x and y, from whatever states them; a print resolution (dpi) states none."""

import math
import re
from collections.abc import Mapping
from xml.etree import ElementTree

from trigpoint.data.files import number
from trigpoint.landmarks import Spacing

_UNITS = {
    1e-6: "nm nanometer",
    1e-3: "um µm μm micrometer micron microns \\u00B5m",  # the micro sign, the Greek letter, and what ImageJ writes
    1.0: "mm millimeter",
    10.0: "cm centimeter",
    1000.0: "m meter",
}
MILLIMETRES = {name: size for size, names in _UNITS.items() for name in names.split()}
NONE_STATED = "the file states none"
_SAME = 1e-6  # relative difference that is one of writing numbers
_APERIO = re.compile(r"(?:^|\|)\s*MPP\s*=\s*([0-9.]+)")


def pair(x: float | None, y: float | None) -> Spacing | None:
    """Both sides of a pixel, or None unless both are finite and above 0.

    >>> pair(0.1, 0.2), pair(0.1, None), pair(0.1, -0.2), pair(0.1, 0.10000000001)
    ((0.1, 0.2), None, None, (0.1, 0.1))
    """
    if x is None or y is None or not (0 < x < math.inf and 0 < y < math.inf):
        return None
    return float(x), float(x if abs(x - y) <= _SAME * x else y)


def ome_spacing(ome: str | None) -> Spacing | None:
    """From OME-XML; None when it is not readable, since the pixels do not depend on it.

    Nor is it when it defines entities, which OME never does: they can stand for text without end.
    """
    try:
        nodes = ElementTree.fromstring("" if "<!" in (ome or "").replace("<!--", "") else ome or "").iter()
    except ElementTree.ParseError:
        return None
    pixels: Mapping[str, str] = next((node.attrib for node in nodes if node.tag.endswith("}Pixels")), {})
    sides = []
    for axis in "XY":
        side, unit = number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        sides.append(None if side is None or unit not in MILLIMETRES else side * MILLIMETRES[unit])
    return pair(*sides)


def imagej_spacing(metadata: Mapping[str, object] | None, x: object, y: object) -> Spacing | None:
    """From what ImageJ notes: the unit in its description, and pixels per unit as fractions (n, m) in TIFF's fields.

    >>> imagej_spacing({"unit": "micron"}, (2, 1), (4, 1)), imagej_spacing({"unit": "inch"}, (72, 1), (72, 1))
    ((0.0005, 0.00025), None)
    """
    unit = str((metadata or {}).get("unit", ""))
    if unit not in MILLIMETRES:
        return None
    sides = []
    for fraction in (x, y):
        many, one = fraction if isinstance(fraction, tuple) and len(fraction) == 2 else (0, 1)
        sides.append(MILLIMETRES[unit] * one / many if many and one else None)
    return pair(*sides)


def aperio_spacing(description: str | None) -> Spacing | None:
    """From the description of an Aperio slide (.svs): micrometres per pixel, MPP.

    >>> aperio_spacing("Aperio Image Library v1|AppMag = 40|MPP = 0.25")
    (0.00025, 0.00025)
    """
    text = description or ""
    found = _APERIO.search(text) if text.startswith("Aperio") else None
    size = number(found[1]) if found else None
    return None if size is None else pair(size / 1000, size / 1000)
