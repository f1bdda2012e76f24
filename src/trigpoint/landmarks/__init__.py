"""The vocabulary that every layer shares: a set of named landmarks, one sample, one batch, what was found in it.

Points are (x, y) in pixels, x right, y down, the centre of the top-left pixel is (0, 0).
A missing landmark is NaN. Visibility is 0 missing or not annotated, 1 occluded but annotated, 2 visible; in sets with
several instances per image also ``ABSENT``.

- ``values``: arrays, and how many millimetres a pixel is
- ``names``: ``LandmarkSet``, named landmarks with their pairs, groups, lines and measurements
- ``samples``: ``Sample``, an annotated image; ``Batch``, what a network is fed
- ``found``: ``Detections`` in a batch, ``ImageDetections`` in an image, ``Prediction`` in many
"""

from trigpoint.landmarks.found import CANDIDATES, COVERAGE, Detections, ImageDetections, Prediction
from trigpoint.landmarks.names import LandmarkSet, Measurement, Normalizer, measured_landmarks
from trigpoint.landmarks.samples import ABSENT, Batch, Sample
from trigpoint.landmarks.values import FloatArray, IntArray, Spacing, Widths, plain_spacing, spacing_pair

__all__ = [
    "ABSENT",
    "CANDIDATES",
    "COVERAGE",
    "Batch",
    "Detections",
    "FloatArray",
    "ImageDetections",
    "IntArray",
    "LandmarkSet",
    "Measurement",
    "Normalizer",
    "Prediction",
    "Sample",
    "Spacing",
    "Widths",
    "measured_landmarks",
    "plain_spacing",
    "spacing_pair",
]
