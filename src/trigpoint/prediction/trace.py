"""What the foveated pyramid saw and where its guess went in one image: the numbers behind the pictures of it.

``trace`` follows the prediction of one image; ``Trace`` keeps the path, the glimpses and the trunk's maps, all in
pixels of the original image, and draws them (``trigpoint.report`` does the drawing).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from trigpoint.data.input.augment import as_tensor
from trigpoint.data.input.loading import collate
from trigpoint.data.tiled import open_tiled
from trigpoint.data.tiled.pyramid import LazyPyramid
from trigpoint.errors import DataError, RunError
from trigpoint.geometry import Affine, map_points, to_grid, warp
from trigpoint.landmarks import FloatArray
from trigpoint.methods import METHODS, FoveatedMethod, LandmarkMethod
from trigpoint.nn.pyramid import GlimpseSource
from trigpoint.nn.spatialized import GlimpseNetwork
from trigpoint.prediction.predictor import Image, Predictor, is_lazy, stored_pixels
from trigpoint.recipe import Recipe
from trigpoint.report.features import feature_maps, stable_features
from trigpoint.report.glimpses import glimpse_stack, guess_path

MOST_PIXELS = 1024
"""Longest side of the picture that a trace keeps: enough for a figure, little beside a radiograph."""
SHOWN = 4
"""Landmarks in one figure."""
MOVES = ((0.0, 0.0), (-0.1875, -0.1875), (0.1875, -0.1875), (-0.1875, 0.1875), (0.1875, 0.1875))
"""Glimpses around the end of the path that tell which features follow the point, in widths of the patch."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The prediction of one image by T looks at glimpses of L levels, for K landmarks; points (x, y), original pixels.

    ``path`` (T + 1, K, 2): the guesses of the first start. ``found`` (K, 2): the prediction, which with one start is
    the end of the path. ``glimpses`` (K, L, C, g, g): what the network sees at the end of the path, finest level first,
    in the intensities it is given. ``maps`` (K, L, D, h, w): the trunk's maps there, each softmaxed over its cells as
    ``SpatializedFeatures`` does. ``extents`` (K, L, 2, 2): the top left and the bottom right corner of each patch.
    ``image`` (C, H, W): the picture reduced by ``factor`` >= 1 to at most 1024 pixels a side; ``names``: the landmarks.
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
        return spread_out(len(self.names)) if columns is None else list(columns)


def spread_out(count: int, most: int = SHOWN) -> list[int]:
    """At most ``most`` of ``count`` positions, evenly spread from the first to the last.

    >>> spread_out(3), spread_out(19)
    ([0, 1, 2], [0, 6, 12, 18])
    """
    return sorted({round(i) for i in np.linspace(0, count - 1, min(most, count)).tolist()})


def is_traceable(recipe: Recipe) -> bool:
    """Whether the method of a run looks at glimpses.

    >>> is_traceable(Recipe())
    False
    """
    return issubclass(METHODS[recipe.method_name], FoveatedMethod)


def check_traceable(predictor: Predictor) -> FoveatedMethod:
    """The method of a run that looks at glimpses; raises RunError for another."""
    method: LandmarkMethod = predictor.method
    if not isinstance(method, FoveatedMethod):
        raise RunError(
            f"expected a run of the method foveated or cascade, got {predictor.recipe.method_name}, which looks at no "
            "glimpses; give another run"
        )
    return method


@torch.no_grad()
def trace(predictor: Predictor, image: Image) -> Trace:
    """Follow the prediction of one image, a path or an array as ``Predictor.predict`` takes them.

    Costs one look more than the prediction. Raises RunError for a run of a method that has no glimpses, DataError for
    an image that cannot be read, or, being read by tiles, holds no small level to draw.
    """
    method = check_traceable(predictor)
    with _opened(predictor, method, image) as opened:
        path = method.walk(opened.source, opened.guess)  # (T + 1, 1, S, K, 2)
        end = path[-1][:, :1]
        glimpses = method.look(opened.source, end)[0, 0]
    found, back = method.conclude(path).points, opened.to_original
    picture, factor = _reduced(opened.picture)
    return Trace(
        path=map_points(back, path[:, 0, 0].double().cpu()).numpy(),
        found=map_points(back, found[0].double().cpu()).numpy(),
        glimpses=glimpses.float().cpu().numpy(),
        maps=_softmaxed_maps(method, glimpses).cpu().numpy(),
        extents=map_points(back, _corners(end[0, 0].double().cpu(), glimpses.shape[1], glimpses.shape[-1])).numpy(),
        image=picture,
        factor=factor * opened.stride,
        names=predictor.landmarks.names,
    )


@torch.no_grad()
def feature_figure(
    predictor: Predictor, images: Sequence[Image], column: int, truth: FloatArray, captions: Sequence[str] = ()
) -> Figure:
    """The steadiest feature of each level at the landmark ``column`` of several images, whose true points are (N, 2).

    Drawn as seen at the end of the path. Chosen by ``stable_features`` among these glimpses and others that are moved
    by 3/16 of the patch in four directions: a feature that follows the point is told from one that does not.
    """
    method = check_traceable(predictor)
    seen = [_around_the_end(predictor, method, image, column) for image in images]
    maps, glimpses, extents = (np.stack([one[i] for one in seen]) for i in range(3))
    points = np.repeat(np.asarray(truth, dtype=np.float64), len(MOVES), axis=0)
    chosen = stable_features(maps.reshape(-1, *maps.shape[2:]), extents.reshape(-1, *extents.shape[2:]), points)
    return feature_maps(maps[:, 0], glimpses[:, 0], extents[:, 0], truth, chosen, captions)


def _around_the_end(
    predictor: Predictor, method: FoveatedMethod, image: Image, column: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Maps (S, L, D, h, w), glimpses (S, L, C, g, g) and corners (S, L, 2, 2) of a landmark, each level moved alone."""
    side = method.options.glimpse
    each = torch.arange(method.levels)
    with _opened(predictor, method, image) as opened:
        end = method.walk(opened.source, opened.guess)[-1][:, 0, column]
        moves = torch.tensor(MOVES)[:, None] * (side * 2.0**each)[:, None]  # (S, L, 2)
        centers = end[:, None] + moves.flatten(0, 1).to(end)
        stacks = opened.source.glimpses(centers, side).float()[0]
    stacks = stacks.reshape(len(MOVES), len(each), *stacks.shape[1:])[:, each, each]
    place = next(i for i, part in enumerate(method.used.parts) if column in part)
    found = cast(GlimpseNetwork, method.used.networks[place]).maps(stacks.flatten(0, 1)).float()
    maps = found.flatten(-2).softmax(-1).reshape(*stacks.shape[:2], *found.shape[1:])
    corners = _corners(centers[0].double().cpu(), len(each), side).reshape(len(MOVES), len(each), -1, 2, 2)[
        :, each, each
    ]
    return maps.cpu().numpy(), stacks.cpu().numpy(), map_points(opened.to_original, corners).numpy()


class _Opened(NamedTuple):
    """An image to look at: its glimpses, the first guess (1, S, K, 2) and the map (2, 3) from input to original
    pixels; and a picture (C, H, W) of it that is ``stride`` times smaller."""

    source: GlimpseSource
    guess: Tensor
    to_original: Tensor
    picture: npt.NDArray[Any] | Tensor
    stride: float = 1.0


@contextmanager
def _opened(predictor: Predictor, method: FoveatedMethod, image: Image) -> Iterator[_Opened]:
    """The image as ``predictor`` would open it, by tiles where it does."""
    if isinstance(image, str | Path) and is_lazy(image):
        if type(method) is not FoveatedMethod:
            raise DataError(f"{image}: is read by tiles, which only a run of the method foveated can; give such a run")
        recipe = predictor.recipe.data.input
        with open_tiled(image) as tiled:
            source = LazyPyramid(tiled, recipe.size, recipe, method.levels)
            guess = method.mean_beginnings(1, predictor.device)
            yield _Opened(source, guess, source.to_original, *tiled.preview())
        return
    unknown = np.full((len(predictor.landmarks), 2), np.nan)
    pixels, value_range = stored_pixels(image)
    batch = collate([(*predictor.pipeline(pixels, unknown, value_range=value_range), 0)])
    batch.images, back = batch.images.to(predictor.device), batch.to_original[0]
    batch.to_original = batch.to_original.to(predictor.device)
    yield _Opened(method.source(batch.images), method.beginnings(batch), back, pixels)


def _corners(centers: Tensor, levels: int, side: int) -> Tensor:
    """Corners (K, L, 2, 2) of the patches around ``centers`` (K, 2), in input pixels."""
    half = side * 2.0 ** torch.arange(levels, dtype=centers.dtype) / 2
    signs = centers.new_tensor([[-1.0, -1.0], [1.0, 1.0]])
    return centers[:, None, None, :] + half[:, None, None] * signs


def _softmaxed_maps(method: FoveatedMethod, glimpses: Tensor) -> Tensor:
    """Maps (K, L, D, h, w) of glimpses (K, L, C, g, g), each by the network of its landmark."""
    parts = zip(method.used.networks, method.used.parts, strict=True)
    flat = torch.cat([cast(GlimpseNetwork, one).maps(glimpses[part].flatten(0, 1)) for one, part in parts]).float()
    return flat.flatten(-2).softmax(-1).reshape(*glimpses.shape[:2], *flat.shape[1:])


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
