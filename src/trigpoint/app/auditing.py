"""The labels of the set that are likely wrong, by image."""

from __future__ import annotations

import statistics
from typing import Any

from trigpoint.app.project import Project
from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.apart import copies_apart, with_copies
from trigpoint.data.quality.audit import audit
from trigpoint.errors import DataError

SURE = 3.0  # times the usual score of an image, from which its labels are looked at again before others are made
MOST_READ = 1000  # images of a set that are looked at for copies while the page waits


def likely_wrong(project: Project) -> dict[int, dict[str, Any]]:
    """The likeliest fault of each image, by its number. Raises DataError where there are too few labels to tell."""
    with project.lock:
        project.refresh()
        table = project.table.file
    data = LandmarkDataset.load(table, check_images=False)
    numbers = {entry.file: entry.id for entry in project.entries}
    found: dict[int, dict[str, Any]] = {}
    audited = audit(data)
    copies = copies_apart(data, audited) if len(data) <= MOST_READ else []
    for one in with_copies(audited, copies):  # worst first
        number = numbers.get(data.samples[one.row].image)
        if number is not None and number not in found:
            score = round(one.score, 2)
            found[number] = {"score": score, "kind": one.kind, "landmarks": one.landmarks, "expected": one.expected}
    return found


def surely_wrong(project: Project) -> dict[int, str]:
    """What is wrong with the labels that are far more likely wrong than is usual in the set, by image, in words."""
    try:
        found = likely_wrong(project)
    except DataError:  # too few labels to tell
        return {}
    usual = statistics.median(one["score"] for one in found.values())
    far = {number: one for number, one in found.items() if one["score"] > SURE * usual}
    return {number: " ".join([one["kind"], " and ".join(one["landmarks"])]).strip() for number, one in far.items()}
