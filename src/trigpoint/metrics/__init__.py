"""Metrics in pixels of the original image, or in mm; they know nothing of strides, resizes or networks.

``functional`` the formulas (MRE, SDR, NME, CED, AUC, FR, bootstrap); ``detection`` matching and counts of several
instances per image, ``detection_report`` their precision, recall and F1, ``detection_curve`` these against the score
threshold; ``agreement`` of annotators; ``measurements`` the formulas of angles, lengths and ratios, ``measured`` how
well they are predicted; ``units`` lengths in mm; ``point_to_point`` the mean error per image of the cross-task paper;
``difficulty`` how errors grow from image to image, ``domain`` which images are usual, ``trust`` both;
``smoothness`` the normalised total variation of filters.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trigpoint.landmarks import CANDIDATES

if TYPE_CHECKING:
    from trigpoint.metrics.agreement import intraclass_correlation, limits_of_agreement
    from trigpoint.metrics.detection import DetectionCounts, Matches, count_detections, match_instances, matching_radius
    from trigpoint.metrics.detection_curve import PrecisionRecall, best_threshold, precision_recall
    from trigpoint.metrics.detection_report import DetectionReport, DetectionScores, detection_scores
    from trigpoint.metrics.functional import (
        MIN_SUBJECTS,
        Scale,
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
        radial_error_mm,
        standard_deviation,
        success_detection_rate,
        success_rate,
    )
    from trigpoint.metrics.measured import summarize_measurements
    from trigpoint.metrics.measurements import measure, measure_each
    from trigpoint.metrics.point_to_point import (
        PointErrorScores,
        mean_point_error,
        point_error_scores,
        stacked_point_error,
    )
    from trigpoint.metrics.smoothness import normalized_total_variation
    from trigpoint.metrics.units import to_millimetres

__all__ = [
    "CANDIDATES", "MIN_SUBJECTS", "Scale", "radial_error", "radial_error_mm", "mean_radial_error",
    "success_detection_rate", "cumulative_error", "normalized_mean_error", "area_under_ced", "failure_rate",
    "normalized_total_variation", "match_instances", "Matches", "matching_radius", "count_detections",
    "DetectionCounts", "detection_scores", "DetectionReport", "DetectionScores", "precision_recall", "PrecisionRecall",
    "best_threshold", "bootstrap_interval", "image_errors", "mean_error", "mean_point_error", "median_error",
    "normalized_error", "normalizer_lengths", "point_error_scores", "PointErrorScores", "stacked_point_error",
    "standard_deviation", "success_rate", "to_millimetres", "intraclass_correlation", "limits_of_agreement",
    "measure", "measure_each", "summarize_measurements",
]  # fmt: skip

_HOMES = {
    "agreement": "intraclass_correlation limits_of_agreement",
    "detection": "count_detections DetectionCounts match_instances Matches matching_radius",
    "detection_curve": "best_threshold precision_recall PrecisionRecall",
    "detection_report": "detection_scores DetectionReport DetectionScores",
    "functional": "MIN_SUBJECTS Scale area_under_ced bootstrap_interval cumulative_error failure_rate image_errors "
    "mean_error mean_radial_error median_error normalized_error normalized_mean_error normalizer_lengths radial_error "
    "radial_error_mm standard_deviation success_detection_rate success_rate",
    "units": "to_millimetres",
    "measured": "summarize_measurements",
    "measurements": "measure measure_each",
    "point_to_point": "mean_point_error point_error_scores PointErrorScores stacked_point_error",
    "smoothness": "normalized_total_variation",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: measuring what was predicted needs neither PyTorch nor SciPy."""
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(import_module(f"trigpoint.metrics.{home}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
