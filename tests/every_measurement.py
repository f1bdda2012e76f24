"""One measurement of each kind, of four landmarks."""

from __future__ import annotations

from typing import Any

MARKS_OF_ALL = ("a", "b", "c", "d")
EVERY_KIND: dict[str, Any] = {
    "bend": {"angle": ["a", "b", "c"]},
    "between": {"angle_between": [["a", "b"], ["c", "d"]]},
    "turn": {"signed_angle": [["a", "b"], ["c", "d"]]},
    "far": {"distance": ["a", "b"]},
    "ahead": {"projection": ["a", "b"], "onto": ["c", "d"]},
    "off": {"distance_to_line": ["a"], "line": ["c", "d"]},
    "size": {"centroid_size": ["a", "b", "c", "d"]},
    "share": {"ratio": [["a", "b"], ["c", "d"]]},
    "less": {"difference": ["far", "size"]},
}
