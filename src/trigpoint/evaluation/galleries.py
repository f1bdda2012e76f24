"""The images that a report shows: typical and worst ones with all landmarks, and the worst landmarks close by."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import numpy as np

from trigpoint.data.description import DEFAULT_TABLE
from trigpoint.evaluation.result import Result
from trigpoint.landmarks import FloatArray
from trigpoint.report.displayed import as_displayed
from trigpoint.report.overlays import Shown, counts_told, matched_points, mean_error
from trigpoint.report.views import Gallery, View, detail_view, image_view

PAGE = "http://127.0.0.1:8765/"
"""Where ``trigpoint label`` serves its page, if the port is free."""
_DETAILS = 12  # worst landmarks that are shown
_OF_ONE = 3  # of them in one image, or one bad image would hide what else is bad
_MARKS = "ring: annotated, cross: predicted, line between them: error, one colour for each landmark"
_MATCHED = "ring: annotated, cross: predicted, line between them: a pair, square: missed or false"
_JOINED = "; lines of the skeleton: blue annotated, orange and dashed predicted"


def galleries(report: Result) -> list[Gallery]:
    """Typical images, worst images and worst landmarks of a report; what has none is left out.

    Each image is read once, and only one is in memory at a time.
    """
    typical, worst = report.extremes()
    pairs = worst_landmarks(report)
    wholes, details = dict[int, View](), dict[tuple[int, int], View]()
    told, link = _telling(report), _Links(report)
    for i in dict.fromkeys([*typical, *worst, *(i for i, _ in pairs)]):
        row = report.row(i)
        image = report.dataset.read(row)
        pixels = as_displayed(image.pixels.transpose(1, 2, 0), image.window)
        address = link.of(row)
        if i in typical or i in worst:
            shown, skeletons = _shown(report, i)
            title = report.dataset.samples[row].image.name
            marks = report.dataset.landmarks
            wholes[i] = image_view(title, told(i, shown), pixels, shown, marks, skeletons, address)
        for k in (k for j, k in pairs if j == i):
            points = np.stack([report.dataset.points[i, k], report.prediction.points[i, k]])
            text = f"{report.length(i, k)} in {report.dataset.samples[row].image.name}"
            details[i, k] = detail_view(text, pixels, points, report.dataset.landmarks, k, address)
    made = [
        Gallery("Typical images", [wholes[i] for i in typical], _caption(report, 0), link.command),
        Gallery("Worst images", [wholes[i] for i in worst], _caption(report, 1), link.command),
        Gallery("Worst landmarks", [details[pair] for pair in pairs], _details_told(report), link.command, True),
    ]
    return [gallery for gallery in made if gallery.views]


def worst_landmarks(report: Result) -> list[tuple[int, int]]:
    """The (image, landmark) pairs with the largest errors, at most 3 of one image.

    None of a multi-instance run: its errors are misses and false predictions, which have no distance that could be
    ranked and nothing to be compared with close by; the squares in its worst images show them.
    """
    if report.detected is not None:
        return []
    errors = report.leading[1]
    found: list[tuple[int, int]] = []
    for flat in np.argsort(np.where(np.isfinite(errors), -errors, 0.0), axis=None, kind="stable"):
        i, k = divmod(int(flat), errors.shape[1])
        if not np.isfinite(errors[i, k]) or len(found) == _DETAILS:
            break
        if sum(j == i for j, _ in found) < _OF_ONE:
            found.append((i, k))
    return found


def _details_told(report: Result) -> str:
    lost = int(np.isinf(report.errors).sum())
    more = f"; {lost} that were not predicted are not shown" if lost else ""
    return (
        f"the largest errors, at most {_OF_ONE} of one image, around ring (annotated) and cross (predicted), from the "
        f"original pixels{more}"
    )


def _caption(report: Result, which: int) -> str:
    if report.detected is None:
        about, marks = ("nearest to the median error", "largest mean error")[which], _MARKS
    else:
        about, marks = ("as many errors as in the middle image", "most instances missed or wrong")[which], _MATCHED
    return f"{about}; {marks}" + (_JOINED if report.dataset.landmarks.skeleton else "")


def _shown(report: Result, i: int) -> tuple[Shown, list[tuple[FloatArray, bool]]]:
    """Points of an image by pairs, and the instances whose landmarks are joined by lines."""
    detected, count = report.detected, len(report.dataset.landmarks)
    if detected is None:
        truth, found = report.dataset.points[i], report.prediction.points[i]
        return Shown(truth, found, range(count)), [(truth, False), (found, True)]
    one, image = report.prediction.detections[i], detected.images[i]
    kept = np.where(one.scores[..., None] > detected.threshold, one.points, np.nan)
    radius = detected.scores.radius[[i]]
    shown = matched_points([image.points], [kept], radius, image.annotated[None])[0]
    # which predictions are of one instance is not measured, so only annotated instances are joined
    return shown, [(points, False) for points in image.points]


def _telling(report: Result) -> Callable[[int, Shown], str]:
    """Words for an image by its number and its points."""
    if report.detected is not None:
        return lambda i, shown: counts_told(shown)
    unit, errors = report.leading

    def told(i: int, shown: Shown) -> str:
        known, lost = errors[i][np.isfinite(errors[i])], mean_error(shown.truth, shown.predicted)[1]
        error = f"mean error {known.mean():.2f} {unit}" if known.size else "no error known"
        return error + (f", {lost} not predicted" if lost else "")

    return told


class _Links:
    """Where the labelling page shows images of a report, and the ``command`` that serves it."""

    def __init__(self, report: Result) -> None:
        self.dataset, self.command = report.dataset, ""
        table = report.dataset.table or report.dataset.folder
        if table is not None:  # else it was made of an array, and nothing could be corrected
            folder = Path(table).parent if Path(table).name == DEFAULT_TABLE else Path(table)
            self.command = shlex.join(["trigpoint", "label", str(folder), "--run", str(report.run.folder)])

    def of(self, row: int) -> str:
        name = self.dataset.image_name(self.dataset.samples[row])
        return f"{PAGE}?{urlencode({'name': name})}" if self.command else ""
