"""The faults are those of the tests of training, the damaged files those of the tests of data."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("training", "data"):
    sys.path.append(str(Path(__file__).parents[1] / room))
