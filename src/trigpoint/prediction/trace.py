"""What the foveated pyramid saw and where its guess went in one image: the numbers behind the pictures of it.

``trace`` follows the prediction of one image; ``Trace`` keeps the path, the glimpses and the trunk's maps, all in
pixels of the original image, and draws them (``trigpoint.report`` does the drawing).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from trigpoint.data.input.augment import as_tensor
from trigpoint.data.tiled import TiledImage
from trigpoint.errors import RunError
from trigpoint.geometry import Affine, map_points, to_grid, warp
from trigpoint.landmarks import FloatArray
from trigpoint.prediction.base import Image, ImagePredictor, Progress, stored_pixels
from trigpoint.prediction.predictor import Predictor
from trigpoint.report.features import feature_maps, stable_features
from trigpoint.report.glimpses import glimpse_stack, guess_path
from trigpoint.report.style import save

MOST_PIXELS = 1024
"""Longest side of the picture that a trace keeps: enough for a figure, little beside a radiograph."""
SHOWN = 4
"""Landmarks in one figure."""
MOVES = ((0.0, 0.0), (-0.1875, -0.1875), (0.1875, -0.1875), (-0.1875, 0.1875), (0.1875, 0.1875))
"""Glimpses around the end of the path that tell which features follow the point, in widths of the patch."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The prediction of one image by T glimpse steps of L levels, for K landmarks; points (x, y), original pixels.

    ``path`` (T + 1, K, 2), ``found`` (K, 2), and at the end of the path ``glimpses`` (K, L, C, g, g), finest level
    first, ``maps`` (K, L, D, h, w) and ``extents`` (K, L, 2, 2), all as in ``methods.base.GlimpseTrace``. ``image``
    (C, H, W): the picture reduced by ``factor`` >= 1 to at most 1024 pixels a side; ``names``: the landmarks.
    """

    path: FloatArray
    found: FloatArray
    glimpses: npt.NDArray[np.float32]
    maps: npt.NDArray[np.float32]
    extents: FloatArray
    image: npt.NDArray[Any]
    factor: float
    names: tuple[str, ...]

    @property
    def first_extents(self) -> FloatArray:
        """Corners (K, L, 2, 2) of the patches of the first look."""
        back: FloatArray = (self.path[0] - self.path[-1])[:, None, None, :]
        return np.asarray(self.extents + back)

    def guess_path(self, truth: FloatArray | None = None, columns: Sequence[int] | None = None) -> Figure:
        """The path over the image, of the landmarks at the positions ``columns`` (default: ``spread_out``).

        ``truth`` (K, 2) in original pixels, NaN = missing.
        """
        k = self._columns(columns)
        return guess_path(
            self.image,
            self.path[:, k],
            self.first_extents[k],
            None if truth is None else truth[k],
            [self.names[i] for i in k],
            self.factor,
            (self.glimpses[k], self.extents[k]),
        )

    def glimpse_stack(self, truth: FloatArray | None = None, columns: Sequence[int] | None = None) -> Figure:
        """The patches at the end of the path; as ``guess_path``."""
        k = self._columns(columns)
        names = [self.names[i] for i in k]
        return glimpse_stack(
            self.glimpses[k], self.extents[k], self.found[k], None if truth is None else truth[k], names
        )

    def _columns(self, columns: Sequence[int] | None) -> list[int]:
        if columns is not None:
            return list(columns)
        learned = np.flatnonzero(np.isfinite(self.found).all(-1)).tolist()
        return [learned[i] for i in spread_out(len(learned))]


def spread_out(count: int, most: int = SHOWN) -> list[int]:
    """At most ``most`` of ``count`` positions, evenly spread from the first to the last.

    >>> spread_out(3), spread_out(19)
    ([0, 1, 2], [0, 6, 12, 18])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(most, count)).tolist()})


def check_traces(predictor: ImagePredictor) -> None:
    """Raise RunError for a run of a method that keeps no trace."""
    if not (isinstance(predictor, Predictor) and predictor.method.traces):
        raise RunError(
            f"expected a run of the method foveated or cascade, got {predictor.method_name}, which looks at no "
            "glimpses; give another run"
        )


def trace(predictor: Predictor, image: Image) -> Trace:
    """Follow the prediction of one image, a path or an array as ``Predictor.predict`` takes them.

    Costs one glimpse step more than the prediction. Raises RunError for a run of a method that has no glimpses,
    DataError for an image that cannot be read, or, being read by tiles, holds no small level to draw.
    """
    check_traces(predictor)
    with predictor.opened(image) as opened:
        seen = predictor.method.trace(opened, predictor.recipe.data.input)
        pixels, stride = opened.preview() if isinstance(opened, TiledImage) else (stored_pixels(image)[0], 1.0)
    back = seen.to_original
    path, found = map_points(back, seen.path).numpy().copy(), map_points(back, seen.found).numpy().copy()
    blank = [predictor.landmarks.index(name) for name in predictor.untaught]
    path[:, blank], found[blank] = np.nan, np.nan
    picture, factor = _reduced(pixels)
    return Trace(
        path=path,
        found=found,
        glimpses=seen.glimpses[:, 0].numpy(),
        maps=seen.maps[:, 0].numpy(),
        extents=map_points(back, seen.extents[:, 0]).numpy(),
        image=picture,
        factor=factor * stride,
        names=predictor.landmarks.names,
    )


def draw_traces(
    predictor: Predictor,
    files: Sequence[Path],
    paths: Sequence[Path],
    stacks: Sequence[Path],
    progress: Progress | None = None,
) -> None:
    """Draw how a run that looks at glimpses came to its points in each image: the path, and what it saw at its end."""
    for index, (file, path, stack) in enumerate(zip(files, paths, stacks, strict=True)):
        followed = trace(predictor, file)
        save(followed.guess_path(), path)
        save(followed.glimpse_stack(), stack)
        if progress is not None:
            progress(index + 1, len(files))


def features(
    predictor: Predictor, images: Sequence[Image], column: int, truth: FloatArray, captions: Sequence[str] = ()
) -> Callable[[], Figure] | None:
    """Draws the steadiest feature of each level around the landmark ``column`` in several images, as seen at the end of
    the path; None for networks that do not read places off maps.

    ``truth`` (N, 2) in original pixels. Chosen by ``stable_features`` among these glimpses and others that are moved by
    3/16 of the patch in four directions: a feature that follows the point is told from one that does not.
    """
    check_traces(predictor)
    seen = []
    for image in images:
        with predictor.opened(image) as opened:
            seen.append(predictor.method.trace(opened, predictor.recipe.data.input, [column], MOVES))
    if not seen or not seen[0].spatialized:
        return None
    maps = np.stack([one.maps[0].numpy() for one in seen])  # (N, S, L, D, h, w), S glimpses of each image
    extents = np.stack([map_points(one.to_original, one.extents[0]).numpy() for one in seen])
    points = np.repeat(np.asarray(truth, dtype=np.float64), len(MOVES), axis=0)
    chosen = stable_features(maps.reshape(-1, *maps.shape[2:]), extents.reshape(-1, *extents.shape[2:]), points)
    glimpses = np.stack([one.glimpses[0, 0].numpy() for one in seen])
    return partial(feature_maps, maps[:, 0], glimpses, extents[:, 0], truth, chosen, captions)


def _reduced(picture: npt.NDArray[Any] | Tensor) -> tuple[npt.NDArray[Any], float]:
    """The image (C, H, W) with at most 1024 pixels a side, of its own type if that has 8 bits, and how much smaller."""
    pixels = as_tensor(picture)
    height, width = pixels.shape[1:]
    factor = max(1.0, max(height, width) / MOST_PIXELS)
    if factor == 1:
        return pixels.numpy(), 1.0
    shift = to_grid(np.zeros(2), factor)
    to_picture = Affine.scale_about((0, 0), 1 / factor).then(Affine.shift(*shift.tolist()))
    small = warp(pixels, to_picture, (max(1, round(height / factor)), max(1, round(width / factor))), fill="edge")
    return (small.round().to(torch.uint8) if pixels.dtype == torch.uint8 else small).numpy(), factor
