"""What a planner has to know of annotated images and of the machine, measured and never asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from trigpoint.data import LandmarkDataset, image_size
from trigpoint.errors import counted
from trigpoint.landmarks import FloatArray
from trigpoint.training.planning.decoding import look_at
from trigpoint.training.planning.machine import Machine, this_machine
from trigpoint.training.planning.poses import Poses, poses_of
from trigpoint.training.planning.repeats import People, between_annotators, label_noise

HEADERS = 300  # images whose size is read
SHAPES = 3000  # annotated shapes that are compared
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Facts:
    """Of the training images; lengths in pixels of the stored images.

    ``size``: median height and width; ``portrait``: share of the images that are higher than wide; ``largest``,
    ``smallest``: the longest and the shortest longer side; ``shapes``: how many times longer the most elongated shape
    of an image is than the least, of height to width. ``neighbour``: how far the nearest other landmark is, for the
    closest tenth of the landmarks (NaN with one). ``extent``: longer side of the box around the landmarks of an object,
    as a share of the image's longer side, median. ``missing``: share of the annotations that are not there.
    ``instances``: median number of objects in an image; None where there is one each; ``apart``: distance of the same
    landmark of two objects, for the closest twentieth (NaN without). ``box``: left, top, right, bottom around all
    landmarks as shares of the images' sides, and ``edges``, the largest SD of its sides from image to image. ``noise``:
    how far two labels of the same point are apart, of ``repeats`` pairs (NaN without); ``people``: the same of
    annotators with tables of their own. ``sided``: names of landmarks tell left from right. ``bytes`` of an image when
    decoded, mean; seconds for its ``decoding``, and for ``preparing`` an input of it.
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
    sided: bool = False
    smallest: int = 0
    shapes: float = 1.0
    apart: float = float("nan")
    box: Box = (0.0, 0.0, 1.0, 1.0)
    edges: float = 0.0
    noise: float = float("nan")
    repeats: int = 0
    people: People = field(default_factory=People)
    bytes: float = 0.0
    decoding: float = 0.0
    preparing: float = 0.0
    machine: Machine = field(default_factory=Machine)


def facts_of(training: LandmarkDataset, validation: LandmarkDataset) -> Facts:
    """Measure the facts of the two subsets. Raises DataError for images that cannot be read."""
    rows, marks = training.by_image(), training.landmarks
    pairs = bool(marks.pairs) and marks.mirrors is not False
    images = [training.samples[own[0]].image for own in rows]
    chosen = range(0, len(images), max(1, len(images) // HEADERS))
    sizes = np.array([image_size(images[i]) for i in chosen])
    height, width = (int(value) for value in np.median(sizes, axis=0))
    longer, aspects = float(max(height, width)), sizes[:, 0] / sizes[:, 1]
    points = np.where(training.visibility[..., None] > 0, training.points, np.nan)
    shapes = points[np.isfinite(points).any(axis=(1, 2))]
    shapes = shapes[:: max(1, len(shapes) // SHAPES)]
    decoded = look_at(images)
    box, edges = box_of([points[list(rows[i])] / sizes[k][::-1] for k, i in enumerate(chosen)])
    noise, repeats = label_noise(training)
    sides = sizes.max(axis=1)
    memory = decoded.pixel * float(sizes.prod(axis=1).mean())
    return Facts(
        images=len(images),
        subjects=len(set(training.groups)),
        validation=len(validation.by_image()),
        landmarks=len(training.landmarks),
        size=(height, width),
        portrait=float((sizes[:, 0] > sizes[:, 1]).mean()),
        largest=int(sides.max()),
        colour=decoded.colour,
        missing=float(np.isnan(points[..., 0]).mean()),
        pairs=pairs,
        neighbour=_neighbour(shapes),
        extent=_extent(shapes) / longer,
        instances=_instances(training),
        poses=poses_of(shapes, longer, marks.flip_permutation() if pairs else None),
        sided=tells_sides(marks.names),
        smallest=int(sides.min()),
        shapes=float(aspects.max() / aspects.min()),
        apart=_apart(training),
        box=box,
        edges=edges,
        noise=noise,
        repeats=repeats,
        people=between_annotators(training),
        bytes=memory,
        decoding=memory * decoded.decoding,
        preparing=decoded.preparing,
        machine=this_machine(),
    )


def tells_sides(names: Sequence[str]) -> bool:
    """Whether some of the names say left and some right.

    >>> tells_sides(["left_eye", "right_eye"]), tells_sides(["earL", "earR"]), tells_sides(["tip", "bright"])
    (True, True, False)
    """
    words = {word.lower() for name in names for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    return bool(words & {"left", "l", "lt"}) and bool(words & {"right", "r", "rt"})


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


def _instances(training: LandmarkDataset) -> float | None:
    if not training.instances:
        return None
    return float(np.median([len(image.points) for image in training.instances_by_image()]))


def _apart(training: LandmarkDataset) -> float:
    """Distance of the same landmark of the two nearest objects of an image: its 5 % quantile over the images."""
    nearest = []
    for image in training.instances_by_image() if training.instances else ():
        apart = np.linalg.norm(image.points[:, None] - image.points[None], axis=-1)
        apart[np.arange(len(apart)), np.arange(len(apart))] = np.nan
        known = apart[np.isfinite(apart)]
        nearest += [known.min()] if len(known) else []
    return float(np.quantile(nearest, 0.05)) if nearest else float("nan")


def box_of(shares: Sequence[FloatArray]) -> tuple[Box, float]:
    """Box (left, top, right, bottom) around the points (M, K, 2) of all images, and the largest SD of its sides.

    A side lies four SD from its mean where the outermost image is not as far out: few images do not show the extremes.
    """
    known = [image[np.isfinite(image).all(axis=-1)] for image in shares]
    sides = np.array([[*image.min(axis=0), *image.max(axis=0)] for image in known if len(image)])
    if not len(sides):
        return (0.0, 0.0, 1.0, 1.0), 0.0
    mean, spread = sides.mean(axis=0), sides.std(axis=0)
    low, high = np.minimum(sides.min(axis=0), mean - 4 * spread), np.maximum(sides.max(axis=0), mean + 4 * spread)
    left, top, right, bottom = (float(value) for value in (*low[:2], *high[2:]))
    return (left, top, right, bottom), float(spread.max())


def described(facts: Facts) -> Sequence[str]:
    """The facts in words, a line each, for a person."""
    height, width = facts.size
    objects = "" if facts.instances is None else f", {facts.instances:g} objects in an image (median)"
    poses, machine = facts.poses, facts.machine
    turn = "turned to all sides" if poses.free else f"turned by {poses.rotation:.0f} degrees (SD)"
    sizes = "" if facts.largest <= 1.1 * facts.smallest else f", longer sides of {facts.smallest} to {facts.largest}"
    lines = [
        f"{counted(facts.images, 'training image')} of {counted(facts.subjects, 'subject')}, "
        f"{facts.validation} for validation",
        f"{width} pixels wide, {height} high (median{sizes}), {'colour' if facts.colour else 'grey'}",
        f"landmarks: {facts.landmarks}{objects}, {facts.missing:.0%} of them not annotated",
    ]
    if poses.known:
        hands = f", {poses.mirrored:.0%} of them mirrored" if poses.mirrored else ""
        lines.append(
            f"shapes are {turn}, scaled by {np.expm1(poses.scale):.0%}, moved by {poses.shift:.0%} of the image{hands}"
        )
    if np.isfinite(facts.neighbour):
        lines.append(f"the nearest landmarks are {facts.neighbour:.0f} pixels apart")
    if np.isfinite(facts.noise):
        lines.append(f"images labelled twice: labels are {facts.noise:.1f} pixels apart (median of {facts.repeats})")
    if facts.people.labels:
        lines.append(
            f"annotators: two of them are {facts.people.apart:.1f} pixels apart (median of {facts.people.labels} pairs "
            "of labels); an error below that is as much theirs"
        )
    elif facts.people.problem:
        lines.append(f"annotators are not compared: {facts.people.problem}")
    device = machine.gpu or f"{machine.cores} core{'s' if machine.cores > 1 else ''}, no GPU"
    each = f"{machine.processes} processes, each with " if machine.processes > 1 else ""
    lines.append(f"this machine: {each}{device}, {machine.memory / 1e9:.1f} GB of free memory")
    return lines
