"""Angles, lengths and ratios of named landmarks, the formulas of ``measurements`` in ``dataset.yaml``.

Points are (N, K, 2), x to the right and y down, in pixels, or in mm after ``to_millimetres``: then angles and ratios,
too, are those of the object where pixels are not square. A value is NaN where a landmark is missing, or where it is not
defined: an angle of an arm without length, a length along or a ratio to such a line. Three kinds have a sign, which is
that of the picture as it is shown: **clockwise, and to the right of the line as one walks along it, is positive**. In a
mirrored picture they change it, all others stay.

| kind | value |
| --- | --- |
| ``angle: [a, b, c]`` | at b between b to a and b to c, 0 to 180 degrees |
| ``angle_between: [[a, b], [c, d]]`` | between the directions a to b and c to d, 0 to 180 degrees |
| ``signed_angle: [[a, b], [c, d]]`` | how far a to b has to turn to point as c to d does, -180 to 180 degrees |
| ``distance: [p, q]`` | from p to q |
| ``projection: [p, q], onto: [r, s]`` | how far q is ahead of p in the direction from r to s; behind is negative |
| ``distance_to_line: p, line: [r, s]`` | of p from the line through r and s; to the right of r to s is positive |
| ``centroid_size: [a, ...]`` | root of the summed squared distances to their mean (Bookstein 1991) |
| ``ratio: [[a, b], [c, d]]`` | distance of a and b over that of c and d |
| ``difference: [X, Y]`` | measurement X minus measurement Y |
"""

from collections.abc import Callable, Mapping

import numpy as np

from trigpoint.data.measurements import ANGLE, DIFFERENCE, LENGTH, RATIO, kind_of, quantity
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, LandmarkSet, Measurement
from trigpoint.metrics.units import ArrayLike, as_array, to_millimetres

DEGREES = "deg"


def measure(points: ArrayLike, landmarks: LandmarkSet) -> dict[str, FloatArray]:
    """Each measurement of the ``landmarks`` by its name, (N,), of ``points`` (N, K, 2).

    Lengths are in the unit of the points, angles in degrees. Raises DataError for another shape.

    >>> marks = LandmarkSet(("a", "b", "c"), measurements={"corner": {"angle": ["a", "b", "c"]}})
    >>> measure([[[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]], marks)["corner"].tolist()
    [90.0]
    """
    p = as_array(points)
    if p.ndim != 3 or p.shape[1:] != (len(landmarks), 2):
        raise DataError(f"points: expected shape (N, {len(landmarks)}, 2), got {p.shape}")
    places = {name: p[:, k] for k, name in enumerate(landmarks.names)}
    found: dict[str, FloatArray] = {}
    for name, one in landmarks.measurements.items():  # a difference stands below what it is of
        found[name] = FORMULAS[kind_of(one)](places, found, one)
    return found


def measure_each(
    points: ArrayLike, landmarks: LandmarkSet, spacing_mm: ArrayLike | None = None, length: str | None = None
) -> tuple[dict[str, FloatArray], str]:
    """As ``measure`` of ``points`` in pixels, in mm where the spacing of every image is known; and the unit of lengths.

    ``spacing_mm`` (N,) or (N, 2), NaN = unknown: then lengths are in pixels, and angles and ratios are those on the
    object for the images whose spacing is known. ``length``: px or mm whatever is known; then lengths in mm are NaN in
    the images whose spacing is not known.

    >>> marks = LandmarkSet(("a", "b"), measurements={"ab": {"distance": ["a", "b"]}})
    >>> found, unit = measure_each([[[0.0, 0.0], [3.0, 4.0]]], marks, [[0.2, 0.1]])
    >>> found["ab"].round(4).tolist(), unit
    ([0.7211], 'mm')
    >>> points = [[[0.0, 0.0], [3.0, 4.0]]] * 2
    >>> measure_each(points, marks, [[0.2, 0.1], [np.nan, np.nan]], "mm")[0]["ab"].round(4).tolist()
    [0.7211, nan]
    """
    p = as_array(points)
    if not len(p):
        return measure(p, landmarks), length or "px"
    if spacing_mm is None:
        spacing_mm = np.full(len(p), np.nan)
    sides = as_array(spacing_mm)
    known = np.isfinite(sides.reshape(len(p), -1)).all(1)
    in_mm = measure(to_millimetres(p, np.where(known.reshape(-1, *[1] * (sides.ndim - 1)), sides, 1.0)), landmarks)
    lengths = [name for name in in_mm if quantity(name, landmarks.measurements) == LENGTH]
    if (length or ("mm" if known.all() else "px")) == "mm":
        return in_mm | {name: np.where(known, in_mm[name], np.nan) for name in lengths}, "mm"
    plain = measure(p, landmarks)
    return {name: plain[name] if name in lengths else values for name, values in in_mm.items()}, "px"


def unit_of(name: str, measurements: Mapping[str, Measurement], length: str) -> str:
    """Unit of a measurement where lengths are in ``length``; ``ratio`` of a ratio, which has none.

    >>> unit_of("x", {"x": {"ratio": [["a", "b"], ["a", "c"]]}}, "mm"), unit_of("x", {"x": {"distance": ["a"]}}, "mm")
    ('ratio', 'mm')
    """
    kind = quantity(name, measurements)
    return DEGREES if kind == ANGLE else length if kind == LENGTH else RATIO


def apart(found: ArrayLike, truth: ArrayLike, unit: str) -> FloatArray:
    """``found`` minus ``truth``, of any shape; of degrees the way round that is the shorter, -180 to 180.

    >>> apart([179.0, 10.0], [-179.0, 4.0], "deg").tolist(), apart([179.0], [-179.0], "px").tolist()
    ([-2.0, 6.0], [358.0])
    """
    difference: FloatArray = as_array(found) - as_array(truth)
    return (difference + 180.0) % 360.0 - 180.0 if unit == DEGREES else difference


Places = Mapping[str, FloatArray]  # points (N, 2) by landmark
Formula = Callable[[Places, Mapping[str, FloatArray], Measurement], FloatArray]


def _angle(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    a, b, c = (at[name] for name in one["angle"])
    return _between(a - b, c - b)


def _angle_between(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    return _between(*(at[b] - at[a] for a, b in one["angle_between"]))


def _signed_angle(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    return _turn(*(at[b] - at[a] for a, b in one["signed_angle"]))


def _distance(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    p, q = (at[name] for name in one["distance"])
    return _length(q - p)


def _projection(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    p, q = (at[name] for name in one["projection"])
    r, s = (at[name] for name in one["onto"])
    return _over(_dot(q - p, s - r), _length(s - r))


def _distance_to_line(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    r, s = (at[name] for name in one["line"])
    return _over(_cross(s - r, at[one["distance_to_line"][0]] - r), _length(s - r))


def _centroid_size(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    points = np.stack([at[name] for name in one["centroid_size"]])
    size: FloatArray = np.sqrt(np.square(points - points.mean(0)).sum((0, 2)))
    return size


def _ratio(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    return _over(*(_length(at[b] - at[a]) for a, b in one["ratio"]))


def _difference(at: Places, found: Mapping[str, FloatArray], one: Measurement) -> FloatArray:
    x, y = one[DIFFERENCE]
    return found[x] - found[y]


FORMULAS: dict[str, Formula] = {
    "angle": _angle,
    "angle_between": _angle_between,
    "signed_angle": _signed_angle,
    "distance": _distance,
    "projection": _projection,
    "distance_to_line": _distance_to_line,
    "centroid_size": _centroid_size,
    "ratio": _ratio,
    DIFFERENCE: _difference,
}


# -- of vectors (N, 2) ------------------------------------------------------------------------------------------------


def _turn(u: FloatArray, v: FloatArray) -> FloatArray:
    """Degrees from u to v, -180 to 180, clockwise positive since y is down; exact for small angles, unlike arccos."""
    known = (_length(u) > 0) & (_length(v) > 0)
    return np.where(known, np.degrees(np.arctan2(_cross(u, v), _dot(u, v))), np.nan)


def _between(u: FloatArray, v: FloatArray) -> FloatArray:
    return np.abs(_turn(u, v))


def _length(u: FloatArray) -> FloatArray:
    length: FloatArray = np.hypot(u[:, 0], u[:, 1])
    return length


def _dot(u: FloatArray, v: FloatArray) -> FloatArray:
    product: FloatArray = (u * v).sum(1)
    return product


def _cross(u: FloatArray, v: FloatArray) -> FloatArray:
    product: FloatArray = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return product


def _over(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)
