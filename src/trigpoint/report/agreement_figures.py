"""Bland-Altman plots: the difference of two measurements of the same thing against their mean."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.report import style

_COLUMNS = 3
_MOST = 24  # panels; more would be too small, or too long a page


class Panel(NamedTuple):
    """Means and differences (n,) of one measurement, NaN = unknown; bias and limits of agreement, None = unknown."""

    means: FloatArray
    differences: FloatArray
    unit: str
    bias: float | None
    limits: tuple[float, float] | None


def bland_altman(panels: Mapping[str, Panel], what: str = "predicted - annotated") -> Figure:
    """A panel for each measurement: differences against means, bias as a line, 95 % limits of agreement dashed.

    Of more than 24 the first 24 are drawn, and the title says so. Raises DataError for none, and for means and
    differences of other numbers.
    """
    if not panels:
        raise DataError("Bland-Altman plot: expected a measurement, got none")
    shown = dict(list(panels.items())[:_MOST])
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure = style.new_figure(1.0 + 2.6 * columns, 0.8 + 2.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, (name, panel) in zip(axes, shown.items(), strict=False):
        _draw(place, name, panel)
    for place in axes[len(shown) :]:
        place.set_axis_off()
    cut = f" ({_MOST} of {len(panels)} measurements)" if len(shown) < len(panels) else ""
    figure.supxlabel(f"mean of both{cut}", fontsize=10, color=style.INK)
    figure.supylabel(what, fontsize=10, color=style.INK)
    return figure


def _draw(axes: Axes, name: str, panel: Panel) -> None:
    if panel.means.shape != panel.differences.shape:
        got = f"{panel.means.shape} and {panel.differences.shape}"
        raise DataError(f"Bland-Altman plot: {name}: expected as many means as differences, got {got}")
    style.dress(axes, "", "")
    unit = "" if panel.unit == "ratio" else f" ({panel.unit})"
    style.caption(axes, f"{name}{unit}")
    known = np.isfinite(panel.means) & np.isfinite(panel.differences)
    if not known.any():
        style.empty_note(axes, "nothing to compare")
        return
    axes.axhline(0, color=style.FAINT, linewidth=0.8)
    axes.plot(panel.means[known], panel.differences[known], "o", ms=3, alpha=0.6, mew=0, color=style.PALETTE[0])
    if panel.bias is not None:
        axes.axhline(panel.bias, color=style.PALETTE[1], linewidth=1.6, gid="bias")
    for end in panel.limits or ():
        axes.axhline(end, color=style.PALETTE[1], linewidth=1.2, linestyle=(0, (5, 2)), gid="limit")
