"""When a training ends early, because its validation error falls no more: ``train.patience``."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def stale_validations(rows: Sequence[Mapping[str, Any]], column: str, after: int = 0) -> int:
    """How many validations have passed since the one with the least error.

    ``rows`` are those of ``metrics.csv``, one an epoch, of which ``column`` is NaN without a validation; only those
    ``after`` so many epochs count.

    >>> nan = math.nan
    >>> errors = [nan, 5.0, nan, 4.0, nan, 4.5, nan, 4.0]
    >>> stale_validations([{"val": error} for error in errors], "val")
    2
    """
    errors = [float(row[column]) for row in rows[after:]]
    measured = [error for error in errors if not math.isnan(error)]
    return len(measured) - 1 - measured.index(min(measured)) if measured else 0


class Plateau:
    """Counts validations without a smaller error, and says when there were ``patience`` of them (None: never).

    A training that is made longer counts anew from there, for somebody asked for it.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.after = 0  # epochs before those that count
        self.length: int | None = None  # epochs of the training when it was last saved

    def begin(self, rows: Sequence[Mapping[str, Any]], length: int) -> None:
        """A training of so many epochs begins, or goes on after ``rows``."""
        if self.length is not None and length > self.length:
            self.after = len(rows)
        self.length = length

    def reached(self, rows: Sequence[Mapping[str, Any]], column: str) -> bool:
        """Whether training has to end after ``rows``."""
        return self.patience is not None and stale_validations(rows, column, self.after) >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training has to know."""
        return {"after": self.after, "length": self.length}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where ``state_dict`` was called."""
        self.after, self.length = int(state["after"]), state["length"]


def ended_early(rows: Sequence[Mapping[str, Any]], patience: int | None) -> bool:
    """Whether a run whose training is over ended before its last epoch, by the rows of its ``metrics.csv``."""
    columns = [key for key in rows[0] if key.startswith("val_")] if rows else []
    return patience is not None and bool(columns) and stale_validations(rows, columns[0]) >= patience
