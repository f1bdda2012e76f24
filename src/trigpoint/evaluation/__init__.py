"""A run on data: numbers, and the report that shows them."""

from __future__ import annotations

from trigpoint.evaluation.instances import InstanceReport
from trigpoint.evaluation.measure import LandmarkReport, evaluate
from trigpoint.evaluation.report import Report

__all__ = ["InstanceReport", "LandmarkReport", "Report", "evaluate"]
