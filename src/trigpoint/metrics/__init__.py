"""Metrics in pixels of the original image, or in mm; they know nothing of strides, resizes or networks.

``functional`` the formulas (MRE, SDR, NME, CED, AUC, FR, bootstrap); ``detection`` several instances per image;
``smoothness`` the normalised total variation of filters.
"""

from __future__ import annotations

from trigpoint.metrics.detection import Matches, match_instances
from trigpoint.metrics.functional import (
    area_under_ced,
    bootstrap_interval,
    cumulative_error,
    failure_rate,
    image_errors,
    mean_error,
    mean_radial_error,
    median_error,
    normalized_error,
    normalized_mean_error,
    normalizer_lengths,
    radial_error,
    standard_deviation,
    success_detection_rate,
    success_rate,
    to_millimetres,
)
from trigpoint.metrics.smoothness import normalized_total_variation

__all__ = [
    "radial_error",
    "mean_radial_error",
    "success_detection_rate",
    "normalized_mean_error",
    "cumulative_error",
    "area_under_ced",
    "failure_rate",
    "normalized_total_variation",
    "match_instances",
    "Matches",
    "bootstrap_interval",
    "image_errors",
    "mean_error",
    "median_error",
    "normalized_error",
    "normalizer_lengths",
    "standard_deviation",
    "success_rate",
    "to_millimetres",
]
