"""What of an image the network is shown: all of it, or the region in which landmarks are."""

import math
from dataclasses import dataclass

from trigpoint.training.planning.facts import Facts

FEWEST = 20  # images from which the place of landmarks is known well enough to leave out the rest of the image
GAIN = 1.25  # times the resolution that a region has to bring
MARGIN = 0.05  # of the box's sides on each of its sides: what is around the outermost landmarks belongs to them
SAME_SHAPE, SAME_SIZE = 1.1, 2.0  # of the most to the least: images of another framing show their landmarks elsewhere


@dataclass(frozen=True)
class View:
    """Height and width of what is shown of a typical image, original pixels, and whether images lie and stand.

    ``region``: left, top, right and bottom as shares of the image; None: all of it. ``why`` in words.
    """

    height: float
    width: float
    region: tuple[float, float, float, float] | None = None
    why: str = ""

    @property
    def longer(self) -> float:
        """The longer side."""
        return max(self.height, self.width)

    def shape(self, side: int, multiple: int) -> tuple[int, int]:
        """Height and width of an input of this longer side in the view's shape, in multiples.

        >>> View(480, 640).shape(256, 32), View(100, 1000).shape(128, 32)
        ((192, 256), (32, 128))
        """
        height, width = (
            max(multiple, multiple * math.ceil(side * edge / self.longer / multiple - 1e-9))
            for edge in (self.height, self.width)
        )
        return min(height, side), min(width, side)


def whole(facts: Facts) -> View:
    """All of the images; a square where some are wide and some high."""
    height, width = facts.size
    if 0.2 < facts.portrait < 0.8:
        height = width = max(height, width)
    return View(height, width)


def region_view(facts: Facts) -> View | None:
    """The region of interest of all images, where it brings ``GAIN`` and is safe; else None.

    Safe: enough images, of one shape and about one size, whose landmarks stay in a box four SD of its sides wide.
    """
    if facts.images < FEWEST or facts.shapes > SAME_SHAPE or facts.largest > SAME_SIZE * facts.smallest:
        return None
    left, top, right, bottom = facts.box
    across, down = MARGIN * (right - left), MARGIN * (bottom - top)
    low = [max(0.0, math.floor(100 * value) / 100) for value in (left - across, top - down)]
    high = [min(1.0, math.ceil(100 * value) / 100) for value in (right + across, bottom + down)]
    wide, tall = high[0] - low[0], high[1] - low[1]
    if wide <= 0 or tall <= 0 or (gain := math.sqrt(1 / (wide * tall))) < GAIN:
        return None
    region = (low[0], low[1], high[0], high[1])
    why = (
        f"all training landmarks are in this part of the image, with room around them, and {gain:.2f} times the "
        "resolution costs the same; nothing is found elsewhere: set null for images of another framing"
    )
    return View(tall * facts.size[0], wide * facts.size[1], region, why)
