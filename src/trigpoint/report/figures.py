"""The curves and distributions of a report. Each function returns a matplotlib ``Figure``; ``save`` writes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter

from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray
from trigpoint.report import style


def sigma_curves(epochs: Sequence[float], sigmas: Mapping[str, Sequence[float]]) -> Figure:
    """Sigma per landmark or group against the epoch.

    Every series is as long as ``epochs``. Up to 10 are named; of more, the median, the range and the two extremes at
    the end are drawn. NaN leaves a gap.
    """
    figure = style.new_figure(7.4, 4.2)
    axes = figure.subplots()
    table = {name: _series(name, values, len(epochs)) for name, values in sigmas.items()}
    if len(table) > style.MOST_LINES:
        _band(axes, epochs, table)
    else:
        for i, (name, values) in enumerate(table.items()):
            axes.plot(epochs, values, label=name, linewidth=1.8, **style.line_style(i))
    _finish_epochs(axes, sum(int(np.isfinite(v).sum()) for v in table.values()), "no sigma was recorded")
    style.dress(axes, "epoch", "sigma (heatmap px)", "Target precision during training")
    axes.set_ylim(bottom=0)
    style.legend(axes)
    return figure


def label_curve_plot(
    counts: Sequence[float], errors: Sequence[float], more: Sequence[float], expected: Sequence[Sequence[float]]
) -> Figure:
    """Errors (px) after trainings with ``counts`` labels, and those ``expected`` of ``more``: value, low, high."""
    figure = style.new_figure(7.0, 4.0)
    axes = figure.subplots()
    values, low, high = np.asarray(expected, dtype=np.float64).T
    axes.plot(counts, errors, "o", color=style.PALETTE[0], label="measured")
    axes.plot(more, values, color=style.PALETTE[1], linewidth=1.8, label="expected")
    axes.fill_between(more, low, high, color=style.PALETTE[1], alpha=0.2, linewidth=0)
    style.log_scale(axes, "x")
    style.dress(axes, "labelled images", "mean radial error (px)", "What more labels would bring")
    axes.set_ylim(bottom=0)
    style.legend(axes)
    return figure


def sweep_plot(
    values: Mapping[str, Sequence[Any]],
    errors: Sequence[float | None],
    logarithmic: Sequence[str] = (),
    choices: Sequence[str] = (),
    what: str = "error",
) -> Figure:
    """The error of each trial of a sweep, named ``what``, against each key that was drawn; ``errors`` None: not
    finished, left out. Of keys in ``choices`` each value has a place of its own."""
    figure = style.new_figure(max(4.0, 3.2 * len(values)), 3.6)
    all_axes = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    shown = [i for i, error in enumerate(errors) if error is not None]
    found = [errors[i] for i in shown]
    best = int(np.argmin(found)) if found else None  # type: ignore[arg-type]
    for k, (axes, (key, drawn)) in enumerate(zip(all_axes, values.items(), strict=True)):
        given = [drawn[i] for i in shown]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
        plain = numbers and key not in choices
        names = [str(value) for value in sorted(set(given))] if numbers else sorted({str(value) for value in given})
        at = given if plain else [names.index(str(value)) for value in given]
        axes.plot(at, found, "o", color=style.PALETTE[0], markersize=5)
        if best is not None:
            axes.plot(at[best], found[best], "*", color=style.PALETTE[1], markersize=13, label="best")
        if not plain:
            axes.set_xticks(range(len(names)), names)
        elif key in logarithmic:
            style.log_scale(axes, "x")
        axes.margins(x=0.05 if plain else 0.4)
        style.dress(axes, key, "" if k else f"validation: {what}")
        if best is not None and k == 0:
            style.legend(axes)
    return figure


def error_curve(
    epochs: Sequence[float],
    train_loss: Sequence[float],
    val_error: Sequence[float],
    unit: str = "px",
    best: float | None = None,
    what: str = "mean radial error",
) -> Figure:
    """Training loss (log) above the validation error (named ``what``) against the epoch; ``best`` marks the kept epoch.

    NaN stands for an epoch without validation: its neighbours are joined.
    """
    figure = style.new_figure(7.0, 5.4)
    above, below = figure.subplots(2, 1, sharex=True)
    loss, error = _series("train_loss", train_loss, len(epochs)), _series("val_error", val_error, len(epochs))
    at = np.asarray(epochs, dtype=np.float64)
    above.plot(at, loss, color=style.PALETTE[0], linewidth=1.8)
    if np.nanmin(loss, initial=np.inf) > 0 and np.isfinite(loss).any():
        style.log_scale(above)
    known = np.isfinite(error)
    below.plot(
        at[known], error[known], color=style.PALETTE[1], linewidth=1.8, marker="o" if known.sum() < 40 else "", ms=3.5
    )
    if best is not None and (at == best).any() and known[at == best].any():
        value = float(error[at == best][0])
        below.plot([best], [value], marker="o", ms=8, mfc="none", mew=1.8, color=style.INK, linestyle="")
        below.annotate(
            f"best {value:.2f} {unit}, epoch {best:g}",
            (best, value),
            xytext=(0, 12),
            textcoords="offset points",
            ha="right" if best > (at[0] + at[-1]) / 2 else "left",
            fontsize=9,
            color=style.INK,
        )
    style.dress(above, "", "training loss", "Training")
    _finish_epochs(below, int(known.sum()), "no validation error was recorded")
    style.dress(below, "epoch", f"{what} ({unit})", "Validation")
    below.set_ylim(bottom=0)
    return figure


def ced_plot(
    errors: Mapping[str, npt.ArrayLike],
    threshold: float,
    unit: str = "px",
    title: str = "Cumulative error distribution",
) -> Figure:
    """Cumulative error distribution: share of errors at most x, for each method, up to ``threshold``.

    ``errors`` are arrays of any shape, NaN = not annotated, inf = not predicted.
    The share that exceeds the threshold is the failure rate.
    """
    if not threshold > 0:
        raise DataError(f"ced: expected a threshold above 0 {unit}, got {threshold}; give the largest error to show")
    figure = style.new_figure(6.4, 4.4)
    axes = figure.subplots()
    for i, (name, values) in enumerate(errors.items()):
        known = np.sort(_annotated(values))
        if known.size == 0:
            continue
        shown = known[known <= threshold]
        share = np.arange(shown.size + 1) / known.size
        label = f"{name} ({100 * (1 - share[-1]):.1f} % above {threshold:g})"
        x, y = np.concatenate([[0.0], shown, [threshold]]), np.append(share, share[-1])
        axes.step(x, y, where="post", label=label, linewidth=1.8, **style.line_style(i))
    style.dress(axes, f"error ({unit})", "share of errors at most x", title)
    axes.set_xlim(0, threshold)
    axes.set_ylim(0, 1.01)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if not axes.get_lines():
        style.empty_note(axes, "no error is known")
    style.legend(axes)
    return figure


def per_landmark_bars(
    errors: Mapping[str, npt.ArrayLike], unit: str = "px", most: int = 60, title: str = "Error per landmark"
) -> Figure:
    """Radial errors per landmark, largest median on top: box = quartiles, whiskers = 5 % and 95 %, diamond = mean.

    ``errors`` maps each landmark to its errors, NaN = not annotated, inf = not predicted (counted, not drawn).
    Beyond ``most`` landmarks the worst are shown.
    """
    known = {name: _known(values) for name, values in errors.items()}
    ranked = sorted((name for name in known if known[name].size), key=lambda name: float(np.median(known[name])))
    shown = ranked[-most:]
    figure = style.new_figure(7.0, max(2.2, 1.0 + 0.24 * len(shown)))
    axes = figure.subplots()
    if shown:
        axes.boxplot(
            [known[name] for name in shown],
            orientation="horizontal",
            whis=(5, 95),
            showfliers=False,
            showmeans=True,
            patch_artist=True,
            widths=0.62,
            boxprops={"facecolor": "#cfe3f1", "edgecolor": style.PALETTE[0]},
            medianprops={"color": style.PALETTE[1], "linewidth": 2},
            whiskerprops={"color": style.PALETTE[0]},
            capprops={"color": style.PALETTE[0]},
            meanprops={"marker": "D", "markerfacecolor": style.INK, "markeredgecolor": style.INK, "markersize": 3.5},
        )
        lost = [int(np.isinf(errors[name]).sum()) for name in shown]
        counts = [
            f"n = {known[name].size}" + (f", {n} not predicted" if n else "")
            for name, n in zip(shown, lost, strict=True)
        ]
        axes.set_yticks(range(1, len(shown) + 1), [f"{name}  ({n})" for name, n in zip(shown, counts, strict=True)])
        axes.set_xlim(left=0)
    else:
        style.empty_note(axes, "no error is known")
    if len(shown) < len(ranked):
        title = f"The {most} worst of {len(ranked)} landmarks"
    style.dress(axes, f"radial error ({unit})\nbox: quartiles, whiskers: 5 % and 95 %, diamond: mean", "", title)
    axes.grid(False, axis="y")
    return figure


def time_to_accuracy(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    line: tuple[str, float] | None = None,
    what: str = "mean radial error (px, log scale)",
) -> Figure:
    """Error (log) against training minutes. ``curves``: {label: (minutes, error)}; one pair of numbers is a marker.

    ``line`` (label, error) is drawn across: the number to beat.
    """
    figure = style.new_figure(7.0, 4.4)
    axes = figure.subplots()
    for i, (label, (minutes, error)) in enumerate(curves.items()):
        values = _series(label, error, len(minutes))
        marker: dict[str, Any] = {"marker": "D", "markersize": 8} if len(minutes) == 1 else {}
        axes.plot(minutes, values, label=label, linewidth=1.9, **marker, **style.line_style(i))
    if line is not None:
        axes.axhline(line[1], color=style.INK, linewidth=1.1, linestyle=(0, (2, 2)))
        at: dict[str, Any] = {"xytext": (-4, 4), "textcoords": "offset points", "fontsize": 9, "ha": "right"}
        axes.annotate(line[0], (1.0, line[1]), xycoords=("axes fraction", "data"), color=style.INK, **at)
    style.dress(axes, "training time (minutes)", what, "Time to accuracy")
    axes.set_xlim(left=0)
    _log_if_positive(axes)
    if not curves:
        style.empty_note(axes, "no run was given")
    style.legend(axes)
    return figure


def comparison(
    settings: Mapping[str, tuple[Sequence[float], npt.ArrayLike]], title: str = "", against: str = "epoch"
) -> Figure:
    """Error against the epoch, or another number, for several settings of one experiment.

    ``settings``: {label: (epochs (E,), errors (E,) or (seeds, E))}; seeds give a mean line within their range.
    """
    figure = style.new_figure(7.8, 4.6)
    axes = figure.subplots()
    drawn = 0
    for i, (label, (epochs, errors)) in enumerate(settings.items()):
        seeds = np.atleast_2d(np.asarray(errors, dtype=np.float64))
        if seeds.ndim != 2 or seeds.shape[1] != len(epochs):
            raise DataError(f"{label}: expected errors (seeds, {len(epochs)}), got {np.shape(errors)}")
        known = np.isfinite(seeds).any(axis=0)
        if not known.any():
            continue
        at, seeds = np.asarray(epochs, dtype=np.float64)[known], seeds[:, known]
        axes.plot(at, np.nanmean(seeds, axis=0), label=label, linewidth=1.8, **style.line_style(i))
        if len(seeds) > 1:
            low, high = np.nanmin(seeds, axis=0), np.nanmax(seeds, axis=0)
            axes.fill_between(at, low, high, color=style.line_style(i)["color"], alpha=0.15, linewidth=0)
        drawn += 1
    style.dress(axes, against, "mean radial error (px, log scale)", title or "Settings compared")
    _finish_epochs(axes, drawn, "no run has finished an epoch")
    _log_if_positive(axes)
    style.legend(axes)
    return figure


def _series(name: str, values: Sequence[float], count: int) -> FloatArray:
    series = np.asarray(values, dtype=np.float64)
    if series.shape != (count,):
        raise DataError(f"{name}: expected {count} values, one per point of the x axis, got {series.shape}")
    return series


def _annotated(values: npt.ArrayLike) -> FloatArray:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[~np.isnan(flat)]


def _known(values: npt.ArrayLike) -> FloatArray:
    flat = np.asarray(values, dtype=np.float64).ravel()
    return flat[np.isfinite(flat)]


def _band(axes: Axes, epochs: Sequence[float], table: Mapping[str, FloatArray]) -> None:
    stack = np.stack(list(table.values()))
    known = np.isfinite(stack).any(axis=0)
    at = np.asarray(epochs, dtype=np.float64)[known]
    stack = stack[:, known]
    if at.size == 0:
        return
    for values in stack:
        axes.plot(at, values, color=style.FAINT, linewidth=0.6, alpha=0.6)
    axes.fill_between(
        at, np.nanmin(stack, axis=0), np.nanmax(stack, axis=0), color=style.PALETTE[5], alpha=0.18, linewidth=0
    )
    axes.plot(at, np.nanmedian(stack, axis=0), color=style.PALETTE[0], linewidth=2.2, label=f"median of {len(table)}")
    names, last = list(table), np.where(np.isfinite(stack[:, -1]), stack[:, -1], np.nan)
    for i, what in ((int(np.nanargmax(last)), "widest"), (int(np.nanargmin(last)), "sharpest")):
        colour = style.PALETTE[1] if what == "widest" else style.PALETTE[2]
        axes.plot(at, stack[i], color=colour, linewidth=1.6, label=f"{what} at the end: {names[i]}")


def _finish_epochs(axes: Axes, drawn: int, note: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if drawn and axes.dataLim.x0 >= 1:
        axes.set_xlim(left=max(axes.get_xlim()[0], 0.5))  # epochs count from 1, so none is marked before
    if drawn == 0:
        style.empty_note(axes, note)


def _log_if_positive(axes: Axes) -> None:
    """Log scale with plain numbers, only when everything drawn is above 0."""
    heights = [_known(np.asarray(line.get_ydata(), dtype=np.float64)) for line in axes.get_lines()]
    joined = np.concatenate(heights) if heights else np.empty(0)
    if joined.size == 0 or joined.min() <= 0:
        axes.set_ylim(bottom=0)
        return
    style.log_scale(axes)
    if joined.max() / joined.min() < 100:  # too few decades for ticks at powers of ten alone
        axes.yaxis.set_minor_formatter(ScalarFormatter())
        axes.tick_params(which="minor", labelsize=8, colors=style.MUTED)
    axes.yaxis.set_major_formatter(ScalarFormatter())
