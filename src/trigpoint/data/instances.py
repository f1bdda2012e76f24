"""What a set with instances knows about one image: every instance in it, and which landmarks can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trigpoint.landmarks import FloatArray, Sample


@dataclass(frozen=True)
class ImageInstances:
    """All M instances in one image, of K landmarks.

    ``points`` (M, K, 2) are original pixels, NaN = this instance has no such landmark here; rows of the table without
    any point are no instance, so M may be 0. ``annotated`` (K,) is False for a landmark that some row of the image
    leaves unannotated (visibility 0): there may be more of it than ``points`` tell, so the landmark neither teaches nor
    measures in this image. Where it is True, every place without a point is a true negative. ``rows`` are the
    positions of the image's samples in the dataset; ``dataset.read(rows[0])`` decodes the image.
    """

    image: Path
    points: FloatArray
    annotated: npt.NDArray[np.bool_]
    rows: tuple[int, ...]


def gather(samples: Sequence[Sample], rows: Sequence[int]) -> ImageInstances:
    """The instances of one image from its samples.

    >>> marks = [([[1.0, 2.0], [3.0, 4.0]], [2, 2]), ([[5.0, 6.0], [np.nan, np.nan]], [2, 0])]
    >>> found = gather([Sample(Path("a.png"), np.array(p), np.array(v)) for p, v in marks], [0, 1])
    >>> found.points.shape, found.annotated.tolist()
    ((2, 2, 2), [True, False])
    """
    own = [samples[row] for row in rows]
    points = np.stack([sample.points for sample in own])
    unknown = np.stack([sample.visibility for sample in own]) == 0
    given = np.isfinite(points).all(axis=2).reshape(len(own), -1)
    return ImageInstances(own[0].image, points[given.any(axis=1)], ~unknown.any(axis=0), tuple(rows))
