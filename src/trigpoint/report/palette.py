"""Colours of all drawings, whatever draws them."""

# Okabe and Ito's colours, told apart with every common colour blindness; their yellow is left out (too pale on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TRUTH, PREDICTED = "#56B4E9", "#E69F00"
OF_LANDMARKS = (PREDICTED, "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#FFFFFF")  # on dark and on light
MISTAKEN = "#ff5a5f"  # a missed annotation, a false prediction
NAMED = 12  # with more landmarks than this the names would hide the image


def colour_of(landmark: int) -> str:
    """The colour of the landmark of this number, wherever each has its own.

    >>> colour_of(0) == colour_of(7) != colour_of(1)
    True
    """
    return OF_LANDMARKS[landmark % len(OF_LANDMARKS)]
