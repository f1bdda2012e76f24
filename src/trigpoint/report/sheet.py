"""A contact sheet: many annotated images at a glance, so that a person sees what a program cannot."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from trigpoint.data import LandmarkDataset
from trigpoint.data.pixels.images import read_image
from trigpoint.data.table import Table
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet, Sample
from trigpoint.report import style
from trigpoint.report.overlays import image_panels, skeleton_lines

_SIDES = {"first of a pair": "#E69F00", "second of a pair": "#56B4E9", "unpaired": "#ffffff"}
_TEXT = 6.5  # size of names
_NUMBERED = 30  # landmarks up to which points are numbered, where they are too many to be named
_BLANK: npt.NDArray[np.uint8] = np.full((96, 96), 236, dtype=np.uint8)


def contact_sheet(
    dataset: Table | LandmarkDataset, count: int = 24, columns: int = 6, numbers: bool | None = None
) -> Figure:
    """``count`` images spread evenly over the set, with their landmarks, row, split and name.

    The first landmark of each left/right pair is orange, the second blue, so a swap shows as a wrong colour. Up to 12
    landmarks are named. ``numbers``: instead they have their number from 1 on, so that a wrong order shows, and the key
    below says which is which; None: from 13 to 30 landmarks. Occluded landmarks are hollow. Several instances in one
    image are drawn into one panel. An image that cannot be read gets a blank panel that says why. Raises DataError when
    the set has no row or ``count`` is below 1.
    """
    if count < 1 or not dataset.samples:
        raise DataError(f"contact sheet: expected rows to show, got {len(dataset.samples)} rows, {count} wanted")
    groups: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        groups.setdefault(str(sample.image), []).append(sample)
    keys = list(groups)
    chosen = [groups[keys[i]] for i in np.unique(np.linspace(0, len(keys) - 1, min(count, len(keys))).astype(int))]
    pictures: list[npt.NDArray[Any]] = []
    faults: list[str] = []
    for samples in chosen:
        try:
            pictures.append(read_image(samples[0].image).pixels)
            faults.append("")
        except DataError as error:
            pictures.append(_BLANK)
            faults.append(str(error).removeprefix(f"{samples[0].image}: "))
    figure, panels = image_panels(pictures, [_caption(samples) for samples in chosen], columns)
    colours, names = _colours(dataset.landmarks), dataset.landmarks.names
    if numbers is None:
        numbers = style.NAMED < len(names) <= _NUMBERED
    labels = [str(k + 1) for k in range(len(names))] if numbers else names if len(names) <= style.NAMED else ()
    for axes, samples, fault in zip(panels, chosen, faults, strict=True):
        if fault:
            place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
            axes.text(0.5, 0.5, textwrap.fill(fault, 26), color="#a33b00", fontsize=7, **place)
            continue
        for sample in samples:
            _draw(axes, sample, dataset.landmarks, colours, labels)
    if numbers:
        _number_key(figure, names)
    _key(figure, set(colours), any((s.visibility == 1).any() for samples in chosen for s in samples))
    return figure


def _colours(landmarks: LandmarkSet) -> list[str]:
    sides = dict.fromkeys(landmarks.names, _SIDES["unpaired"])
    for first, second in landmarks.pairs:
        sides[first], sides[second] = _SIDES["first of a pair"], _SIDES["second of a pair"]
    return list(sides.values())


def _caption(samples: Sequence[Sample]) -> str:
    sample = samples[0]
    name = sample.image.name if len(sample.image.name) <= 28 else "…" + sample.image.name[-27:]
    more = f", {len(samples)} instances" if len(samples) > 1 else ""
    return f"row {sample.row}{more}" + (f" · {sample.split}" if sample.split else "") + f"\n{name}"


def _draw(axes: Axes, sample: Sample, landmarks: LandmarkSet, colours: Sequence[str], labels: Sequence[str]) -> None:
    names = landmarks.names
    size = 2.6 if len(names) > 30 else 4.5 if len(names) <= style.NAMED else 3.4
    for line in skeleton_lines(landmarks, np.where(sample.visibility[:, None] > 0, sample.points, np.nan)):
        x, y = line.T
        axes.plot(x, y, "-", color="#ffffffc0", linewidth=0.8, zorder=1.5, path_effects=style.EDGE)
    for k, (point, seen, colour) in enumerate(zip(sample.points, sample.visibility, colours, strict=True)):
        if seen == 0 or not np.isfinite(point).all():
            continue
        face: dict[str, Any] = {"markerfacecolor": colour if seen == 2 else "none", "path_effects": style.EDGE}
        axes.plot([point[0]], [point[1]], "o", color=colour, markersize=size, markeredgewidth=1.1, **face)
        if labels:
            style.note(axes, labels[k], point, (3, 2), _TEXT if len(names) <= style.NAMED else _TEXT - 1.2)


def _number_key(figure: Figure, names: Sequence[str]) -> None:
    """Which landmark has which number, below the panels."""
    text = "    ".join(f"{k + 1}\u00a0{name.replace(' ', chr(160))}" for k, name in enumerate(names))
    letters = max(20, int(19 * figure.get_figwidth()))  # that fit in a line of this size
    wrapped = textwrap.fill(text, letters, break_long_words=False, break_on_hyphens=False)
    figure.supxlabel(wrapped, fontsize=7.5, color=style.INK, x=0.01, ha="left", linespacing=1.4)


def _key(figure: Figure, used: set[str], occluded: bool) -> None:
    dot: dict[str, Any] = {"marker": "o", "linestyle": ""}
    sides = {text: colour for text, colour in _SIDES.items() if colour in used}
    marks = {text: Line2D([], [], color=colour, mec=style.MUTED, **dot) for text, colour in sides.items()}
    if len(marks) == 1:
        marks = {}
    if occluded:
        marks["hollow: occluded"] = Line2D([], [], color=style.ON_WHITE[style.PREDICTED], mfc="none", mew=1.6, **dot)
    style.key(figure, marks)
