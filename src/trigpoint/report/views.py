"""Images with points over them for the HTML report, which shows them small and, after a click, enlarged.

The pixels of an image are in the page once, as JPEG or PNG. Points are vectors over them, placed in shares of the
picture, so that they stay sharp, and of one size, however far it is enlarged.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from trigpoint.geometry.points import to_corner
from trigpoint.landmarks import FloatArray, LandmarkSet
from trigpoint.report.overlays import Shown, skeleton_lines
from trigpoint.report.palette import NAMED, colour_of

MOST_BYTES = 300_000  # of one image in the page: sixteen of them are 6.4 MB of text
_MOST_OF_DETAIL = 60_000
_SIDE = 1600  # pixels of the longer side that are kept
_QUALITIES = (88, 78, 66)
_LOSSLESS = 40_000  # bytes up to which pixels are kept exactly
_KEYED = 100  # landmarks that the key below an enlarged image lists; of more, the pointer over a mark tells its name
_MANY = 30  # landmarks that small marks leave more of the image visible of
_FINE = 256  # pixels of the longer side up to which enlarged pixels are shown as squares, not smoothed
_APART = 0.03  # of the picture: a prediction so far from its annotation has the label, too
_RIGHT = 75  # % of the width from which on a label stands left of its point

Place = tuple[float, float]
"""x and y in % of the width and the height of a picture."""


class Mark(NamedTuple):
    """A landmark of an image, or an instance of one: where it is annotated and predicted, None = not.

    ``mistaken``: it is a missed annotation or a false prediction, so it has no partner.
    """

    name: str
    label: str
    colour: str
    truth: Place | None
    found: Place | None
    mistaken: bool = False

    @property
    def labelled(self) -> list[Place]:
        """Where the label stands: at the annotation, and at the prediction if it is far from there."""
        places = [place for place in (self.truth, self.found) if place is not None]
        near = len(places) == 2 and max(abs(a - b) for a, b in zip(*places, strict=True)) < 100 * _APART
        return places[:1] if near else places


class Bone(NamedTuple):
    """A line of the skeleton between two annotated points, or two predicted ones."""

    a: Place
    b: Place
    predicted: bool


@dataclass(frozen=True)
class View:
    """One image: ``title`` and ``told`` stand below it, ``size`` is that of the picture (width, height), in pixels.

    ``exact``: pixels are shown as squares when they are enlarged. ``link``: where it can be corrected.
    """

    title: str
    told: str
    picture: bytes
    size: tuple[int, int]
    marks: Sequence[Mark]
    bones: Sequence[Bone] = ()
    exact: bool = False
    link: str = ""

    @property
    def small(self) -> bool:
        """Whether marks are small, so that they leave the image visible."""
        return len(self.marks) > _MANY

    @property
    def key(self) -> list[Mark]:
        """One mark of each landmark that is drawn as a number, to say what the numbers mean."""
        numbered = {mark.label: mark for mark in self.marks if mark.label != mark.name}
        return list(numbered.values()) if len(numbered) <= _KEYED else []


@dataclass(frozen=True)
class Gallery:
    """Images of a report that belong together; ``command`` has to run before their links lead anywhere.

    ``details``: they show one landmark each, which their titles name.
    """

    title: str
    views: Sequence[View]
    caption: str = ""
    command: str = ""
    details: bool = False


def image_view(
    title: str,
    told: str,
    pixels: npt.NDArray[np.uint8],
    shown: Shown,
    landmarks: LandmarkSet,
    skeletons: Sequence[tuple[FloatArray, bool]] = (),
    link: str = "",
) -> View:
    """A whole image as it is displayed, (H, W) or (H, W, 3), with points in its pixels.

    ``shown.landmark`` says which landmark each pair of points is of. ``skeletons``: instances (K, 2) whose landmarks
    are joined, and whether they are predicted.
    """
    height, width = pixels.shape[:2]
    marks = [
        _mark(landmarks.names, k, _place(a, width, height), _place(b, width, height), shown.matched)
        for a, b, k in zip(shown.truth, shown.predicted, shown.landmark, strict=True)
    ]
    bones = [
        Bone(a, b, predicted)
        for points, predicted in skeletons
        for line in skeleton_lines(landmarks, points)
        if (a := _place(line[0], width, height)) is not None and (b := _place(line[1], width, height)) is not None
    ]
    drawn = [mark for mark in marks if mark.truth is not None or mark.found is not None]
    return View(title, told, packed(pixels), (width, height), drawn, bones, max(width, height) < _FINE, link)


def detail_view(
    told: str, pixels: npt.NDArray[np.uint8], points: FloatArray, landmarks: LandmarkSet, k: int, link: str = ""
) -> View:
    """The image around the annotated and the predicted point (2, 2) of one landmark, in pixels of the image."""
    left, top, right, bottom = around(points, (pixels.shape[1], pixels.shape[0]))
    width, height = right - left, bottom - top
    truth, found = (_place(point - (left, top), width, height) for point in points)
    mark = _mark(landmarks.names, k, truth, found, False)._replace(label=landmarks.names[k])
    cut = packed(pixels[top:bottom, left:right], most=_MOST_OF_DETAIL)
    return View(landmarks.names[k], told, cut, (width, height), [mark], exact=True, link=link)


def around(points: FloatArray, size: tuple[int, int], least: int = 96) -> tuple[int, int, int, int]:
    """The square around points (P, 2) in an image of ``size`` (width, height): left, top, right, bottom, within it.

    It is 2.5 times as wide as the points are apart, and at least ``least`` pixels or a sixteenth of the image.

    >>> around(np.array([[100.0, 50.0], [110.0, 50.0]]), (1000, 800))
    (57, 2, 153, 98)
    >>> around(np.array([[2.0, 1.0], [2.0, 1.0]]), (1000, 60))
    (0, 0, 96, 60)
    """
    apart = float((points.max(0) - points.min(0)).max())
    side = round(max(2.5 * apart, least, max(size) / 16))
    corner = [
        int(np.clip(round(float(middle)) - side // 2, 0, max(0, extent - side)))
        for middle, extent in zip(points.mean(0), size, strict=True)
    ]
    left, top = corner
    return left, top, min(left + side, size[0]), min(top + side, size[1])


def packed(pixels: npt.NDArray[np.uint8], most: int = MOST_BYTES) -> bytes:
    """The pixels (H, W) or (H, W, 3) as PNG if that is small, else as JPEG of at most ``most`` bytes and 1600 pixels a
    side; what does not fit is reduced further."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    if image.width * image.height <= 4 * _LOSSLESS and len(exact := _written(image, "PNG")) <= _LOSSLESS:
        return exact
    while True:
        for quality in _QUALITIES:
            if len(found := _written(image, "JPEG", quality=quality)) <= most:
                return found
        image = image.resize((max(1, image.width * 4 // 5), max(1, image.height * 4 // 5)), Image.Resampling.LANCZOS)


def _written(image: Image.Image, kind: str, **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, optimize=True, **options)
    return out.getvalue()


def _mark(names: Sequence[str], k: int, truth: Place | None, found: Place | None, matched: bool) -> Mark:
    label = names[k] if len(names) <= NAMED else str(k + 1)
    return Mark(names[k], label, colour_of(k), truth, found, matched and (truth is None) != (found is None))


def _place(point: FloatArray, width: int, height: int) -> Place | None:
    if not np.isfinite(point).all():
        return None
    x, y = 100 * to_corner(point) / (width, height)
    return round(float(x), 3), round(float(y), 3)


def beside(place: Place) -> str:
    """On which side of its point a label has room: "start" writes to the right, "end" to the left.

    >>> beside((10.0, 50.0)), beside((90.0, 50.0))
    ('start', 'end')
    """
    return "end" if place[0] > _RIGHT else "start"
