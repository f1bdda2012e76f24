"""The labels of the set that are likely wrong, by image."""

from __future__ import annotations

from typing import Any

from trigpoint.app.project import Project
from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.audit import audit


def likely_wrong(project: Project) -> dict[int, dict[str, Any]]:
    """The likeliest fault of each image, by its number. Raises DataError where there are too few labels to tell."""
    with project.lock:
        project.refresh()
        table = project.table.file
    data = LandmarkDataset.load(table, check_images=False)
    numbers = {entry.file: entry.id for entry in project.entries}
    found: dict[int, dict[str, Any]] = {}
    for one in audit(data).suspects:  # worst first
        number = numbers.get(data.samples[one.row].image)
        if number is not None and number not in found:
            score = round(one.score, 2)
            found[number] = {"score": score, "kind": one.kind, "landmarks": one.landmarks, "expected": one.expected}
    return found
