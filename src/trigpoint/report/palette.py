"""Colours of all drawings, whatever draws them."""

# Okabe and Ito's colours, told apart with every common colour blindness; their yellow is left out (too pale on white).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TRUTH, PREDICTED = "#56B4E9", "#E69F00"
NAMED = 12  # with more landmarks than this the names would hide the image
