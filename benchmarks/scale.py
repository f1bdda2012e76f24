"""How the cost of a prediction grows with the image: ``python -m benchmarks scale [--out FOLDER]``.

Square images of side 512, 1024, ... through the foveated pyramid (one network for all landmarks, three iterations),
for one landmark and for 19; the largest from a tiled file that is never in memory as a whole; and through a U-Net at
full resolution as long as that fits. Each measurement is a process of its own, see ``benchmarks.prediction``. Writes
``scale.json`` and ``scale.png`` and returns the tables.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from benchmarks.prediction import Case, Cost, drawn, measure
from trigpoint.data.tiled import write_tiled
from trigpoint.report import markdown_table
from trigpoint.report.style import MUTED, dress, legend, line_style, new_figure, save

LANDMARKS = (1, 19)
MEMORY_GB, SECONDS = 16.0, 120.0  # what the U-Net may take
STRIP = 512  # rows
MEMORY, LAZY, UNET = "in memory", "tiled file", "U-Net"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One measurement: ``source`` in memory, tiled file or U-Net; ``cost``, or ``reason`` why there is none."""

    source: str
    side: int
    landmarks: int
    cost: Cost | None
    reason: str = ""


def scale(
    sides: Sequence[int],
    lazy: Sequence[int],
    out: Path,
    trunk: str = "resnet34",
    width: int | None = None,
    rounds: int = 2,
    threads: int = 1,
    say: Say = lambda text: None,
) -> str:
    """Measure, write into ``out``, and return the tables; ``width`` of the U-Net, None for its own."""
    out.mkdir(parents=True, exist_ok=True)
    points = []
    for point in _measured(sides, lazy, out, trunk, width, rounds, threads):
        points.append(point)
        result = point.reason if point.cost is None else f"{point.cost.seconds:.2f} s, {point.cost.peak_mb:.0f} MB"
        say(f"{point.source}, side {point.side}, landmarks {point.landmarks}: {result}")
    values = {"trunk": trunk, "threads": threads, "points": [asdict(point) for point in points]}
    (out / "scale.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    plot(points, out / "scale.png")
    return f"{markdown_table(table(points))}\n\n{ratios(points)}\n\nWritten: {out / 'scale.json'}, {out / 'scale.png'}"


def _measured(
    sides: Sequence[int], lazy: Sequence[int], out: Path, trunk: str, width: int | None, rounds: int, threads: int
) -> Iterator[Point]:
    method = {"name": "foveated", "shared": True, "trunk": trunk, "iterations": 3}
    for side in sides:
        for count in LANDMARKS:
            yield _point(MEMORY, Case(method, (side, side), count, threads, rounds))
    for side in lazy:
        with tempfile.TemporaryDirectory(dir=out) as folder:
            file = write_tiled(Path(folder) / "large.tif", (side, side), strips(side))
            for count in LANDMARKS:
                yield _point(LAZY, Case(method, (side, side), count, threads, rounds, tiled=str(file)))
    unet: dict[str, Any] = {"name": "unet", "stem_stride": 1} | ({} if width is None else {"width": width})
    reason = ""
    for side in sides:
        case = Case({"name": "heatmap", "network": unet}, (side, side), max(LANDMARKS), threads, rounds)
        if reason:  # a larger image takes more still
            yield Point(UNET, side, case.landmarks, None, reason)
            continue
        point = _point(UNET, Case(**{**vars(case), "memory_gb": MEMORY_GB, "seconds": SECONDS}))
        reason = point.reason
        yield point


def _point(source: str, case: Case) -> Point:
    cost = measure(case)
    side = case.size[0]
    if isinstance(cost, str):
        return Point(source, side, case.landmarks, None, cost)
    return Point(source, side, case.landmarks, cost)


def strips(side: int) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Rows of a drawn image, some at a time."""
    for top in range(0, side, STRIP):
        yield drawn((min(STRIP, side - top), side), top=top)[0]


def table(points: Sequence[Point]) -> list[dict[str, Any]]:
    """A row per measurement; seconds, and microseconds for one glimpse of one level."""
    rows = []
    for point in points:
        row: dict[str, Any] = {"image": point.source, "side": str(point.side), "landmarks": str(point.landmarks)}
        cost = point.cost
        if cost is None:
            rows.append(row | {"total s": point.reason})
            continue
        parts = {f"{name} s": cost.parts.get(part) for name, part in PARTS.items()}
        each = 1e6 * cost.parts["glimpses"] / cost.patches if cost.patches else None
        memory = {"peak MB": f"{cost.peak_mb:.0f}", "before MB": f"{cost.before_mb:.0f}"}
        row |= {"levels": str(cost.levels or ""), "total s": f"{cost.seconds:.3f}"}
        row |= {name: "" if value is None else f"{value:.3f}" for name, value in parts.items()}
        rows.append(row | {"µs per glimpse and level": "" if each is None else f"{each:.0f}"} | memory)
    return [{column: row.get(column, "") for column in max(rows, key=len)} for row in rows]


PARTS = {"preparation": "preparation", "pyramid": "pyramid", "glimpses": "glimpses", "trunk and head": "network"}


def ratios(points: Sequence[Point]) -> str:
    """What the measurements of this run say relative to one another."""
    lines = [_growth(count, _series(points, MEMORY, count)) for count in LANDMARKS]
    many = max(LANDMARKS)
    ours = dict(_series(points, MEMORY, many))
    for side, cost in _series(points, UNET, many):
        lines.append(
            f"- U-Net at full resolution, side {side}: {cost.seconds / ours[side].seconds:.1f} x the time and "
            f"{cost.peak_mb / ours[side].peak_mb:.1f} x the peak of memory of the foveated pyramid."
        )
    stopped = next((point for point in points if point.source == UNET and point.cost is None), None)
    if stopped is not None:
        lines.append(f"- U-Net at full resolution, side {stopped.side}: {stopped.reason}.")
    for side, cost in _series(points, LAZY, many):
        lines.append(
            f"- Tiled file, side {side}: at most {cost.peak_mb:.0f} MB, {cost.before_mb:.0f} of them before the "
            f"prediction, for {side**2 / 2**20:.0f} MB of pixels; {cost.tiles} tiles read."
        )
    slowest = max(point.cost.wall / point.cost.seconds for point in points if point.cost is not None)
    lines.append(f"- On the clock, predictions took up to {slowest:.2f} x the seconds of this table.")
    return "\n".join(lines)


def _growth(count: int, line: Sequence[tuple[int, Cost]]) -> str:
    """From the first size to the last, and how constant the cost of one patch is."""
    (low, first), (high, last) = line[0], line[-1]
    parts = [f"{part} {last.parts[part] / first.parts[part]:.1f} x" for part in ("pyramid", "glimpses", "network")]
    even = []
    for part in ("glimpses", "network"):
        each = [cost.parts[part] / cost.patches for _, cost in line]
        even.append(max(each) / min(each))
    return (
        f"- Landmarks {count}, side {low} to {high} ({(high / low) ** 2:.0f} x the pixels): levels {first.levels} to "
        f"{last.levels}, prediction {last.seconds / first.seconds:.1f} x ({', '.join(parts)}), "
        f"peak of memory {last.peak_mb / first.peak_mb:.1f} x. One glimpse of one level costs at most {even[0]:.2f} x "
        f"what it costs at the cheapest size, its way through trunk and head {even[1]:.2f} x."
    )


def _series(points: Sequence[Point], source: str, count: int) -> list[tuple[int, Cost]]:
    chosen = [p for p in points if p.source == source and p.landmarks == count]
    return [(point.side, point.cost) for point in chosen if point.cost is not None]


def plot(points: Sequence[Point], file: Path) -> None:
    """Time, what it is made of, and memory, against the side, all axes logarithmic."""
    figure = new_figure(13.5, 4.4)
    axes: Any = figure.subplots(1, 3)
    many = max(LANDMARKS)
    lines = [
        (MEMORY, many, f"foveated, {many} landmarks", 0),
        (MEMORY, min(LANDMARKS), "foveated, 1 landmark", 5),
        (LAZY, many, f"foveated, tiled file, {many} landmarks", 2),
        (UNET, many, f"U-Net at full resolution, {many} landmarks", 1),
    ]
    for source, count, label, style in lines:
        line = _series(points, source, count)
        _draw(axes[0], [(side, cost.seconds) for side, cost in line], label, style)
        _draw(axes[2], [(side, cost.peak_mb / 2**10) for side, cost in line], label, style)
    for number, (name, part) in enumerate(PARTS.items()):
        line = _series(points, MEMORY, many)
        _draw(axes[1], [(side, cost.parts[part]) for side, cost in line], name, (4, 3, 2, 0)[number])
    rest = min(point.cost.before_mb for point in points if point.cost is not None) / 2**10
    axes[2].axhline(rest, color=MUTED, linewidth=1, linestyle=":", label="before the prediction")
    titles = ("Prediction", f"Its parts, {many} landmarks, in memory", "Peak of memory")
    for axis, title, unit in zip(axes, titles, ("seconds", "seconds", "GB"), strict=True):
        dress(axis, "side of the image (px)", unit, title)
        _log(axis, sorted({point.side for point in points}), unit)
        legend(axis, beside=False)
    save(figure, file)


def _draw(axis: Axes, line: Sequence[tuple[int, float]], label: str, style: int) -> None:
    if line:
        axis.plot(*zip(*line, strict=True), marker="o", markersize=4, label=label, **line_style(style))


def _log(axis: Axes, sides: Sequence[int], unit: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(sides, [str(side) for side in sides])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if unit == "GB" else (1,)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom, top * (top / bottom) ** 0.35)  # room for the legend
