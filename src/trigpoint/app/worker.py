"""A process of its own that predicts: a run's name in, then an image a line in and its points a line out, as JSON.

Begun by ``predictions.py`` as ``python -m trigpoint.app.worker RUN``; it ends when its input ends, or with its parent.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

import numpy as np

from trigpoint.errors import TrigpointError, end_with_parent

MOST = 50  # objects of an image that are passed on


def main(run: str, lines: TextIO, out: TextIO) -> None:
    """Answer each line until there is none."""
    from trigpoint.prediction import Predictor

    def say(**values: Any) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    try:
        predictor = Predictor.load(run)
    except TrigpointError as error:
        say(failed=str(error))
        return
    say(landmarks=predictor.landmarks.names, instances=predictor.threshold is not None)
    for line in lines:
        asked = json.loads(line)
        try:
            found = predictor.predict([asked["file"]])[0]
            rows = [
                [
                    [*point, score] if np.isfinite([*point, score]).all() else None
                    for point, score in zip(*row, strict=True)
                ]
                for row in zip(found.points.round(2).tolist(), found.scores.round(4).tolist(), strict=True)
            ]
            say(id=asked["id"], rows=rows[:MOST])
        except (TrigpointError, OSError) as error:
            say(id=asked["id"], error=str(error))


if __name__ == "__main__":
    end_with_parent()
    if hasattr(os, "nice"):
        os.nice(5)  # the page goes first
    main(sys.argv[1], sys.stdin, sys.stdout)
