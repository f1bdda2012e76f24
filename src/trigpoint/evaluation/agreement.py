"""How far annotators agree: landmark by landmark, pair by pair, and where they disagree most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from trigpoint.data import LandmarkDataset
from trigpoint.data.annotators import stacked
from trigpoint.errors import DataError
from trigpoint.landmarks import FloatArray, Sample
from trigpoint.metrics.agreement import intraclass_correlation, limits_of_agreement
from trigpoint.metrics.functional import radial_error

POOLED = "all landmarks"
EVERYBODY = "all annotators"


@dataclass(frozen=True)
class Agreement:
    """Numbers of annotators who labelled the same images.

    ``rows``: for each pair, and for all of them where there are more than two, one row per landmark and one pooled;
    ``worst``: the labels that lie furthest apart. ``unit`` of bias and limits is mm where the pixel size of all images
    is known, else px. ``images`` is how many images at least two have labelled.
    """

    rows: list[dict[str, Any]]
    worst: list[dict[str, Any]]
    unit: str
    images: int


def agreement(sets: Mapping[str, LandmarkDataset], worst: int = 10) -> Agreement:
    """Compare the labels of each two annotators, first minus second; NaN where nothing can be said.

    An ICC is that of the coordinates of one landmark in all images. The pooled one is the mean over landmarks: between
    landmarks coordinates differ so much that their own would always be near 1. Raises DataError where no two annotators
    have labelled a landmark in the same image.
    """
    images, names, points, seen = stacked(sets)
    points = np.where((seen > 0)[..., None], points, np.nan)
    spacing = np.array([sample.spacing_mm or (np.nan, np.nan) for sample in images])
    both = np.isfinite(points).all(-1).sum(0) >= 2
    if not both.any():
        got = f"got none in {len(images)} images of {', '.join(sets)}"
        raise DataError(f"annotators: expected a landmark that two labelled in one image, {got}; label the same images")
    unit = "mm" if np.isfinite(spacing[both.any(1)]).all() else "px"
    scale = spacing if unit == "mm" else np.ones_like(spacing)
    rows: list[dict[str, Any]] = []
    pairs = [*combinations(range(len(sets)), 2)]
    people = [*sets]
    distances = {pair: _distances(points, pair) for pair in pairs}
    for pair in pairs:
        name = " - ".join(people[i] for i in pair)
        rows += _rows(name, names, points[list(pair)] * scale[:, None], [distances[pair]], scale, unit)
    if len(sets) > 2:
        rows += _rows(EVERYBODY, names, points * scale[:, None], [*distances.values()], scale, unit)
    found = list(_worst(sets, images, names, points, scale, worst, unit))
    return Agreement(rows, found, unit, int(both.any(1).sum()))


def _distances(points: FloatArray, pair: tuple[int, int]) -> FloatArray:
    """Differences (N, K, 2) of two annotators, NaN where one of them has no label."""
    out: FloatArray = points[pair[0]] - points[pair[1]]
    return out


def _rows(
    name: str,
    names: tuple[str, ...],
    points: FloatArray,
    apart: list[FloatArray],
    scale: FloatArray,
    unit: str,
) -> Iterator[dict[str, Any]]:
    """One row per landmark, and one of all. ``points`` (A, N, K, 2) in ``unit``, ``apart`` in pixels."""
    iccs = [[intraclass_correlation(points[:, :, k, axis].T) for axis in (0, 1)] for k in range(len(names))]
    pooled = [float(np.nanmean(own)) if np.isfinite(own).any() else np.nan for own in np.transpose(iccs)]
    for k, landmark in enumerate([*names, POOLED]):
        kept = slice(None) if landmark == POOLED else slice(k, k + 1)
        own = [part[:, kept] for part in apart]
        scaled = [part * scale[:, None] for part in own]
        px, there = _mean_length(own), sum(int(np.isfinite(part[..., 0]).any(axis=1).sum()) for part in own)
        row = {"annotators": name, "landmark": landmark, "images": there if len(own) == 1 else None, "mre_px": px}
        if unit == "mm":
            row["mre_mm"] = _mean_length(scaled)
        for axis, letter in enumerate("xy"):
            bias, low, high = limits_of_agreement(scaled[0][..., axis]) if len(own) == 1 else (np.nan,) * 3
            row |= {f"bias_{letter}_{unit}": bias, f"low_{letter}_{unit}": low, f"high_{letter}_{unit}": high}
        x, y = pooled if landmark == POOLED else iccs[k]
        yield row | {"icc_x": x, "icc_y": y}


def _mean_length(apart: list[FloatArray]) -> float:
    lengths = np.concatenate([radial_error(part, np.where(np.isfinite(part), 0.0, np.nan)).ravel() for part in apart])
    known = lengths[np.isfinite(lengths)]
    return float(known.mean()) if len(known) else float("nan")


def _worst(
    sets: Mapping[str, LandmarkDataset],
    images: list[Sample],
    names: tuple[str, ...],
    points: FloatArray,
    scale: FloatArray,
    count: int,
    unit: str,
) -> Iterator[dict[str, Any]]:
    """The landmarks of images whose two furthest labels lie furthest apart, each once."""
    people, pairs = [*sets], [*combinations(range(len(points)), 2)]
    lengths = np.stack([np.linalg.norm(_distances(points, pair) * scale[:, None], axis=-1) for pair in pairs])
    known = np.where(np.isfinite(lengths), lengths, -1.0)
    furthest, which = known.max(0), known.argmax(0)
    data = next(iter(sets.values()))
    for place in np.argsort(-furthest, axis=None, kind="stable")[:count].tolist():
        n, k = divmod(place, len(names))
        if furthest[n, k] >= 0:
            who = " - ".join(people[i] for i in pairs[which[n, k]])
            pixels = float(np.linalg.norm(_distances(points, pairs[which[n, k]])[n, k]))
            row = {"image": data.image_name(images[n]), "landmark": names[k], "annotators": who, "px": pixels}
            yield row | ({"mm": float(furthest[n, k])} if unit == "mm" else {})
