"""The foveated pyramid at the size of a radiograph: what a prediction on one core takes, and how much is looking.

All numbers are of ``benchmarks.prediction``: one network for all landmarks, untrained, one thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.prediction import Case, Cost, measure
from benchmarks.timing import Row

SHARE_TARGET = 0.10
DIFFERENCE_TARGET = 0.01  # px
TRUNKS = ("resnet34", "small")
LOOKING = ("pyramid", "glimpses")


def rows(size: tuple[int, int], landmarks: int, rounds: int, trunks: Iterable[str] = TRUNKS) -> list[Row]:
    """Time and memory, share of looking, and a batch against single images, for each trunk; ``size`` is (H, W)."""
    found = []
    for trunk in trunks:
        method = {"name": "foveated", "shared": True, "trunk": trunk, "iterations": 3}
        cost = measure(Case(method, size, landmarks, rounds=rounds, batch=2))
        if isinstance(cost, str):
            raise RuntimeError(f"prediction at {size} was not measured: {cost}")
        found += _rows(f"{trunk}, {size[0]} x {size[1]}, {landmarks} landmarks, 3 iterations", cost)
    return found


def _rows(shape: str, cost: Cost) -> list[Row]:
    looking = sum(cost.parts[part] for part in LOOKING)
    share, prepared = looking / cost.seconds, cost.parts["preparation"]
    memory = f"{cost.peak_mb:.0f} MB, {cost.before_mb:.0f} before it"
    off = cost.difference or 0.0
    return [
        Row(f"prediction on one core ({shape})", f"{cost.seconds:.2f} s", "", memory, "", None),
        Row(
            f"pyramid and glimpses ({shape})",
            f"{looking * 1e3:.0f} ms",
            f"whole prediction: {cost.seconds * 1e3:.0f} ms",
            f"{share:.1%}",
            f"< {SHARE_TARGET:.0%}",
            share < SHARE_TARGET,
        ),
        Row(
            f"preparation of the image ({shape})",
            f"{prepared * 1e3:.0f} ms",
            f"whole prediction: {cost.seconds * 1e3:.0f} ms",
            f"{prepared / cost.seconds:.1%}",
            "",
            None,
        ),
        Row(
            f"two images at once ({shape})",
            "",
            "one by one",
            f"{off:.1g} px apart",
            f"<= {DIFFERENCE_TARGET:g} px",
            off <= DIFFERENCE_TARGET,
        ),
    ]
