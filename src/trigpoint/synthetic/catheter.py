"""Fluoroscopy frames with one catheter tip, drawn through an attenuation map: detector counts = dose * exp(-map).

Besides the catheter there are ribs, spine, heart, diaphragm, filled vessels, electrode leads and other catheters. Those
cross the whole field and carry the same marker bands, so neither the darkest spot nor any band gives the tip away: it
is the one place inside the field where a line ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trigpoint.data.files import Progress
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.synthetic import canvas
from trigpoint.synthetic import folder as sets
from trigpoint.synthetic.canvas import Picture, add, blur, box, disk, field, fill, mask, ribbon, smooth, stroke, wander

LANDMARKS = LandmarkSet(("tip",))


@dataclass(frozen=True)
class Catheter:
    """The line ``path`` (n, 2) from its tip outwards, and the coverage of its body and of its marker bands."""

    path: FloatArray
    body: canvas.Patch
    bands: canvas.Patch
    body_density: float
    band_density: float


def write_catheter(
    folder: str | Path,
    count: int,
    size: int | tuple[int, int] = 256,
    seed: int = 0,
    splits: Mapping[str, float] = sets.SPLITS,
    per_subject: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write ``count`` grey fluoroscopy frames with the landmark ``tip``, the middle of the catheter's square end.

    ``size`` is one side or (height, width) in pixels; ``splits`` maps names to shares of the subjects; ``per_subject``
    frames show the same anatomy under other catheters. Frame i depends on ``seed`` and ``size`` and not on ``count``.
    Raises ConfigError for options out of range and DataError for a folder that holds other files.

    >>> import tempfile
    >>> path = write_catheter(tempfile.mkdtemp(), count=2, size=64)
    >>> sorted(file.name for file in path.iterdir())
    ['dataset.yaml', 'images', 'landmarks.csv', 'synthetic.yaml']
    """
    shape = sets.height_width(size)
    plan = sets.Plan("catheter", count, shape, seed, splits, per_subject, LANDMARKS)

    def draw(index: int, split: str) -> sets.Frame:
        anatomy = draw_anatomy(plan.random(1, plan.subject(index)), shape)
        rng = plan.random(2, index)
        catheter = draw_catheter(rng, shape)
        image = canvas.to_bytes(expose(rng, anatomy, catheter))
        return sets.Frame(image, [sets.Instance(catheter.path[:1], np.array([2]))])

    return sets.write_set(folder, plan, draw, progress)


def draw_catheter(rng: np.random.Generator, shape: tuple[int, int]) -> Catheter:
    """A catheter that comes in over the border and ends at ``path[0]``, at least a tenth of the side inside."""
    height, width = shape
    unit = min(shape) / 256
    radius = max(rng.uniform(1.0, 1.9) * unit, 0.65)
    while True:
        tip = np.array([rng.uniform(0.12, 0.88) * width, rng.uniform(0.12, 0.88) * height])
        path = wander(rng, tip, rng.uniform(0, 2 * np.pi), 4.0 * max(shape), 2 * radius, rng.uniform(2, 12))
        outside = np.any((path < -4 * radius) | (path > np.array([width, height]) + 4 * radius), axis=1)
        if not outside.any():
            continue
        path = path[: int(np.argmax(outside)) + 1]
        clear = np.hypot(*(path[12:] - tip).T).min(initial=np.inf)
        if clear > 10 * radius:  # the line does not come back over its own tip
            break
    thick = radius * rng.uniform(1.15, 1.45)
    bands = [ribbon(_stretch(path, 0, radius * rng.uniform(3, 6)), thick)]
    start = radius * rng.uniform(9, 12)
    for _ in range(rng.integers(0, 4)):
        bands.append(ribbon(_stretch(path, start, start + 2 * radius), thick))
        start += radius * rng.uniform(5, 7)
    density = rng.uniform(0.35, 0.9)
    marks = fill(shape, *bands)
    return Catheter(path, stroke(shape, path, radius), marks, density, density * rng.uniform(0.3, 0.8))


def _stretch(path: FloatArray, start: float, end: float) -> FloatArray:
    """The part of a line between two lengths along it, both ends exact."""
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    at = np.concatenate([[start], along[(along > start) & (along < end)], [end]])
    return np.stack([np.interp(at, along, path[:, 0]), np.interp(at, along, path[:, 1])], axis=1)


def draw_anatomy(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """Attenuation (height, width) of a chest: soft shapes, drawn at half size since nothing in it is measured."""
    half = ((shape[0] + 1) // 2, (shape[1] + 1) // 2)
    height, width = half
    side = min(half)
    soft = 0.35 * field(rng, half, 3) + 0.08 * field(rng, half, 12)
    for _ in range(rng.integers(1, 4)):  # heart, diaphragm, great vessels
        center = rng.uniform(-0.2, 1.2, 2) * (width, height)
        turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
        reach = side * rng.uniform(0.35, 0.8) * (1 + 0.12 * rng.standard_normal(8))
        knots = center + reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        add(soft, fill(half, smooth(knots, 4, closed=True)), rng.uniform(0.15, 0.45))
    soft = blur(soft, 0.015 * side)
    bone = np.zeros(half, np.float32)
    middle = rng.uniform(-0.15, 1.15) * width
    if rng.random() < 0.85:
        _spine(rng, bone, middle)
    _ribs(rng, bone, middle)
    bone = blur(bone, 0.004 * side + 0.4) * (1 + 0.10 * field(rng, half, 60))
    if rng.random() < 0.6:
        tree = mask(half, *_vessels(rng, half))
        bone += blur(tree, 0.5) * rng.uniform(0.06, 0.3)
    return canvas.enlarge(soft + bone, shape)


def _spine(rng: np.random.Generator, bone: Picture, middle: float) -> None:
    height = bone.shape[0]
    side = min(bone.shape)
    lean, half = rng.normal(0, 0.06), side * rng.uniform(0.10, 0.15)
    tall = half * rng.uniform(1.1, 1.4)
    body = [(-1, -0.46), (0, -0.38), (1, -0.46), (0.86, 0), (1, 0.46), (0, 0.38), (-1, 0.46), (-0.86, 0)]
    outline = smooth(np.array(body) * (half, tall), 3, closed=True)
    bodies, eyes = [], []
    for y in np.arange(-tall * rng.random(), height + tall, tall):
        x = middle + lean * (y - height / 2)
        bodies.append(outline + np.array([x, y]))
        eyes += [disk((x + s * 0.55 * half, y - 0.1 * tall), 0.16 * half, 1.5, 12) for s in (-1, 1)]
    density = rng.uniform(0.12, 0.28)
    add(bone, fill(bone.shape, *bodies), density)
    add(bone, fill(bone.shape, *eyes), 0.5 * density)
    add(bone, fill(bone.shape, disk((middle, height / 2), 0.25 * half, 0.6 * height / half, 40)), 0.4 * density)


def _ribs(rng: np.random.Generator, bone: Picture, middle: float) -> None:
    height, width = bone.shape
    side = min(bone.shape)
    thick, gap = side * rng.uniform(0.028, 0.045), side * rng.uniform(0.17, 0.28)
    drop, outer, inner = rng.uniform(0.15, 0.6), [], []
    x = np.linspace(0, 1, 24)
    for way in (-1, 1):
        span = max(middle, width - middle) + 0.2 * side
        for y in np.arange(-1.2 * side * drop - gap * rng.random(), height + gap, gap):
            bow = np.sin(2.2 * x) + rng.normal(0, 0.04) * np.sin(4 * x + rng.uniform(0, 6))
            path = np.stack([middle + way * span * x, y + side * drop * bow], axis=1)
            outer.append(ribbon(path, thick)[::-way])
            inner.append(ribbon(path, 0.6 * thick)[::-way])
    density = rng.uniform(0.06, 0.2)
    add(bone, fill(bone.shape, *outer), density)
    add(bone, fill(bone.shape, *inner), -0.4 * density)


def _vessels(rng: np.random.Generator, shape: tuple[int, int]) -> list[FloatArray]:
    """Polygons of a branching tree of narrowing lines, some beyond the border."""
    side = min(shape)
    middle, heading = np.array(shape[::-1]) / 2, rng.uniform(0, 2 * np.pi)
    out = np.array([np.cos(heading), np.sin(heading)])
    start = middle - out * middle * 1.5 + rng.normal(0, 0.1 * side, 2)  # the root lies outside the field
    branches = [(start, heading, side * rng.uniform(0.014, 0.024))]
    lines: list[FloatArray] = []
    while branches and len(lines) < 20:
        root, heading, radius = branches.pop(0)
        path = wander(rng, root, heading, side * rng.uniform(0.25, 0.55), side / 40, 1.4)
        lines.append(ribbon(path, np.linspace(radius, 0.72 * radius, len(path))))
        if radius < 0.004 * side:
            continue
        last = path[-1] - path[-2]
        onward = float(np.arctan2(last[1], last[0]))
        branches.append((path[-1], onward + rng.uniform(0.1, 0.5), 0.72 * radius))
        branches.append((path[-1], onward - rng.uniform(0.1, 0.6), 0.62 * radius))
        if rng.random() < 0.5:
            branches.append((path[len(path) // 2], heading + rng.choice((-1, 1)) * rng.uniform(0.7, 1.2), 0.4 * radius))
    return lines


def _distractors(rng: np.random.Generator, total: Picture, tip: FloatArray) -> None:
    """Lines that cross the whole field: guide wires, leads with electrodes, other catheters. None lies on the tip."""
    height, width = shape = total.shape
    unit = min(shape) / 256
    wanted, tries = int(rng.integers(1, 5)), 0
    while wanted > 0 and tries < 40:
        tries += 1
        angle = rng.uniform(0, 2 * np.pi)
        across = np.array([np.cos(angle), np.sin(angle)])
        ends = np.array([width / 2, height / 2]) + np.outer([-1, 1], across) * 0.8 * np.hypot(*shape)
        shift = np.array([-across[1], across[0]]) * rng.uniform(-0.4, 0.4) * min(shape)
        along = np.linspace(0, 1, 6)[:, None]
        knots = ends[0] + shift + along * (ends[1] - ends[0]) + rng.normal(0, 0.05 * min(shape), (6, 2))
        path = smooth(knots, 3 * unit)
        radius = max(unit * rng.choice([rng.uniform(0.35, 0.7), rng.uniform(1.0, 1.8)]), 0.35)
        if np.hypot(*(path - tip).T).min() < 9 * unit + 2:
            continue
        density = rng.uniform(0.35, 1.0)
        add(total, stroke(shape, path, radius), density)
        wanted -= 1
        if rng.random() < 0.6:
            where = rng.uniform(0.2, 0.6) * len(path)
            gap, bands = rng.uniform(3, 7), []
            for k in range(rng.integers(2, 9)):
                at = int(where + k * gap)
                if at + 2 < len(path):
                    bands.append(ribbon(path[at : at + 2], 1.3 * max(radius, unit)))
            add(total, fill(shape, *bands), density * rng.uniform(0.3, 0.9))
        elif rng.random() < 0.3:  # a skin electrode with its snap
            at = path[int(rng.uniform(0.25, 0.75) * len(path))]
            if np.hypot(*(at - tip)) > 24 * unit:
                add(total, fill(shape, disk(at, 7 * unit)), 0.15)
                add(total, fill(shape, disk(at, 3 * unit)), 0.5)


def expose(
    rng: np.random.Generator, anatomy: Picture, catheter: Catheter, noise: bool = True, collimate: bool = True
) -> Picture:
    """The frame (height, width), values 0..1: attenuation, focus, quantum noise, shutters and display window."""
    shape = anatomy.shape
    unit = min(shape) / 256
    total = anatomy * rng.uniform(0.7, 1.3)
    metal = np.zeros(shape, np.float32)
    _distractors(rng, metal, catheter.path[0])
    add(metal, catheter.body, catheter.body_density)
    add(metal, catheter.bands, catheter.band_density)
    light = np.exp(-total - metal * rng.uniform(0.7, 1.2))
    light = 0.92 * blur(light, max(rng.uniform(0.45, 0.85) * unit, 0.35)) + 0.08 * float(light.mean())
    across, down = np.linspace(-1, 1, shape[1], dtype=np.float32), np.linspace(-1, 1, shape[0], dtype=np.float32)
    light *= 1 - rng.uniform(0, 0.3) * (across[None] ** 2 + down[:, None] ** 2) / 2
    if collimate:
        light *= _shutters(rng, shape, catheter.path[0])
    quanta = np.exp(rng.uniform(np.log(60), np.log(1500))) / float(light.mean())
    grain = rng.standard_normal(shape, dtype=np.float32)
    if noise:
        light = light + np.sqrt(light / quanta) * blur(grain, 0.45) * 1.35  # the detector spreads the quanta a little
    low, high = np.percentile(light[::4, ::4], (1, 99.5))
    dark, bright = rng.uniform(0.02, 0.12), rng.uniform(0.75, 0.95)
    level = np.clip((light - low) / max(float(high - low), 1e-6), -0.1, 1.2)
    shown: Picture = dark + (bright - dark) * np.sign(level) * np.abs(level) ** np.float32(rng.uniform(0.7, 1.1))
    return shown


def _shutters(rng: np.random.Generator, shape: tuple[int, int], tip: FloatArray) -> Picture:
    """Transmission of the collimator: straight blades or a round field, the tip well inside."""
    height, width = shape
    side = min(shape)
    kind = rng.random()
    if kind < 0.45:
        return np.ones(shape, np.float32)
    if kind < 0.65:
        middle = np.array([width / 2, height / 2])
        frame = disk(middle, rng.uniform(0.5, 0.6) * side, 1.0, 90)
        if np.hypot(*(tip - middle)) > np.hypot(*(frame[0] - middle)) - 0.08 * side:
            return np.ones(shape, np.float32)
    else:
        reach = rng.uniform(-0.05, 0.18, 4) * side
        room = np.array([tip[0], tip[1], width - tip[0], height - tip[1]]) - 0.08 * side
        left, top, right, bottom = np.minimum(reach, room)
        frame = box(left, top, width - right, height - bottom)
    closed = rng.uniform(0.04, 0.3)
    return closed + (1 - closed) * blur(mask(shape, frame), 0.006 * side + 0.5)
