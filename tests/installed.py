"""Which packages are installed does not change while tests run: looking through them takes a sixth of a tiny training.

Imported before Lightning, which looks for callbacks of other packages with every trainer.
"""

from __future__ import annotations

from functools import cache
from importlib import metadata

metadata.entry_points = cache(metadata.entry_points)  # type: ignore[assignment]
