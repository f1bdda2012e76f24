"""From a dataset to batches of network inputs.

- ``augment.py``: one warp per sample
- ``loading.py``: decoding, caching, and an order that a resumed run repeats
- ``skips.py``: images that could not be read
"""
