"""Which of the points found belong to the same object: nearest first, at most one of each landmark. Beyond the papers.

Heatmaps find each landmark for itself. Here the points of an image become rows, one per object: the nearest two that
can be joined are joined, until none are left (agglomeration by single links, as Kruskal's spanning tree).
"""

import numpy as np

from trigpoint.landmarks import FloatArray


def group_by_proximity(points: FloatArray, scores: FloatArray, reach: float) -> tuple[FloatArray, FloatArray]:
    """Points (G, K, 2) and scores (G, K) of G objects, from points (N, K, 2) and scores (N, K) in any rows, NaN = none.

    Two landmarks are joined when they are at most ``reach`` apart, in the unit of the points, and the objects they
    belong to have no landmark in common; the shortest distance first. Nothing is lost or doubled: what has no partner
    is an object of its own. The object with the highest mean score comes first.

    >>> nan = float("nan")
    >>> points = np.array([[[0.0, 0.0], [52.0, 0.0]], [[50.0, 0.0], [3.0, 0.0]], [[90.0, 90.0], [nan, nan]]])
    >>> found, scores = group_by_proximity(points, np.array([[0.9, 0.8], [0.7, 0.6], [0.5, nan]]), reach=10.0)
    >>> found[:2, :, 0].tolist(), scores[2].tolist()
    ([[0.0, 3.0], [50.0, 52.0]], [0.5, nan])
    """
    rows, marks = np.nonzero(np.isfinite(points).all(-1))
    places, heights = points[rows, marks], scores[rows, marks]
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    near = np.triu((apart <= reach) & (marks[:, None] != marks[None]), 1)
    links = np.argwhere(near)[np.argsort(apart[near], kind="stable")]  # the nearest pair first
    object_of = list(range(len(places)))
    members = [{n} for n in object_of]
    for a, b in links.tolist():
        one, other = object_of[a], object_of[b]
        if one != other and not {int(marks[n]) for n in members[one]} & {int(marks[n]) for n in members[other]}:
            members[one] |= members[other]
            for n in members[other]:
                object_of[n] = one
            members[other] = set()
    objects = [sorted(group) for group in members if group]
    objects.sort(key=lambda group: -float(heights[group].mean()))
    found = np.full((len(objects), points.shape[1], 2), np.nan)
    certain = np.full(found.shape[:2], np.nan)
    for row, group in enumerate(objects):
        found[row, marks[group]], certain[row, marks[group]] = places[group], heights[group]
    return found, certain
