"""Orders that depend on names and a seed alone, so that what is drawn survives added or sorted rows."""

import hashlib
from collections.abc import Sequence


def stable_order(key: str, seed: int) -> str:
    """A pseudo-random sort key that depends on the key and the seed alone, so it survives added or reordered rows."""
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def nested_order(images: Sequence[tuple[str, str]], seed: int, across: bool = False) -> list[int]:
    """Positions of ``images``, each (group, name), in the order in which more and more of them are chosen.

    Group after group; with ``across`` one image of every group, then a second of each, and so on.

    >>> nested_order([("ann", "1"), ("ann", "2"), ("bob", "3")], seed=1)
    [2, 0, 1]
    >>> nested_order([("ann", "1"), ("ann", "2"), ("bob", "3")], seed=1, across=True)
    [2, 1, 0]
    """
    met: dict[str, int] = {}
    turns = []
    for i in sorted(range(len(images)), key=lambda i: (stable_order(images[i][1], seed), images[i][1])):
        group, name = images[i]
        turns.append((met.get(group, 0) if across else 0, stable_order(group, seed), group, name, i))
        met[group] = met.get(group, 0) + 1
    return [turn[-1] for turn in sorted(turns)]
