"""Measurement of ratios on a machine that is never quiet, and the table they are printed in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table; ``met`` is None where nothing was compared."""

    measure: str
    ours: str
    other: str
    result: str
    target: str
    met: bool | None


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(ours: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median of other / ours over rounds that measure one right after the other.

    A disturbance that lasts longer than a round slows both and leaves the ratio alone. A first round warms up. Within a
    round ours is called several times, so that a fast function is not measured by a single call.
    """
    first, reference = seconds(ours), seconds(other)
    calls = max(1, min(50, round(reference / max(first, 1e-9) / 4)))
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(statistics.median(seconds(ours) for _ in range(calls)))
        theirs.append(seconds(other))
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    return statistics.median(mine), statistics.median(theirs), statistics.median(ratios)


def table(rows: list[Row]) -> str:
    """Rows as a markdown table."""
    words = {None: "", True: "yes", False: "**no**"}
    head = ["measure", "trigpoint", "compared with", "result", "target", "met"]
    lines = [[row.measure, row.ours, row.other, row.result, row.target, words[row.met]] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])
