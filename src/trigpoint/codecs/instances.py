"""Gaussian heatmaps with any number of instances of a landmark in one image, none included.

Decoding follows the instruments of the Adaloss paper (Teixeira et al. 2019, EndoVis): median filter, non-maximum
suppression in a window, centres of what remains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from trigpoint import config
from trigpoint.codecs import maxima
from trigpoint.codecs.gaussian import GaussianHeatmap, Tolerance
from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import from_grid

MOST = 512  # maxima looked at per map
SMALLEST_WINDOW = 5
# Of a perfect peak of this width the 7 x 7 median leaves 0.64; of a narrower one so little that noise competes.
SMALLEST_SIGMA, SMALLEST_SIGMA_MEDIAN = 3.0, 7


class Instances(NamedTuple):
    """``points`` (B, K, N, 2) in input pixels and ``scores`` (B, K, N) by falling score; N is the largest number found.

    Where a map has fewer, points are NaN and scores 0.
    """

    points: Tensor
    scores: Tensor

    @property
    def counts(self) -> Tensor:
        """How many instances (B, K) were found."""
        return (self.scores > 0).sum(-1)

    def above(self, threshold: float | Tensor) -> Instances:
        """Those with a score above ``threshold``, one number or (K,): what ``decode`` gives with that threshold.

        >>> found = Instances(torch.tensor([[[[1.0, 2.0], [30.0, 4.0]]]]), torch.tensor([[[0.9, 0.4]]]))
        >>> found.above(0.5).points.tolist()
        [[[[1.0, 2.0]]]]
        """
        limit = torch.as_tensor(threshold, dtype=self.scores.dtype, device=self.scores.device)
        return _first(self.points, self.scores, self.scores > limit.reshape(-1, 1))


class InstanceHeatmap:
    """Encode several points per landmark as one Gaussian map, and decode a map to as many points as it shows.

    A map is the maximum of the Gaussians exp(-|x - p|^2 / (2 sigma^2)) of a landmark's instances; a landmark without
    instances has a map of zeros. ``input_size`` is (H, W), the maps have ceil(size / stride) cells per axis, and sigma,
    ``window`` and ``median`` are in cells of the map (the paper's maps have the size of the image, so its cells are
    pixels).

    Decoding takes the median over ``median`` x ``median`` cells, finds its maxima, a plateau counting once, places each
    to a fraction of a cell on the unfiltered map, and goes through them by falling score, dropping each that is nearer
    than ``window`` cells to one that stays. The score is the value of the filtered map, and must exceed ``threshold``.

    The median removes narrow peaks, noise or not: a perfect peak of width sigma scores exp(-4 / sigma^2) with a 7 x 7
    median, that is 0.02, 0.17, 0.37, 0.64, 0.85 for sigma 1, 1.5, 2, 3, 5. Train with targets at least as wide as
    ``smallest_sigma`` (3 cells with a 7 x 7 median, 1 without), or with a smaller median.

    Declared error of ``decode(encode(p))`` per axis: 0.02 px, up to the border of the image, for instances at least 1.2
    windows apart, sigma from ``smallest_sigma`` to half a window, and a window of at least 1.4 medians. ``tolerance``
    gives it. All are found then, and none is invented.

    Raises ConfigError for sizes that are not two positive whole numbers and for options out of range.

    >>> codec = InstanceHeatmap(input_size=(64, 96))
    >>> nan = float("nan")
    >>> tips = torch.tensor([[[[70.25, 12.5], [nan, nan]], [[20.0, 40.0], [nan, nan]]]])  # two instances of the first
    >>> maps = codec.encode(tips, sigma=3.0)
    >>> tuple(maps.shape), maps[0, 1].sum().item()
    ((1, 2, 64, 96), 0.0)
    >>> found = codec.decode(maps)
    >>> found.counts.tolist(), sorted([round(x, 2), round(y, 2)] for x, y in found.points[0, 0].tolist())
    ([[2, 0]], [[20.0, 40.0], [70.25, 12.5]])
    """

    TOLERANCES: ClassVar[tuple[Tolerance, Tolerance]] = (Tolerance(pixels=0.02), Tolerance(pixels=0.02))

    class Config(config.Config):
        window: float = Field(default=10.0, ge=SMALLEST_WINDOW)
        """Least distance between two instances, cells of the map."""
        median: Literal[0, 1, 3, 5, 7, 9, 11, 13, 15] = 7
        """Side of the median filter, cells of the map; 0: none. It sets how narrow targets may be."""
        threshold: float = Field(default=0.3, ge=0)
        """Score above which a point counts, where the validation images can give none."""

    def __init__(self, input_size: Sequence[int], stride: int = 1, *given: Any, **options: Any) -> None:
        self._single = single = GaussianHeatmap(input_size, stride)
        if len(single.input_size) != 2:
            raise ConfigError(f"input_size: expected two numbers (H, W), got {input_size!r}")
        self.input_size, self.stride, self.map_size = single.input_size, single.stride, single.map_size
        chosen = self.Config.of(*given, **options)
        self.window, self.median, self.threshold = chosen.window, chosen.median, chosen.threshold

    @property
    def smallest_sigma(self) -> float:
        """The least width of targets, heatmap px, whose peaks survive the median well: 3 with 7 x 7, 1 without.

        >>> [round(InstanceHeatmap((64, 64), median=size).smallest_sigma, 2) for size in (0, 3, 5, 7, 9)]
        [1.0, 1.06, 2.12, 3.0, 3.82]
        """
        reach = _median_distance(self.median) / _median_distance(SMALLEST_SIGMA_MEDIAN)
        return max(1.0, SMALLEST_SIGMA * reach)

    def tolerance(self, sigma: float, border: bool = False) -> float:
        """Declared error per axis, input pixels; ``border``: nearer than 3 sigma to the map's edge."""
        return self.TOLERANCES[int(border)].limit(self.stride, sigma)

    def encode(self, points: Tensor, sigma: float | Tensor) -> Tensor:
        """Maps (B, K, h, w) of ``points`` (B, M, K, 2), M instances, NaN = no such instance; M may be 0.

        ``sigma`` is a number, or a tensor of shape (), (K,) or (B, K), heatmap pixels; it receives gradients. Dtype,
        device and errors as of ``GaussianHeatmap.encode``.
        """
        if points.ndim != 4 or points.shape[-1] != 2:
            raise DataError(f"points: expected shape (B, M, K, 2), got {tuple(points.shape)}")
        batch, instances, landmarks = points.shape[:3]
        if instances == 0:  # as if there were one that is missing
            return self._single.encode(points.new_full((batch, landmarks, 2), math.nan), sigma)
        maps = self._single.encode(points[:, 0], sigma)
        for instance in points.unbind(1)[1:]:
            maps = torch.maximum(maps, self._single.encode(instance, sigma))
        return maps

    def energy(self, points: Tensor, sigma: float | Tensor) -> Tensor:
        """Mean over the cells of the squared map, (B, K); zero without instances."""
        points = points if points.dtype == torch.float64 else points.float()
        if points.ndim == 4 and points.shape[1] == 1:  # the maximum of several has no factors
            return self._single.energy(points[:, 0], sigma)
        return self.encode(points, sigma).square().mean((-2, -1))

    @torch.no_grad()
    def decode(self, maps: Tensor, threshold: float | Tensor | None = None) -> Instances:
        """The instances on ``maps`` (B, K, h, w), by falling score; see ``Instances``.

        ``threshold``, a number or (K,), takes the place of the codec's own: 0 gives all candidates, for choosing a
        threshold on validation images (then ``above`` does the rest). Time grows with the share of the map above the
        threshold; on the maps of a trained network 0.05 leaves the noise out and takes a hundredth of the time.

        At most ``MOST`` maxima per map are looked at, the highest. A constant map gives nothing. No gradients. Raises
        DataError for another shape or a map that holds NaN or +inf, ConfigError for a negative threshold.
        """
        self._single.check_maps(maps)
        batch, landmarks = maps.shape[:2]
        limits = self._thresholds(self.threshold if threshold is None else threshold, landmarks)
        flat = maps.reshape(batch * landmarks, *self.map_size)
        flat = flat if flat.dtype == torch.float64 else flat.float()
        size = (len(flat), self.map_size[0], self.map_size[1])
        _check_finite(flat, landmarks)
        with torch.autocast(maps.device.type, enabled=False):
            cells, values = maxima.median_above(flat, limits.to(flat).repeat(batch), self.median)
            found, place = maxima.highest(maxima.regional_maxima(cells, values, size), len(flat), MOST)
            most = int(place.max()) + 1 if len(place) else 0
            points = flat.new_full((len(flat), most, 2), math.nan)
            scores = flat.new_zeros(len(flat), most)
            points[found.map, place] = maxima.refined(flat, found, self.window, self.median)
            scores[found.map, place] = found.height
            kept = maxima.spaced(points, self.window)
        points = from_grid(points.flip(-1), self.stride)
        return _first(
            points.reshape(batch, landmarks, most, 2),
            scores.reshape(batch, landmarks, most),
            kept.reshape(batch, landmarks, most),
        )

    @staticmethod
    def _thresholds(threshold: float | Tensor, landmarks: int) -> Tensor:
        """One threshold per landmark (K,), checked."""
        limits = torch.as_tensor(threshold)
        if tuple(limits.shape) not in {(), (landmarks,)}:
            raise ConfigError(f"threshold: expected a number or ({landmarks},), got shape {tuple(limits.shape)}")
        if not bool((limits >= 0).all()):
            raise ConfigError(f"threshold: expected 0 or more, got {limits.tolist()}")
        return limits.expand(landmarks)


def _first(points: Tensor, scores: Tensor, kept: Tensor) -> Instances:
    """Points (B, K, N, 2) and scores (B, K, N) that are ``kept`` (B, K, N), in their order and without gaps."""
    most = int(kept.sum(-1).max()) if kept.numel() else 0
    order = kept.long().argsort(dim=-1, descending=True, stable=True)[..., :most]
    points = torch.where(kept[..., None], points, math.nan).gather(2, order[..., None].expand(*order.shape, 2))
    return Instances(points, torch.where(kept, scores, 0.0).gather(2, order))


def _check_finite(maps: Tensor, landmarks: int) -> None:
    """Raises DataError for NaN or +inf, which would otherwise look like a map without instances."""
    broken = (~(maps.amax((1, 2)) < math.inf)).nonzero().flatten().tolist() if maps.numel() else []
    if broken:
        image, landmark = divmod(broken[0], landmarks)
        raise DataError(
            f"maps: expected finite values, got NaN or inf in {len(broken)} of {len(maps)} maps, the first of image "
            f"{image} and landmark {landmark}; look for a training that diverged or an input that is not finite"
        )


def _median_distance(size: int) -> float:
    """Distance in cells from the middle of a ``size`` x ``size`` window that half of its cells do not exceed."""
    reach = size // 2
    squares = sorted(y * y + x * x for y in range(-reach, reach + 1) for x in range(-reach, reach + 1))
    return math.sqrt(squares[len(squares) // 2])
