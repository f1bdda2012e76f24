"""Gaussian heatmaps: points to maps and back, by one object, so that the two cannot drift apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from trigpoint import config
from trigpoint.codecs import peaks
from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import from_grid, pixel_centers, to_grid

Decoder = Literal["argmax", "quarter", "dark", "centroid", "soft_argmax"]
DECODERS: tuple[str, ...] = get_args(Decoder)
# A mean-normalised target of a point this many sigmas outside would be all weight on a few border cells.
OUTSIDE_SIGMAS = 3.0


@dataclass(frozen=True)
class Tolerance:
    """Declared round-trip error per axis: ``pixels`` + ``strides`` * stride + ``sigmas`` * sigma * stride, input px."""

    pixels: float = 0.0
    strides: float = 0.0
    sigmas: float = 0.0

    def limit(self, stride: int, sigma: float) -> float:
        """The error in input pixels for a stride and a sigma in heatmap pixels."""
        return self.pixels + self.strides * stride + self.sigmas * sigma * stride


class GaussianHeatmap:
    """Encode points as Gaussian maps and decode maps to points, in one, two or three dimensions.

    Points are (B, K, n) in input pixels ordered x, y, z, NaN = missing. ``input_size`` and the maps are ordered as
    images are, (W,), (H, W) or (D, H, W); a map has ceil(size / stride) cells per axis. Sigma is in heatmap pixels.

    ``normalize="peak"``: the maps are exp(-|x - p|^2 / (2 sigma^2)) with peak 1 at the point itself. ``"mean"``: each
    map is divided by its own mean over the cells (Adaloss, section 4.3), computed, so a border that cuts the Gaussian
    counts; a point more than 3 sigma outside the map then gives an empty map.

    Decoders, with the declared error of ``decode(encode(p))`` per axis (float32, sigma 1 to 64, strides 1 to 8, points
    inside the image; "inside" is at least 3 sigma from the map's outermost cells):

    ============ ====================================================== ================ ==========================
    decoder      how                                                    inside           up to the border
    ============ ====================================================== ================ ==========================
    argmax       the highest cell                                       stride / 2       stride / 2
    quarter      a quarter cell towards the higher neighbour            stride / 4       stride / 2
    dark         maximum of a quadratic fitted to the log map           0.02 px          0.02 px
    centroid     moving Gaussian window; the fit near a border          0.02 px          0.02 px
    soft_argmax  mean under the squared non-negative map (whole map)    0.02 px          0.6 sigma * stride
    ============ ====================================================== ================ ==========================

    soft_argmax sees the whole map, so it wants a nearly noise-free one. dark and centroid average noise over the width
    of the peak and stay within one cell of the highest one, or within half a sigma of it on a peak wider than 4 cells.
    (dark and centroid leave an axis of fewer than 3 cells at the cell's centre: stride / 2.)

    Raises ConfigError for an unknown option or value, a stride below 1, or a size that is not 1 to 3 whole numbers.

    >>> codec = GaussianHeatmap(input_size=(64, 96), stride=4)
    >>> maps = codec.encode(torch.tensor([[[40.3, 21.9], [float("nan"), 5.0]]]), sigma=2.0)
    >>> tuple(maps.shape), maps[0, 1].sum().item()
    ((1, 2, 16, 24), 0.0)
    >>> points, scores = codec.decode(maps)
    >>> [round(value, 2) for value in points[0, 0].tolist()]
    [40.3, 21.9]
    """

    TOLERANCES: ClassVar[dict[str, tuple[Tolerance, Tolerance]]] = {
        "argmax": (Tolerance(strides=0.5, pixels=0.01), Tolerance(strides=0.5, pixels=0.01)),
        "quarter": (Tolerance(strides=0.25, pixels=0.01), Tolerance(strides=0.5, pixels=0.01)),
        "dark": (Tolerance(pixels=0.02), Tolerance(pixels=0.02)),
        "centroid": (Tolerance(pixels=0.02), Tolerance(pixels=0.02)),
        "soft_argmax": (Tolerance(pixels=0.02), Tolerance(pixels=0.02, sigmas=0.6)),
    }

    class Config(config.Config):
        decoder: Decoder = "dark"
        """How a map becomes a point."""
        normalize: Literal["peak", "mean"] = "peak"
        """Height of the targets: 1 at the peak, or divided by their mean."""

    def __init__(self, input_size: Sequence[int], stride: int = 4, *given: Any, **options: Any) -> None:
        size = tuple(input_size) if isinstance(input_size, Sequence) else ()
        if not 1 <= len(size) <= 3 or any(type(n) is not int or n < 1 for n in size):
            raise ConfigError(f"input_size: expected 1 to 3 positive whole numbers such as (H, W), got {input_size!r}")
        if type(stride) is not int or stride < 1:
            raise ConfigError(f"stride: expected a whole number of at least 1, got {stride!r}")
        chosen = self.Config.of(*given, **options)
        self.input_size: tuple[int, ...] = size
        self.stride = stride
        self.map_size = tuple(math.ceil(n / self.stride) for n in self.input_size)  # cells, in the order of input_size
        self.decoder, self.normalize = chosen.decoder, chosen.normalize

    def tolerance(self, sigma: float, border: bool = False) -> float:
        """Declared error per axis, input pixels, of this decoder; ``border``: nearer than 3 sigma to the map's edge."""
        return self.TOLERANCES[self.decoder][int(border)].limit(self.stride, sigma)

    def encode(self, points: Tensor, sigma: float | Tensor) -> Tensor:
        """Maps (B, K, *map_size) of ``points`` (B, K, n); a missing (NaN) point gives a map of zeros.

        ``sigma`` is a number, or a tensor of shape (), (K,) or (B, K), heatmap pixels; it must be positive (checked
        when it lies on the CPU) and receives gradients. The maps have the dtype and device of ``points`` and are
        computed in float32 at least. Raises DataError for another shape or a sigma that is not positive.
        """
        factors = self._factors(points, sigma)
        maps = factors[0]
        for factor in factors[1:]:
            maps = maps[..., :, None] * factor.reshape(*factor.shape[:2], *[1] * (maps.ndim - 2), -1)
        return maps.to(points.dtype) if points.is_floating_point() else maps

    def energy(self, points: Tensor, sigma: float | Tensor) -> Tensor:
        """Mean over the cells of the squared map, (B, K), from the factors alone; zero for a missing point.

        >>> codec, point = GaussianHeatmap((32, 32), stride=1), torch.tensor([[[9.0, 12.5]]])
        >>> torch.allclose(codec.energy(point, 3.0), codec.encode(point, 3.0).square().mean((2, 3)))
        True
        """
        return torch.stack([factor.square().mean(-1) for factor in self._factors(points, sigma)]).prod(0)

    def marginals(self, points: Tensor, sigma: float | Tensor) -> list[Tensor]:
        """Factors (B, K, cells), one per axis of the map, whose outer product is the target scaled to sum 1.

        Zeros for a missing point.

        >>> codec, point = GaussianHeatmap((32, 32), stride=1), torch.tensor([[[9.0, 12.5]]])
        >>> rows, columns = codec.marginals(point, 3.0)
        >>> target = codec.encode(point, 3.0)
        >>> torch.allclose(rows[..., None] * columns[..., None, :], target / target.sum())
        True
        """
        factors = self._factors(points, sigma)
        return [factor / factor.sum(-1, keepdim=True).clamp_min(torch.finfo(factor.dtype).tiny) for factor in factors]

    def decode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Points (B, K, n) in input pixels and scores (B, K) of ``maps`` (B, K, *map_size).

        The score is the map's maximum. A constant map, zeros included, says nothing: the point is the middle of the
        input. A map that holds NaN or +inf gives a NaN point and score. A map without a positive value gives its
        highest cell. Only the points of ``soft_argmax`` pass gradients on. Results are float32, or float64 for float64
        maps. Raises DataError when the maps have another shape.
        """
        self.check_maps(maps)
        batch, landmarks = maps.shape[:2]
        flat = maps.reshape(batch * landmarks, *self.map_size)
        if flat.dtype not in (torch.float32, torch.float64):
            flat = flat.float()
        with torch.autocast(maps.device.type, enabled=False):
            grid, peak, constant = self._locate(flat)
        points = from_grid(grid.flip(-1), self.stride)
        middle = torch.stack([pixel_centers(n, flat.dtype, flat.device).mean() for n in reversed(self.input_size)])
        points = torch.where(constant[:, None], middle, points)
        lost = ~(peak < math.inf)
        points = torch.where(lost[:, None], math.nan, points)
        scores = torch.where(lost, math.nan, peak)
        return points.reshape(batch, landmarks, len(self.map_size)), scores.reshape(batch, landmarks)

    def expectation(self, weights: Tensor) -> Tensor:
        """Mean point (B, K, n) in input pixels under non-negative ``weights`` (B, K, *map_size); passes gradients on.

        What ``soft_argmax`` gives for their square root. Weights of zero everywhere give the first cell.

        >>> codec = GaussianHeatmap((8, 8), stride=2)
        >>> codec.expectation(torch.ones(1, 1, 4, 4)).tolist()
        [[[3.5, 3.5]]]
        """
        self.check_maps(weights)
        mass = weights if weights.dtype == torch.float64 else weights.float()
        with torch.autocast(weights.device.type, enabled=False):
            cells = peaks.mean_cell(mass.flatten(0, 1))
        return from_grid(cells.flip(-1), self.stride).reshape(*weights.shape[:2], len(self.map_size))

    def check_maps(self, maps: Tensor) -> None:
        """Raises DataError for maps of another shape than (B, K, *map_size)."""
        if maps.ndim != 2 + len(self.map_size) or tuple(maps.shape[2:]) != self.map_size:
            raise DataError(
                f"maps: expected (B, K, {', '.join(map(str, self.map_size))}), got {tuple(maps.shape)}; "
                f"give maps of an input of {self.input_size} at stride {self.stride}"
            )

    def _locate(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Place (M, n) in cells, height (M,), and whether the map (M, *map_size) is constant (M,)."""
        cells, peak, constant = peaks.peak_cells(maps.detach())
        usable = (peak > 0) & peak.isfinite() & ~constant
        if self.decoder == "soft_argmax":
            # A map that cannot be used is divided by infinity, not only its result replaced, or its gradient is NaN.
            refined = peaks.expected_cell(maps, torch.where(usable, peak, math.inf))
        else:
            refined = cells + self._offset(maps.detach(), cells, torch.where(usable, peak, 1.0))
        return torch.where(usable[:, None], refined, cells.to(maps.dtype)), peak, constant

    def _offset(self, maps: Tensor, cells: Tensor, peak: Tensor) -> Tensor:
        """Distance of the point from its peak cell, in cells, for the decoders that look around the peak."""
        if self.decoder == "argmax":
            return torch.zeros_like(cells, dtype=peak.dtype)
        if self.decoder == "quarter":
            return peaks.quarter_offset(maps, cells)
        sigma = peaks.half_maximum_sigma(maps, cells, peak)
        refine = peaks.fit_offset if self.decoder == "dark" else peaks.centroid_offset
        return refine(maps, cells, peak, sigma)

    def _factors(self, points: Tensor, sigma: float | Tensor) -> list[Tensor]:
        """The one-dimensional Gaussians (B, K, cells), one per axis of the map, whose outer product is the map."""
        axes = len(self.input_size)
        if points.ndim != 3 or points.shape[-1] != axes:
            raise DataError(f"points: expected shape (B, K, {axes}), got {tuple(points.shape)}")
        double = points.dtype == torch.float64
        grid = to_grid(points if double else points.float(), self.stride)
        width = self._width(sigma, points.shape[0], points.shape[1], grid)
        present = grid.isfinite().all(-1, keepdim=True)
        # The point itself is replaced, not only its map, or a gradient would pass through NaN.
        grid = torch.where(present, grid, torch.zeros_like(grid))
        factors = []
        for axis, count in enumerate(self.map_size):
            cells = pixel_centers(count, dtype=grid.dtype, device=grid.device)
            away = (cells - grid[..., axes - 1 - axis, None]) / width
            factor = torch.exp(-0.5 * away.square())
            keep = present
            if self.normalize == "mean":
                keep = keep & (away.abs().amin(-1, keepdim=True) <= OUTSIDE_SIGMAS)
                mean = factor.mean(-1, keepdim=True)
                factor = factor / torch.where(keep, mean, torch.ones_like(mean))
            factors.append(torch.where(keep, factor, torch.zeros_like(factor)))
        return factors

    @staticmethod
    def _width(sigma: float | Tensor, batch: int, landmarks: int, like: Tensor) -> Tensor:
        """Sigma as (1, 1, 1), (1, K, 1) or (B, K, 1), checked."""
        value = sigma if isinstance(sigma, Tensor) else torch.as_tensor(sigma, dtype=torch.float64)
        if value.device.type == "cpu" and not bool(((value > 0) & value.isfinite()).all()):
            raise DataError(f"sigma: expected positive heatmap pixels, got {value.detach().reshape(-1).tolist()}")
        if tuple(value.shape) not in {(), (landmarks,), (batch, landmarks)}:
            raise DataError(
                f"sigma: expected a number, ({landmarks},) or ({batch}, {landmarks}), got shape {tuple(value.shape)}"
            )
        value = value.to(like.device, like.dtype)
        return value.reshape(*[1] * (2 - value.ndim), *value.shape, 1)
