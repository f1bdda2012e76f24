"""``python two_entry.py OUT RECIPE...``: trains each recipe file into a folder of OUT, all in the same two processes.

Lightning starts the second one with the same arguments. What one process draws for a whole batch, two draw for halves
of it, so nothing is drawn here: see ``faults.still``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for the process that Lightning starts

from faults import still

from trigpoint.recipe import load_recipe
from trigpoint.training import train

if __name__ == "__main__":
    out, *files = map(Path, sys.argv[1:])
    still()
    for file in files:
        train(load_recipe(file), out=out / file.stem, progress=False)
