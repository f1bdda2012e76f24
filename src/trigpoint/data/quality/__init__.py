"""What is wrong with a dataset: its problems, copies among its images, swapped landmarks.

- ``checks.py``: every problem of a dataset in one pass
- ``fingerprint.py``: images by their content; copies and changes
- ``swaps.py``: landmarks that seem to have changed places
"""
