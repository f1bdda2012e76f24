"""Whether what a run says of its own errors is true on these images: radii, and the images that it flags."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trigpoint.landmarks import FloatArray, Prediction
from trigpoint.metrics.summary import mean_interval
from trigpoint.metrics.trust import Trust

LARGE = 0.1  # share of the points that count as large errors
_THIRDS = ("easy", "middle", "hard")


def trust_numbers(
    found: Prediction, errors: FloatArray, trust: Trust | None, subjects: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers, and what belongs under ``ci95``: intervals over the ``subjects`` (N,) by key.

    ``radius``: share of the ``errors`` (N, K), original pixels, within the radius, in all and in thirds by doubt;
    ``flagged``: share of the images flagged, and of the largest tenth of the errors (from ``large_px`` on) in them.

    Nothing where the run has no radii, or no ``trust``.
    """
    numbers, intervals = dict[str, Any](), dict[str, Any]()
    radius, known = found.radius, np.isfinite(errors)
    judged = known & np.isfinite(radius)
    if judged.any():
        within = (errors <= radius)[judged]
        numbers["radius"] = {"promised": found.coverage, "held": _share(within)}
        hits = np.where(judged, errors <= radius, np.nan)
        intervals["radius"] = mean_interval(hits, subjects, "share")
        numbers["radius"]["median_px"] = round(float(np.median(radius[judged])), 4)
        if trust is not None:
            doubts = found.doubts[judged]
            third = np.digitize(doubts, np.quantile(doubts, [1 / 3, 2 / 3]))
            numbers["radius"] |= {
                name: _share(within[third == i]) for i, name in enumerate(_THIRDS) if (third == i).any()
            }
    if trust is not None and known.any():
        flags = np.array([bool(flag) for flag in trust.flags(found.detections)])
        limit = float(np.quantile(errors[known], 1 - LARGE))
        large = known & (errors > limit)
        numbers["flagged"] = {"images": _share(flags), "large_px": round(limit, 4)}
        numbers["flagged"]["large_errors"] = _share(np.broadcast_to(flags[:, None], large.shape)[large])
    return numbers, intervals


def _share(values: np.ndarray) -> float:
    return round(float(values.mean()), 4) if values.size else float("nan")
