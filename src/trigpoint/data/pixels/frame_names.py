"""What a frame of a video is called as an image, and of which video an image of such a name is."""

import re

_FRAME = re.compile(r"(.+)_[0-9]{6}\.png", re.DOTALL)
_NUMBERED = re.compile(r"(.*[^0-9])[0-9]+(?:\.[A-Za-z0-9]+)+", re.DOTALL)


def frame_name(video: str, index: int) -> str:
    """The name of the ``index``-th frame, from 0, of a video whose file is called ``video`` without its suffix.

    >>> frame_name("mouse1", 10)
    'mouse1_000010.png'
    """
    return f"{video}_{index:06d}.png"


def video_of(name: str) -> str:
    """The video of a frame that is called as ``frame_name`` calls it; "" for any other name.

    >>> video_of("mouse1_000010.png"), video_of("mouse1.png")
    ('mouse1', '')
    """
    found = _FRAME.fullmatch(name)
    return found[1] if found else ""


def stem_of(name: str) -> str:
    """What stands before the number of an image that other tools may have named as a frame; "" without a number.

    >>> stem_of("mouse-0010.jpg"), stem_of("img7.png"), stem_of("0007.png"), stem_of("left.png")
    ('mouse', 'img', '', '')
    """
    found = _NUMBERED.fullmatch(name)
    return found[1].rstrip("_-. ") if found else ""
