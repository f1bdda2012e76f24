"""What a planner has to know of annotated images, measured and never asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trigpoint.data import LandmarkDataset, image_size
from trigpoint.data.pixels.images import read_image
from trigpoint.landmarks import FloatArray

HEADERS = 300  # images whose size is read
COLOURS = 12  # images that are decoded to see whether they have colours
ROUNDS = 5  # of the Procrustes fit


@dataclass(frozen=True)
class Poses:
    """How shapes differ by a similarity from their mean: standard deviations of what augmentation should vary.

    ``rotation`` in degrees, ``scale`` of its natural logarithm, ``shift`` as a share of the image's longer side.
    ``free``: the shapes are turned to all sides. ``known``: there were enough points to tell.
    """

    rotation: float
    scale: float
    shift: float
    free: bool
    known: bool


@dataclass(frozen=True)
class Facts:
    """Of the training images; lengths in pixels of the stored images.

    ``size``: median height and width; ``portrait``: share of the images that are higher than wide. ``neighbour``: how
    far the nearest other landmark is, for the closest tenth of the landmarks (NaN with one). ``extent``: longer side of
    the box around the landmarks of an object, as a share of the image's longer side, median. ``missing``: share of the
    annotations that are not there. ``instances``: median number of objects in an image; None where there is one each.
    """

    images: int
    subjects: int
    validation: int
    landmarks: int
    size: tuple[int, int]
    portrait: float
    largest: int
    colour: bool
    missing: float
    pairs: bool
    neighbour: float
    extent: float
    instances: float | None
    poses: Poses


def facts_of(training: LandmarkDataset, validation: LandmarkDataset) -> Facts:
    """Measure the facts of the two subsets. Raises DataError for images that cannot be read."""
    images = [training.samples[rows[0]].image for rows in training.by_image()]
    step = max(1, len(images) // HEADERS)
    sizes = np.array([image_size(image) for image in images[::step]])
    height, width = (int(value) for value in np.median(sizes, axis=0))
    longer = float(max(height, width))
    points = np.where(training.visibility[..., None] > 0, training.points, np.nan)
    shapes = points[np.isfinite(points).any(axis=(1, 2))]
    counts = [len(image.points) for image in training.instances_by_image()] if training.instances else None
    return Facts(
        images=len(images),
        subjects=len(set(training.groups)),
        validation=len(validation.by_image()),
        landmarks=len(training.landmarks),
        size=(height, width),
        portrait=float((sizes[:, 0] > sizes[:, 1]).mean()),
        largest=int(sizes.max()),
        colour=any(_has_colour(read_image(image).pixels) for image in images[:: max(1, len(images) // COLOURS)]),
        missing=float(np.isnan(points[..., 0]).mean()),
        pairs=bool(training.landmarks.pairs) and training.landmarks.mirrors is not False,
        neighbour=_neighbour(shapes),
        extent=_extent(shapes) / longer,
        instances=None if counts is None else float(np.median(counts)),
        poses=poses_of(shapes, longer),
    )


def _has_colour(pixels: npt.NDArray[Any]) -> bool:
    """Whether the channels (C, H, W) differ anywhere by more than rounding."""
    values = pixels[:, ::4, ::4].astype(np.float64)
    return len(values) > 1 and bool(np.ptp(values, axis=0).max() > 0.02 * max(1.0, float(np.ptp(values))))


def _neighbour(shapes: FloatArray) -> float:
    count = shapes.shape[1]
    if count < 2:
        return float("nan")
    apart = np.linalg.norm(shapes[:, :, None] - shapes[:, None], axis=-1)
    apart[:, np.arange(count), np.arange(count)] = np.inf
    nearest = np.where(np.isnan(apart), np.inf, apart).min(axis=2)
    median = [np.median(column[np.isfinite(column)]) for column in nearest.T if np.isfinite(column).any()]
    return float(np.quantile(median, 0.1)) if median else float("nan")


def _extent(shapes: FloatArray) -> float:
    whole = shapes[np.isfinite(shapes).all(axis=2).sum(axis=1) > 1]
    if not len(whole):
        return 0.0
    return float(np.median((np.nanmax(whole, axis=1) - np.nanmin(whole, axis=1)).max(axis=1)))


def poses_of(shapes: FloatArray, longer: float) -> Poses:
    """Similarities that bring shapes (N, K, 2), NaN = missing, to their mean: generalised Procrustes analysis.

    >>> turned = np.radians([-20.0, 0.0, 20.0])
    >>> square = np.array([[0, 0], [9, 0], [9, 9], [0, 9.0]])
    >>> turns = [[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] for t in turned]
    >>> found = poses_of(np.stack([square @ np.array(turn).T for turn in turns]), 10.0)
    >>> round(found.rotation), round(found.scale, 6), found.free
    (16, 0.0, False)
    """
    usable = [shape for shape in shapes if np.isfinite(shape).all(axis=1).sum() > 1]
    centers = np.array([np.nanmean(shape, axis=0) for shape in shapes]) if len(shapes) else np.zeros((0, 2))
    shift = float(centers.std(axis=0).max() / longer) if len(centers) > 1 else 0.0
    if len(usable) < 2:
        return Poses(0.0, 0.0, shift, free=False, known=False)
    complex_shapes = np.array([shape[:, 0] + 1j * shape[:, 1] for shape in usable])
    mean = complex_shapes[np.argmax(np.isfinite(complex_shapes).sum(axis=1))]
    mean = mean - np.nanmean(mean)
    for _ in range(ROUNDS):
        factors, moved = zip(*(_fit(shape, mean) for shape in complex_shapes), strict=True)
        kept = np.array(moved)
        columns = np.isfinite(kept).any(axis=0)
        mean = np.where(columns, np.nansum(kept, axis=0) / np.maximum(np.isfinite(kept).sum(axis=0), 1), np.nan)
        mean = mean - np.nanmean(mean)
    turns = np.array(factors)
    units = turns / np.maximum(np.abs(turns), 1e-12)
    resultant = abs(units.mean())
    angles = np.angle(units / (units.mean() / max(resultant, 1e-12)))
    return Poses(
        rotation=float(np.degrees(angles.std())),
        scale=float(np.log(np.maximum(np.abs(turns), 1e-12)).std()),
        shift=shift,
        free=bool(resultant < 0.6),
        known=True,
    )


def _fit(shape: FloatArray, mean: FloatArray) -> tuple[complex, FloatArray]:
    """The complex factor (turn and scale) of ``mean`` in ``shape``, and the shape without it; both (K,) complex."""
    both = np.isfinite(shape) & np.isfinite(mean)
    centred, target = shape - shape[both].mean() if both.any() else shape, mean
    if both.sum() < 2:
        return 1 + 0j, np.full_like(shape, np.nan)
    reference = target[both] - target[both].mean()
    factor = complex(np.vdot(reference, centred[both]) / max(float(np.vdot(reference, reference).real), 1e-12))
    return factor, centred / (factor if abs(factor) > 1e-12 else 1) + target[both].mean()


def described(facts: Facts) -> Sequence[str]:
    """The facts in words, a line each, for a person."""
    height, width = facts.size
    objects = "" if facts.instances is None else f", {facts.instances:g} objects in an image (median)"
    poses = facts.poses
    turn = "turned to all sides" if poses.free else f"turned by {poses.rotation:.0f} degrees (SD)"
    lines = [
        f"{facts.images} training images of {facts.subjects} subjects, {facts.validation} for validation",
        f"{width} x {height} pixels (median), {'colour' if facts.colour else 'grey'}",
        f"landmarks: {facts.landmarks}{objects}, {facts.missing:.0%} of them not annotated",
    ]
    if poses.known:
        lines.append(
            f"shapes are {turn}, scaled by {np.expm1(poses.scale):.0%}, moved by {poses.shift:.0%} of the image"
        )
    if np.isfinite(facts.neighbour):
        lines.append(f"the nearest landmarks are {facts.neighbour:.0f} pixels apart")
    return lines
