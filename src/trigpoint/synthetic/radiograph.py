"""Large lateral head radiographs (cephalograms) with landmarks of different definition, over a small shape model.

A template of anatomical outlines, in units of the image's height, is bent by a few smooth modes: face height, jaw
rotation and advance, cranial base, nose, chin, incisor inclination. A subject is a set of their coefficients, an image
adds pose and exposure. A landmark is a point of the bent outline itself: a corner (incisor tips, nasal spine), an
extreme of a curve (menton, pogonion, gonion, orbitale), a notch (nasion, A, B) or the centre of a cup (sella).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from trigpoint.data.files import Progress
from trigpoint.errors import ConfigError
from trigpoint.geometry import to_grid
from trigpoint.landmarks import FloatArray
from trigpoint.synthetic import canvas
from trigpoint.synthetic import folder as sets
from trigpoint.synthetic.anatomy import ASPECT, EXTREMES, LANDMARKS, MODES, OUTLINES, POINTS
from trigpoint.synthetic.canvas import Picture, add, blur, box, enlarge, field, fill, mask, rim, smooth, stroke

_STEP = 0.002  # between points of an outline, image heights


@dataclass(frozen=True)
class Head:
    """Outlines of a bent template (pixels, dense points) and the landmarks (K, 2) on them."""

    lines: dict[str, FloatArray]
    points: FloatArray
    scale: float  # pixels per unit of the template


def write_radiographs(
    folder: str | Path,
    count: int,
    size: int | tuple[int, int] = (2400, 1935),
    seed: int = 0,
    splits: Mapping[str, float] = sets.SPLITS,
    per_subject: int = 1,
    spacing_mm: float = 0.1,
    progress: Progress | None = None,
) -> Path:
    """Write ``count`` grey cephalogram-like radiographs with 13 landmarks and the pixel spacing ``spacing_mm``.

    ``size`` is one side or (height, width) in pixels; ``splits`` maps names to shares of the subjects; ``per_subject``
    images show one head in different pose and exposure. Image i depends on ``seed`` and ``size``, not on ``count``.
    Raises ConfigError for options out of range and DataError for a folder that holds other files.

    >>> import tempfile
    >>> path = write_radiographs(tempfile.mkdtemp(), count=1, size=128)
    >>> (path / "landmarks.csv").read_text()[:35]
    'image,split,subject,orbitale_x,orbi'
    """
    if not spacing_mm > 0:
        raise ConfigError(f"spacing_mm: expected more than 0, got {spacing_mm}")
    shape = sets.height_width(size)
    plan = sets.Plan("radiograph", count, shape, seed, splits, per_subject, LANDMARKS, spacing_mm)

    def draw(index: int, split: str) -> sets.Frame:
        head = draw_head(plan.random(1, plan.subject(index)), plan.random(2, index), shape)
        image = expose(plan.random(3, index), head, shape)
        return sets.Frame(canvas.to_bytes(image), [sets.Instance(head.points, np.full(len(LANDMARKS), 2))])

    return sets.write_set(folder, plan, draw, progress)


def draw_head(subject: np.random.Generator, pose: np.random.Generator, shape: tuple[int, int]) -> Head:
    """Bend the template for a subject, place it in an image of (height, width) and read the landmarks off it."""
    shift = subject.standard_normal(len(MODES))
    jaw, incisors = np.radians(subject.normal(0, (2.5, 5.0, 5.0)))[0], np.radians(subject.normal(0, 5.0, 2))
    stretch = 1 + subject.normal(0, 0.025, 2)
    advance = subject.normal(0, 0.006)
    angle, zoom = np.radians(pose.normal(0, 3.0)), pose.normal(1.0, 0.02)
    scale = 0.95 * min(shape[0], shape[1] / ASPECT) * float(np.clip(zoom, 0.95, 1.03))
    offset = np.clip(pose.normal(0, 0.012, 2), -0.025, 0.025)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([ASPECT / 2, 0.5])

    def place(points: FloatArray, share: Any) -> FloatArray:
        bent = _rotate(points, np.array([0.345, 0.45]), jaw * share)
        bent = bent + np.stack([advance * share, 0 * share], axis=1)
        for mode, amount in zip(MODES, shift, strict=True):
            near = np.exp(-np.sum((points - mode["center"]) ** 2, axis=1) / (2 * mode["reach"] ** 2))
            bent = bent + amount * near[:, None] * mode["move"]
        bent = (bent - middle) * stretch @ turn + offset
        return np.asarray(bent * scale + (np.array(shape[::-1], np.float64) - 1) / 2)

    lines = {}
    for name, outline in OUTLINES.items():
        if name in ("upper_incisor", "lower_incisor"):
            knots = np.array(outline.knots)
            knots = _rotate(knots, knots[len(knots) // 2], incisors[int(name == "lower_incisor")])
            dense = smooth(knots, _STEP, outline.closed)
        else:
            dense = _template(name)
        share = outline.jaw if outline.jaw >= 0 else 1 / (1 + np.exp(-(dense[:, 1] - 0.61) / 0.02))
        lines[name] = place(dense, np.broadcast_to(np.asarray(share, np.float64), len(dense)))
    marks = []
    for mark in EXTREMES.values():
        dense, within = _template(mark["line"]), mark["box"]
        inside = np.all((dense >= within[:2]) & (dense <= within[2:]), axis=1)
        marks.append(_extreme(lines[mark["line"]], inside, np.array(mark["direction"]) @ turn))
    for mark in POINTS.values():
        line = lines[mark["line"]]
        marks.append(line.mean(axis=0) if mark["at"] == "mean" else line[mark["at"]])
    return Head(lines, np.array(marks), scale)


@cache
def _template(name: str) -> FloatArray:
    """An outline that nobody has bent yet; the same array for every head, so it cannot be written to."""
    dense = smooth(OUTLINES[name].knots, _STEP, OUTLINES[name].closed)
    dense.setflags(write=False)
    return dense


def _rotate(points: FloatArray, center: FloatArray, angle: Any) -> FloatArray:
    """Turn points (n, 2) about ``center`` by an angle, or by one per point; clockwise as seen in the image."""
    away, c, s = points - center, np.cos(angle), np.sin(angle)
    return np.stack([center[0] + c * away[:, 0] - s * away[:, 1], center[1] + s * away[:, 0] + c * away[:, 1]], axis=1)


def _extreme(line: FloatArray, inside: np.ndarray[Any, np.dtype[np.bool_]], direction: FloatArray) -> FloatArray:
    """The point of a line farthest along ``direction``; a parabola through three points places it between them."""
    height = np.where(inside, line @ direction, -np.inf)
    i = int(np.clip(np.argmax(height), 1, len(line) - 2))
    before, top, after = (line @ direction)[i - 1 : i + 2]
    bow = before - 2 * top + after
    t = float(np.clip((before - after) / (2 * bow), -0.5, 0.5)) if bow < 0 else 0.0
    a, b, c = line[i - 1 : i + 2]
    return np.asarray(b + t * (c - a) / 2 + t * t * (a - 2 * b + c) / 2)


def expose(rng: np.random.Generator, head: Head, shape: tuple[int, int], noise: bool = True) -> Picture:
    """The film (height, width), values 0..1, bone bright: attenuation, focus, grain and characteristic curve."""
    half = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    soft = _soft(rng, head, half)
    sharp = np.zeros(shape, np.float32)
    _bones(sharp, head)
    focus = 0.0006 * head.scale
    total = enlarge(soft, shape)
    texture = 1 + 0.16 * enlarge(field(rng, half, 220), shape) + 0.1 * enlarge(field(rng, half, 40), shape)
    total += blur(sharp, max(focus, 0.35)) * texture
    light = np.exp(-rng.uniform(1.4, 1.9) * total)
    if noise:
        grain = rng.standard_normal(shape, dtype=np.float32)
        light += np.sqrt(light) * grain * np.float32(rng.uniform(0.012, 0.03))
    shown = 1 - np.clip(light, 0, 1)
    shown = np.float32(rng.uniform(0.85, 1.0)) * shown ** np.float32(rng.uniform(0.8, 1.25))
    _ruler(shown, head.scale)
    return np.asarray(shown + np.float32(0.02))


def _soft(rng: np.random.Generator, head: Head, half: tuple[int, int]) -> Picture:
    """Parts without a measured edge, drawn at half the resolution."""
    lines = {name: to_grid(line, 2) for name, line in head.lines.items()}
    scale = head.scale / 2
    out = 0.02 + 0.02 * field(rng, half, 3)
    skin = np.float32(0.22) * mask(half, lines["skin"])
    for name, density in (("tongue", 0.07), ("palate_soft", 0.06), ("airway", -0.14), ("neck", 0.10)):
        skin += blur(np.float32(density) * mask(half, lines[name]), 0.004 * scale)
    vault = lines["vault"]
    bone = np.float32(0.20) * mask(half, vault)
    add(bone, rim(half, vault, 0.006 * scale), 0.20)
    inner = vault.mean(axis=0) + 0.955 * (vault - vault.mean(axis=0))
    add(bone, rim(half, inner, 0.003 * scale), 0.15)
    for name, density in (("base", 0.28), ("zygoma", 0.18), ("sinus", -0.14), ("frontal_sinus", -0.16)):
        add(bone, fill(half, lines[name]), density)
    for name in (n for n in lines if n.startswith("vertebra")):
        add(bone, fill(half, lines[name]), 0.26)
        add(bone, rim(half, lines[name], 0.002 * scale), 0.12)
    bone = blur(bone, 0.0022 * scale) * (1 + 0.10 * field(rng, half, 120) + 0.12 * field(rng, half, 14))
    return out + blur(skin, 0.0006 * scale) * (1 + 0.05 * field(rng, half, 30)) + bone


def _bones(sharp: Picture, head: Head) -> None:
    """Outlines that carry landmarks, at full resolution."""
    shape, lines, scale = sharp.shape, head.lines, head.scale
    for name, density, cortex in (("mandible", 0.24, 0.20), ("maxilla", 0.24, 0.16), ("nasal_bone", 0.16, 0.10)):
        add(sharp, fill(shape, lines[name]), density)
        add(sharp, rim(shape, lines[name], 0.0035 * scale), cortex)
    for name in ("frontal", "cup", "orbit"):
        add(sharp, stroke(shape, lines[name], 0.0028 * scale), 0.26)
    for name in (n for n in lines if n.startswith(("upper_molar", "lower_molar"))):
        add(sharp, fill(shape, lines[name]), 0.32)
    for name in ("upper_incisor", "lower_incisor"):
        add(sharp, fill(shape, lines[name]), 0.42)
    rod = lines["ear_rod"]
    center = rod.mean(axis=0)
    add(sharp, fill(shape, rod), 1.3)
    add(sharp, fill(shape, center + 0.4 * (rod - center)), -0.9)


def _ruler(shown: Picture, scale: float) -> None:
    """The film's scale at the right border: a line with a tick every 1/24 of the height."""
    height, width = shown.shape
    x, unit = width - 0.02 * scale, max(0.0006 * scale, 0.3)
    bars = [box(x - unit, 0.04 * height, x + unit, 0.34 * height)]
    for k in range(8):
        y, long = 0.04 * height + k * scale / 24, (0.012 if k % 5 else 0.02) * scale
        bars.append(box(x - long, y - unit, x, y + unit))
    patch = fill(shown.shape, *bars)
    shown[patch.window] = np.maximum(shown[patch.window], 0.9 * patch.cover)
