"""Many runs in one figure: more than lines could be told apart for."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from trigpoint.report import style


def time_points(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], what: str) -> Figure:
    """Last error of each run (log) against its minutes; named are those that no other is both better and faster than.

    ``curves``: {label: (minutes, error)}, at least one number each.
    """
    figure = style.new_figure(7.0, 4.4)
    axes = figure.subplots()
    ends = {name: (float(minutes[-1]), float(errors[-1])) for name, (minutes, errors) in curves.items()}
    best = {
        name: at
        for name, at in ends.items()
        if not any(other != at and other[0] <= at[0] and other[1] <= at[1] for other in ends.values())
    }
    for i, (label, points) in enumerate((("other runs", ends), ("none is faster and better", best))):
        x, y = np.array(list(points.values())).T
        axes.plot(x, y, "o", ms=6, color=style.FAINT if i == 0 else style.PALETTE[1], label=label)
    for name, at in best.items():
        axes.annotate(name, at, (6, 5), textcoords="offset points", fontsize=8, color=style.INK)
    style.dress(axes, "training time (minutes)", what, "Error and time of each run")
    axes.set_xlim(left=0)
    if min(error for _, error in ends.values()) > 0:
        style.log_scale(axes)
    style.legend(axes)
    return figure
