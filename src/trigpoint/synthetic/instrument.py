"""Laparoscopic frames with articulated instruments, several of the same kind in one frame, and a foreign tool.

An instrument is a shaft that comes in over the border, a wrist and two claspers. Its landmarks are drawn points: the
tips of the claspers, the pin of the wrist and the middle of the shaft's end. "Left" is seen along the shaft towards the
tip, so mirroring an image swaps the two. Scissors are another tool throughout: gilt and slender where the instruments
are steel, with a flat screw for a pin and long pointed blades. They carry no label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trigpoint.data.files import Progress
from trigpoint.errors import ConfigError
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.synthetic import folder as sets
from trigpoint.synthetic.canvas import Patch, Picture, blur, disk, field, fill, mask, ribbon, to_bytes, wander

LANDMARKS = LandmarkSet(("left_clasper", "right_clasper", "joint", "shaft"), pairs=(("left_clasper", "right_clasper"),))

GILT = np.array([0.80, 0.62, 0.26])
"""Colour of the scissors' shaft."""


@dataclass(frozen=True)
class Part:
    """A polygon in one colour (3,), values 0..1."""

    outline: FloatArray
    color: FloatArray


@dataclass(frozen=True)
class Tool:
    """Parts from back to front and the landmarks (4, 2) in the order of ``LANDMARKS``."""

    parts: list[Part]
    points: FloatArray
    scissors: bool


def write_instruments(
    folder: str | Path,
    count: int,
    size: int | tuple[int, int] = (288, 384),
    seed: int = 0,
    splits: Mapping[str, float] = sets.SPLITS,
    per_subject: int = 4,
    most: int = 3,
    scissors: float = 0.0,
    scissors_splits: Sequence[str] = ("test",),
    progress: Progress | None = None,
) -> Path:
    """Write ``count`` colour laparoscopy frames with 0 to ``most`` instruments, one table row for each.

    A frame without instruments has one row with every landmark blank. ``size`` is one side or (height, width) in
    pixels; ``per_subject`` frames share the tissue and the light. ``scissors`` is the share of the frames of
    ``scissors_splits`` that show scissors as well, a tool without a label; ``distractors.csv`` says where they are.
    A landmark under another tool has visibility 1. Frame i depends on the seed and the options, not on ``count``.
    Raises ConfigError for options out of range and DataError for a folder that holds other files.

    >>> import tempfile
    >>> path = write_instruments(tempfile.mkdtemp(), count=1, size=64)
    >>> "instances: true" in (path / "dataset.yaml").read_text()
    True
    """
    if not 0 <= scissors <= 1:
        raise ConfigError(f"scissors: expected a share of 0 to 1, got {scissors}")
    if not 1 <= most <= 6:
        raise ConfigError(f"most: expected 1 to 6 instruments, got {most}")
    unknown = sorted(set(scissors_splits) - set(splits))
    if unknown and scissors > 0:
        raise ConfigError(f"scissors_splits: expected names of splits ({', '.join(splits)}), got {', '.join(unknown)}")
    shape = sets.height_width(size)
    options = {"most": most, "scissors": scissors, "scissors_splits": list(scissors_splits)}
    plan = sets.Plan("instrument", count, shape, seed, splits, per_subject, LANDMARKS, instances=True, options=options)

    def draw(index: int, split: str) -> sets.Frame:
        share = scissors if split in scissors_splits else 0.0
        tools = draw_tools(plan.random(2, index), plan.random(4, index), shape, most, share)
        tissue = draw_tissue(plan.random(1, plan.subject(index)), shape)
        image, seen = render(plan.random(3, index), tissue, tools)
        mine = [(tool, row) for tool, row in zip(tools, seen, strict=True) if not tool.scissors]
        found = [sets.Instance(t.points, row, f"tool_{k}") for k, (t, row) in enumerate(mine, start=1)]
        columns = [f"{name}_{axis}" for name in LANDMARKS.names for axis in "xy"]
        notes = [dict(zip(columns, tool.points.ravel(), strict=True)) for tool in tools if tool.scissors]
        return sets.Frame(to_bytes(image), found, notes)

    return sets.write_set(folder, plan, draw, progress)


def draw_tools(
    rng: np.random.Generator, other: np.random.Generator, shape: tuple[int, int], most: int, scissors: float
) -> list[Tool]:
    """Instruments whose wrists keep apart, from back to front; scissors come from their own generator."""
    tools: list[Tool] = []
    for _ in range(int(rng.integers(0, most + 1))):
        _place(rng, shape, tools, scissors=False)
    if other.random() < scissors:
        _place(other, shape, tools, scissors=True)
    return tools


def _place(rng: np.random.Generator, shape: tuple[int, int], tools: list[Tool], scissors: bool) -> None:
    """Append a tool that lies in the frame, away from the others; none when twenty trials find no room."""
    for _ in range(20):
        tool = draw_tool(rng, shape, scissors)
        edge = 0.02 * min(shape)
        inside = np.all((tool.points > edge) & (tool.points < np.array(shape[::-1]) - 1 - edge))
        gaps = [np.hypot(*(tool.points[:3] - old.points[2]).T).min() for old in tools]
        if inside and min(gaps, default=np.inf) > 0.13 * min(shape):
            tools.append(tool)
            return


def draw_tool(rng: np.random.Generator, shape: tuple[int, int], scissors: bool) -> Tool:
    """One tool: the shaft points from the border to the working field, wrist and claspers bend away from it."""
    height, width = shape
    unit = min(shape) * rng.uniform(0.8, 1.25)
    joint = np.array([rng.uniform(0.15, 0.85) * width, rng.uniform(0.15, 0.85) * height])
    around = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.8:  # most come from the side they are nearer to
        away = joint - np.array([width / 2, height * 0.4])
        around = float(np.arctan2(away[1], away[0])) + rng.normal(0, 0.5)
    forward = around + np.pi
    heading = forward + rng.normal(0, 0.35)  # of the wrist and the claspers
    thick = 0.042 * unit * rng.uniform(0.85, 1.2) * (0.6 if scissors else 1.0)
    neck = 0.085 * unit * rng.uniform(0.9, 1.3)
    shaft = joint - neck * _unit(forward)
    tint = rng.uniform(0.85, 1.1) * np.array([1.0, 1.0, rng.uniform(0.98, 1.06)])
    dark = rng.uniform(0.10, 0.30) if rng.random() < 0.6 else rng.uniform(0.35, 0.55)
    bar, wrist = (GILT * tint, 0.8 * GILT * tint) if scissors else (dark * tint, 0.55 * tint)
    parts = _rod(shaft, shaft - 2 * max(shape) * _unit(forward), thick, bar, rng.uniform(-0.5, 0.5))
    parts += _rod(joint, shaft, (1.0 if scissors else 0.72) * thick, wrist, rng.uniform(-0.4, 0.4))
    open_by = rng.uniform(0.12, 0.65)
    long = unit * (rng.uniform(0.19, 0.25) if scissors else rng.uniform(0.11, 0.16))
    half, tips = (0.6 if scissors else 0.42) * thick, list[FloatArray]()
    for way in (-1, 1):  # y points down: less angle is left, seen along the shaft
        outline, tip = _clasper(joint, heading + way * open_by, long, half, way, scissors)
        tips.append(tip)
        parts.append(Part(outline, np.clip((0.62 if way < 0 else 0.74) * tint, 0, 1)))
        shine = outline[: len(outline) // 2]
        parts.append(Part(ribbon(0.75 * shine + 0.25 * outline.mean(axis=0), 0.07 * thick), 0.95 * tint))
    pin = [(0.9, 0.3 * GILT)] if scissors else [(0.62, 0.48 * tint), (0.30, 0.85 * tint), (0.14, 0.15 * tint)]
    parts += [Part(disk(joint, share * thick), color) for share, color in pin]
    return Tool(parts, np.array([*tips, joint, shaft]), scissors)


def _unit(angle: float) -> FloatArray:
    return np.array([np.cos(angle), np.sin(angle)])


def _rod(start: FloatArray, end: FloatArray, half: float, color: FloatArray, light: float) -> list[Part]:
    """A round bar in shades across its width; the brightest strip lies at ``light`` (-1..1)."""
    along = (end - start) / np.hypot(*(end - start))
    side = np.array([-along[1], along[0]])
    parts = []
    for share, shade in ((1.0, 0.55), (0.82, 0.8), (0.6, 1.0), (0.34, 1.3), (0.14, 2.0)):
        middle = light * (1 - share) * half * side
        line = np.stack([start + middle, end + middle])
        parts.append(Part(ribbon(line, share * half), np.clip(shade * color, 0, 1)))
    return parts


def _clasper(
    joint: FloatArray, angle: float, long: float, half: float, way: int, scissors: bool
) -> tuple[FloatArray, FloatArray]:
    """Outline of a jaw from the pin, and its tip: a tapered, rounded finger, or a pointed curved scissor blade."""
    ahead, side = _unit(angle), _unit(angle + np.pi / 2)
    if scissors:
        shape = [(0, 1.0), (0.3, 1.25), (0.65, 1.0), (0.88, 0.55), (1.0, 0.0), (0.85, -0.35), (0.5, -0.45), (0, -0.6)]
    else:
        shape = [(0, 1.0), (0.25, 1.35), (0.6, 1.05), (0.9, 0.75), (0.975, 0.5), (1.0, 0.0)]
        shape += [(0.975, -0.4), (0.9, -0.55), (0.5, -0.6), (0, -0.8)]
    outline = np.array([joint + a * long * ahead + way * b * half * side for a, b in shape])
    return outline, joint + long * ahead


def draw_tissue(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """Colour picture (H, W, 3) of tissue: organs in reds and yellows, vessels, wet highlights."""
    height, width = shape
    side = min(shape)
    base = np.array([rng.uniform(0.5, 0.72), rng.uniform(0.2, 0.34), rng.uniform(0.17, 0.28)])
    fat = np.array([0.80, 0.62, 0.40])
    liver = np.array([0.40, 0.13, 0.12])
    relief = 0.6 * field(rng, shape, 5) + 0.45 * field(rng, shape, 16) + 0.25 * field(rng, shape, 60)
    picture = np.broadcast_to(base, (*shape, 3)).astype(np.float32) * (1 + 0.15 * relief[..., None])
    for color, level in ((fat, rng.uniform(0.4, 1.3)), (liver, rng.uniform(0.3, 1.2))):
        area = field(rng, shape, 4) + 0.25 * field(rng, shape, 18)
        share = 0.85 * np.clip((area + 0.25 * relief - level) * rng.uniform(1.2, 3.0), 0, 1)[..., None]
        shade = 1 + 0.16 * relief[..., None]
        picture = picture * (1 - share) + (color * shade).astype(np.float32) * share
    lines = []
    for _ in range(rng.integers(2, 7)):
        start = rng.uniform(0, 1, 2) * (width, height)
        path = wander(rng, start, rng.uniform(0, 2 * np.pi), side * rng.uniform(0.4, 1.0), side / 60, 4)
        lines.append(ribbon(path, np.linspace(1, 0.3, len(path)) * side * rng.uniform(0.004, 0.010)))
    picture *= 1 - 0.35 * blur(mask(shape, *lines), 0.004 * side)[..., None] * np.array([0.6, 1.0, 0.9], np.float32)
    wet = np.clip(field(rng, shape, 40) + 0.9 * relief - 2.2, 0, 0.6)
    return np.asarray(np.clip(picture + blur(wet, 0.003 * side)[..., None], 0, 1), np.float32)


def render(rng: np.random.Generator, tissue: Picture, tools: list[Tool]) -> tuple[Picture, list[np.ndarray]]:
    """The frame (H, W, 3), values 0..1, and the visibility (4,) of every tool's landmarks."""
    shape = tissue.shape[:2]
    side = min(shape)
    picture = tissue.copy()
    covers: list[list[Patch]] = []
    for tool in tools:
        shadow = np.zeros(shape, np.float32)
        for part in tool.parts:
            patch = fill(shape, part.outline + 0.02 * side)
            shadow[patch.window] = np.maximum(shadow[patch.window], patch.cover)
        picture *= 1 - 0.4 * blur(shadow, 0.015 * side)[..., None]
        drawn = [fill(shape, part.outline) for part in tool.parts]
        for part, patch in zip(tool.parts, drawn, strict=True):
            share = patch.cover[..., None]
            spot = picture[patch.window]
            spot += (part.color.astype(np.float32) - spot) * share
        covers.append(drawn)
    seen = []
    for k, tool in enumerate(tools):
        over = [patch for later in covers[k + 1 :] for patch in later]
        hidden = [max((patch.at(point) for patch in over), default=0.0) > 0.5 for point in tool.points]
        seen.append(np.where(hidden, 1, 2))
    light = _light(rng, shape)
    focus = max(0.0016 * side, 0.4)
    picture = np.stack([blur(picture[..., c], focus) for c in range(3)], axis=2) * light
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(rng.uniform(0.008, 0.03))
    return picture + grain, seen


def _light(rng: np.random.Generator, shape: tuple[int, int]) -> Picture:
    """A lamp at the scope: brightest near the middle, dark corners, in some frames the round edge of the scope."""
    height, width = shape
    x = (np.arange(width, dtype=np.float32) - width * rng.uniform(0.4, 0.6))[None] / width
    y = (np.arange(height, dtype=np.float32) - height * rng.uniform(0.4, 0.6))[:, None] / width
    light = rng.uniform(0.95, 1.2) * np.exp(-rng.uniform(1.0, 2.4) * (x**2 + y**2))
    if rng.random() < 0.25:
        hole = mask(shape, disk((width / 2, height / 2), 0.52 * width, 1.0, 90))
        light = light * (0.03 + 0.97 * blur(hole, 0.006 * width))
    return np.asarray(light, np.float32)[..., None]
