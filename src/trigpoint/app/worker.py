"""A process of its own that predicts: a run's name in, then an image a line in and its points a line out, as JSON.

With the points it says what the image looks like; of an image that is asked for with ``look``, only that.

Begun by ``predictions.py`` as ``python -m trigpoint.app.worker RUN``; it ends when its input ends, or with its parent.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from trigpoint.errors import TrigpointError, end_with_parent
from trigpoint.landmarks import FloatArray

if TYPE_CHECKING:
    from trigpoint.prediction.looks import Looks

MOST = 50  # objects of an image that are passed on


def main(run: str, lines: TextIO, out: TextIO) -> None:
    """Answer each line until there is none."""
    from trigpoint.prediction import Predictor
    from trigpoint.prediction.looks import Looks
    from trigpoint.prediction.views import predict_views
    from trigpoint.runs import RunFolder

    looks = Looks() if Looks.known() else None

    def say(**values: Any) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    try:
        predictor, together = Predictor.load(run), RunFolder(run).read_together()
    except TrigpointError as error:
        say(failed=str(error))
        return
    said = None if together is None else together._asdict()
    say(landmarks=predictor.landmarks.names, instances=predictor.threshold is not None, together=said)
    for line in lines:
        asked = json.loads(line)
        try:
            if asked.get("look"):
                say(id=asked["id"], look=_look(looks, asked["file"]))
                continue
            found, apart = predict_views(predictor, asked["file"])
            rows = [_marks(points, scores, apart) for points, scores in zip(found.points, found.scores, strict=True)]
            say(id=asked["id"], rows=rows[:MOST], look=_look(looks, asked["file"]))
        except (TrigpointError, OSError) as error:
            say(id=asked["id"], error=str(error))


def _look(looks: Looks | None, file: str) -> list[float] | None:
    """What an image looks like; None where it is read by tiles, or the weights for it are missing."""
    from trigpoint.data.pixels.images import read_image
    from trigpoint.prediction.base import is_lazy

    if looks is None or is_lazy(file):
        return None
    return [round(value, 4) for value in looks.of([read_image(file)])[0].tolist()]


def _marks(points: FloatArray, scores: FloatArray, apart: FloatArray) -> list[list[float | None] | None]:
    """x, y, score and how far views lie apart of each landmark of an object; None where there is none."""
    marks: list[list[float | None] | None] = []
    for (x, y), score, spread in zip(points.tolist(), scores.tolist(), apart.tolist(), strict=True):
        known = math.isfinite(x) and math.isfinite(y) and math.isfinite(score)
        spread = round(spread, 2) if math.isfinite(spread) else None
        marks.append([round(x, 2), round(y, 2), round(score, 4), spread] if known else None)
    return marks


if __name__ == "__main__":
    end_with_parent()
    if hasattr(os, "nice"):
        os.nice(5)  # the page goes first
    main(sys.argv[1], sys.stdin, sys.stdout)
