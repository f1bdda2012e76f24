"""A number of each landmark with its interval, of one run or of several side by side."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from trigpoint.errors import DataError
from trigpoint.report import style

_APART = 0.62  # of the room of a landmark, which the runs share
_MARKERS = "osD^vPX"  # so that runs are told apart in black and white, too


class Dot(NamedTuple):
    """A number, its interval, and the median of what it is the mean of; NaN where not known."""

    value: float
    low: float = np.nan
    high: float = np.nan
    median: float = np.nan


def landmark_dots(
    series: Mapping[str, Mapping[str, Dot]], xlabel: str, title: str = "", *, share: bool = False, most: int = 60
) -> Figure:
    """Dots with their intervals, a row for each landmark, the largest value of the first series on top.

    ``series`` maps each run, or each measure, to the numbers of its landmarks; a median is a small upright line. With
    ``share`` the axis goes from 0 to 100 % and the least value, again the worst, is on top. Beyond ``most`` landmarks
    the worst are shown. Raises DataError for more series than can be told apart.
    """
    if len(series) > style.MOST_LINES:
        raise DataError(f"landmarks: expected {style.MOST_LINES} runs at most, got {len(series)}; draw fewer")
    first = next(iter(series.values()), {})
    known = [name for name in first if any(np.isfinite(dots[name].value) for dots in series.values() if name in dots)]
    worth = {name: np.nan_to_num(first[name].value, nan=np.inf) for name in known}
    ranked = sorted(known, key=lambda name: -worth[name] if share else worth[name])
    shown = ranked[-most:]
    room = 0.24 if len(series) == 1 else 0.14 + 0.13 * len(series)
    figure = style.new_figure(6.4, max(2.2, 1.1 + room * len(shown)))
    axes = figure.subplots()
    step = _APART / max(len(series), 1)
    for i, dots in enumerate(series.values()):
        look = {"color": style.line_style(i)["color"]}
        for row, name in enumerate(shown):
            dot = dots.get(name, Dot(np.nan))
            at = row + ((len(series) - 1) / 2 - i) * step if len(series) > 1 else row
            axes.plot([dot.low, dot.high], [at, at], linewidth=2.0, solid_capstyle="butt", **look)
            axes.plot([dot.value], [at], _MARKERS[i % len(_MARKERS)], ms=5.5, mec="white", mew=0.6, zorder=3, **look)
            axes.plot([dot.median], [at], "|", ms=9, mew=1.6, color=style.INK, zorder=4)
    if shown:
        axes.set_yticks(range(len(shown)), shown)
        axes.set_ylim(-0.6, len(shown) - 0.4)
    else:
        style.empty_note(axes, "no number is known")
    axes.set_xlim(left=0, right=1.01 if share else None)
    if share:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    cut = f"{title + ', ' if title else ''}the {most} worst of {len(ranked)} landmarks"
    style.dress(axes, f"{xlabel}\n{_key(series, shown)}", "", cut if len(shown) < len(ranked) else title)
    axes.grid(False, axis="y")
    if len(series) > 1:
        marks = {
            name: Line2D([], [], color=style.line_style(i)["color"], marker=_MARKERS[i % len(_MARKERS)], linewidth=2)
            for i, name in enumerate(series)
        }
        style.key(figure, marks)
    return figure


def _key(series: Mapping[str, Mapping[str, Dot]], shown: list[str]) -> str:
    """What is drawn, in words below the axis."""
    dots = [own[name] for own in series.values() for name in shown if name in own]
    interval = "line: 95 % interval" if any(np.isfinite(dot.low) for dot in dots) else "too few subjects for intervals"
    median = any(np.isfinite(dot.median) for dot in dots)
    return f"dot: {'mean, ' if median else ''}{'upright line: median, ' if median else ''}{interval}".replace(
        "dot: line", "line"
    )
