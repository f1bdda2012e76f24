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
    split: str
    subject: str
    spacing_mm: float | None
    rows: tuple[int, ...]


def gather(samples: Sequence[Sample], rows: Sequence[int]) -> ImageInstances:
    """The instances of one image from its samples; split, subject and spacing are those of the first.

    >>> marks = [([[1.0, 2.0], [3.0, 4.0]], [2, 2]), ([[5.0, 6.0], [np.nan, np.nan]], [2, 0])]
    >>> found = gather([Sample(Path("a.png"), np.array(p), np.array(v)) for p, v in marks], [0, 1])
    >>> found.points.shape, found.annotated.tolist()
    ((2, 2, 2), [True, False])
    """
    own = [samples[row] for row in rows]
    points = np.stack([sample.points for sample in own])
    unknown = np.stack([sample.visibility for sample in own]) == 0
    given = np.isfinite(points).all(axis=2).reshape(len(own), -1)
    first = own[0]
    return ImageInstances(
        image=first.image,
        points=points[given.any(axis=1)],
        annotated=~unknown.any(axis=0),
        split=first.split,
        subject=first.subject,
        spacing_mm=first.spacing_mm,
        rows=tuple(rows),
    )
