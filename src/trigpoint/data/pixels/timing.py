"""Whether the frames of a video come at an even rate, from the times that the container gives them."""

from collections.abc import Sequence

import numpy as np

_LATE = 1.5  # usual steps between two frames above which one is missing between them
_UNEVEN = 0.1  # of the usual step, by which steps of an even rate may differ
_MANY = 0.05  # share of uneven steps from which the whole rate is called uneven


def timing_notes(times: Sequence[float | None], resolution: float = 0.0, first: int = 0, every: int = 1) -> list[str]:
    """What is wrong with the times (seconds) of frames ``first``, ``first + every``, ...; nothing of an even video.

    ``resolution``: seconds by which the container rounds times.

    >>> timing_notes([0.0, 0.04, 0.08, 0.12]), timing_notes([])
    ([], [])
    >>> timing_notes([0.0, 0.04, 0.08, 0.2, 0.24, 0.28])
    ['1 gap between frames, about 2 frames are missing; the longest is 0.12 s after frame 2']
    """
    lacking = sum(time is None for time in times)
    notes = [f"{_of(lacking, len(times))} no time"] if lacking else []
    seconds = np.array([np.nan if time is None else time for time in times], np.float64)
    steps = np.diff(seconds)  # NaN beside a frame without a time
    if (back := np.flatnonzero(steps <= 0)).size:
        wrong = "a time that is not after that of the frame before"
        notes.append(f"{_of(back.size, len(times))} {wrong}, the first is frame {first + every * int(back[0] + 1)}")
    forward = steps[steps > 0]
    if forward.size < 2:
        return notes
    usual = float(np.median(forward))
    slack = 1.01 * max(resolution, _UNEVEN * usual)
    late = np.flatnonzero(steps > max(_LATE * usual, usual + slack))
    uneven = np.flatnonzero((np.abs(steps - usual) > slack) & (steps > 0))
    if uneven.size > max(_MANY * steps.size, late.size):
        ends = f"{forward.min():.3f} to {forward.max():.3f} s"
        notes.append(f"the frame rate varies: {ends} from frame to frame, usually {usual:.3f} s")
    elif late.size:
        lost = int(np.rint(steps[late] / usual - 1).sum())
        at = late[np.argmax(steps[late])]
        gaps = f"{late.size} gap{'s' if late.size > 1 else ''} between frames"
        missing = f"about {lost} frame{'s are' if lost != 1 else ' is'} missing"
        notes.append(f"{gaps}, {missing}; the longest is {steps[at]:.2f} s after frame {first + every * int(at)}")
    return notes


def repeat_note(repeated: Sequence[int], frames: int) -> list[str]:
    """What to tell of frames whose pixels are exactly those of the frame before."""
    if not repeated:
        return []
    fix = "they were recorded twice, or nothing moved"
    return [f"{len(repeated)} of {frames} frames repeat the frame before, the first is frame {repeated[0]}: {fix}"]


def _of(count: int, total: int) -> str:
    return f"{count} of {total} frames {'has' if count == 1 else 'have'}"
