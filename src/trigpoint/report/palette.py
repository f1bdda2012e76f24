"""Colours of all drawings, whatever draws them."""

import re

from trigpoint.report.page import SHARED

# Okabe and Ito's colours, told apart with every common colour blindness; their yellow is left out (too pale on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TRUTH, PREDICTED = "#56B4E9", "#E69F00"
# the pages that run scripts have them from the same file, so a landmark has one colour everywhere
_PAGE = (SHARED / "colours.js").read_text(encoding="utf-8")
OF_LANDMARKS: tuple[str, ...] = tuple(re.findall(r'"(#[0-9A-F]{6})"', _PAGE))
MISTAKEN = "#ff5a5f"  # a missed annotation, a false prediction
NAMED = 12  # with more landmarks than this the names would hide the image


def colour_of(landmark: int) -> str:
    """The colour of the landmark of this number, wherever each has its own; twenty differ.

    >>> len({colour_of(k) for k in range(20)})
    20
    >>> colour_of(0) == colour_of(20)
    True
    """
    return OF_LANDMARKS[landmark % len(OF_LANDMARKS)]
