"""Where landmarks lie relative to one another, as a Gaussian, and what it makes of maps that err here and there.

The prior of a shape is its mean, moved, scaled and turned a little, plus deviations: before there are many labels
neighbours deviate together (a Gaussian process over the mean shape), and the more labels there are the more their own
covariance counts (as in the posterior of an inverse Wishart prior). Everything is linear and Gaussian, so that the
place which all other landmarks imply for one, and how sure that is, has a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trigpoint.geometry import center, from_grid, pixel_centers
from trigpoint.landmarks import FloatArray

SHIFT, SCALE, TURN = 0.15, 0.15, 0.15  # SD of the pose: a share of the input's side, of the logarithm, radians
REACH = 0.25  # how far deviations reach from landmark to landmark, in radii of the shape
ALONE = 0.2  # share of the deviation that each landmark has for itself
LABELS = 8.0  # labels that the prior counts as
FREEDOM = 3.0  # of the t distribution of what is found: far outliers hardly count
ROUNDS = 5
NEAR = 0.7  # SD of what is found around the true place, cells
NOWHERE = 1e12  # variance of what is not known


@dataclass(frozen=True)
class ShapePrior:
    """A Gaussian over shapes of K landmarks: ``mean`` (K, 2) input pixels and ``covariance`` (2K, 2K), all x then all
    y, both float64 on the CPU; ``known`` (K,): which landmarks any label has."""

    mean: Tensor
    covariance: Tensor
    known: Tensor

    @classmethod
    def of(cls, points: Tensor, size: tuple[int, int], deviation: float) -> ShapePrior:
        """From labelled points (N, K, 2) in pixels of an input of ``size`` (H, W), NaN = missing; N may be 1.

        ``deviation``: SD of a landmark from where a moved, scaled and turned mean has it, in radii of the shape.
        """
        labels = points.double().cpu().numpy()
        shapes = labels[..., 0] + 1j * labels[..., 1]
        known = np.isfinite(shapes).any(0)
        poses, mean = _aligned(shapes)
        mean[~known] = np.mean(mean[known]) if known.any() else complex(*center(size))
        side = float(np.sqrt(size[0] * size[1]))
        radius = max(float(np.std(mean)), side / 20)  # of a single landmark it would be 0
        z = (mean - np.mean(mean)) / radius
        apart = np.abs(z[:, None] - z) ** 2
        within = np.exp(-apart / (2 * REACH**2)) + ALONE**2 * np.eye(len(z))
        total = np.kron(np.eye(2), deviation**2 * within)
        rest, moved = _residuals(shapes, mean, poses, radius)
        extra = max(len(shapes) - 1, 0)
        total = (LABELS * total + rest.T @ rest) / (LABELS + extra)
        spread = [
            (LABELS * prior**2 + own) / (LABELS + extra)
            for prior, own in zip((SHIFT * side / radius, SHIFT * side / radius, SCALE, TURN), moved, strict=True)
        ]
        ones, none = np.ones(len(z)), np.zeros(len(z))
        ways = [(ones, none), (none, ones), (z.real, z.imag), (-z.imag, z.real)]
        for way, variance in zip(ways, spread, strict=True):
            line = np.concatenate(way)
            total = total + variance * np.outer(line, line)
        centre = np.stack([mean.real, mean.imag], 1)
        return cls(torch.from_numpy(centre), torch.from_numpy(radius**2 * total), torch.from_numpy(known))

    def implied(self, found: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What all others imply for each landmark (B, K, 2) and its variance (B, K), and the most likely shape
        (B, K, 2), where ``found`` (B, K, 2) has a ``variance`` (B, K)."""
        noise = torch.cat([variance, variance], 1)
        precision = torch.linalg.inv_ex(self.covariance + torch.diag_embed(noise))[0]
        away = (found - self.mean).transpose(1, 2).flatten(1)
        pull = (precision @ away[..., None]).squeeze(-1)
        own = precision.diagonal(dim1=-2, dim2=-1)
        others = (found.transpose(1, 2).flatten(1) - pull / own).reshape(len(found), 2, -1).transpose(1, 2)
        sure = ((1 / own).reshape(len(found), 2, -1).mean(1) - variance).clamp_min(1e-3)
        likely = self.mean + (pull @ self.covariance).reshape(len(found), 2, -1).transpose(1, 2)
        return others, sure, likely

    def fit(self, maps: Tensor, stride: int, trust: float) -> tuple[Tensor, Tensor]:
        """Points (B, K, 2) in input pixels and the values (B, K) of maps (B, K, h, w) where they were found.

        Each landmark is looked for where its map, relative to its peak, times ``trust``, less the squared distance from
        what the others imply, is largest; what lies far from that counts less. The points are those of the most likely
        shape. All on the CPU, for the numbers are few and float64.
        """
        maps = maps.detach().double().cpu()
        height, width = maps.shape[-2:]
        flat = maps.flatten(2)
        peaks = flat.amax(-1, keepdim=True)
        level = (peaks.clamp_min(1e-9) * peaks.clamp_min(1e-9).mean(1, keepdim=True)).sqrt()
        evidence = trust * flat / level
        x, y = (from_grid(pixel_centers(n, maps.dtype), stride) for n in (width, height))
        implied = self.mean.expand(len(maps), -1, -1)
        sure = self.covariance.diagonal().reshape(2, -1).mean(0).expand(len(maps), -1)
        least = (NEAR * stride) ** 2
        unknown = ~self.known.expand(len(maps), -1)
        cells = torch.zeros(maps.shape[:2], dtype=torch.long)
        for turn in range(ROUNDS):
            away = (x - implied[..., :1]).square()[..., None, :] + (y - implied[..., 1:]).square()[..., :, None]
            cells = (evidence - away.flatten(2) / (2 * sure[..., None])).argmax(-1)
            found = torch.stack([x[cells % width], y[cells // width]], -1)
            if turn == ROUNDS - 1:
                found = from_grid(_centroids(maps, cells), stride)
            variance = torch.full_like(sure, least).masked_fill(unknown, NOWHERE)
            for _ in range(2):  # what lies far from what the others imply counts less
                implied, sure, _ = self.implied(found, variance)
                unlikely = (found - implied).square().sum(-1) / (sure + least)
                weight = ((unlikely / 2 + FREEDOM) / (FREEDOM + 2)).clamp_min(1)
                variance = (least * weight).masked_fill(unknown, NOWHERE)
            implied, sure, likely = self.implied(found, variance)
        return likely, flat.gather(2, cells[..., None]).squeeze(-1)


def _aligned(shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 2) of complex shapes (N, K), centre and complex factor, and their mean shape (K,) in the mean pose."""
    counts = np.isfinite(shapes).sum(1)
    mean = np.array(shapes[int(np.argmax(counts))])
    poses = np.zeros((len(shapes), 2), complex)
    for _ in range(3):
        moved = []
        for i, shape in enumerate(shapes):
            poses[i] = _pose(shape, mean)
            moved.append((shape - poses[i, 0]) / poses[i, 1])
        there = np.isfinite(np.array(moved))
        sums = np.where(there, np.array(moved), 0).sum(0)
        mean = np.where(there.any(0), sums / np.maximum(there.sum(0), 1), np.nan)
    used = counts > 0
    if not used.any():
        return poses, mean
    factors = poses[used, 1]
    turn = factors / np.abs(factors)
    typical = np.exp(np.log(np.abs(factors)).mean()) * turn.mean() / max(abs(turn.mean()), 1e-9)
    middle = poses[used, 0].mean()
    poses = np.stack([poses[:, 0], poses[:, 1] / typical], 1)
    return poses, mean * typical + middle


def _pose(shape: np.ndarray, mean: np.ndarray) -> tuple[complex, complex]:
    """Where ``mean`` has its origin in ``shape``, and the factor that scales and turns it, by least squares."""
    both = np.isfinite(shape) & np.isfinite(mean)
    if not both.any():
        return 0j, 1 + 0j
    a, b = mean[both], shape[both]
    centred = a - a.mean()
    power = float((np.abs(centred) ** 2).sum())
    factor = complex((np.conj(centred) * (b - b.mean())).sum() / power) if power > 1e-9 else 1 + 0j
    factor = factor if abs(factor) > 1e-6 else 1 + 0j
    return complex(b.mean() - factor * a.mean()), factor


def _residuals(
    shapes: np.ndarray, mean: np.ndarray, poses: np.ndarray, radius: float
) -> tuple[FloatArray, tuple[float, float, float, float]]:
    """What each shape has beyond its pose (N, 2K), in radii, 0 where it is not known; and the sums of squares of the
    poses' own deviations: x and y in radii, logarithm of the scale, turn."""
    rest, own = [], []
    for shape in shapes:
        origin, factor = _pose(shape, mean)
        left = np.where(np.isfinite(shape), (shape - origin) / factor - mean, 0)
        rest.append(np.concatenate([left.real, left.imag]) / radius)
        if np.isfinite(shape).any():
            centre = origin + factor * np.mean(mean) - np.mean(mean)
            own.append([centre.real / radius, centre.imag / radius, np.log(abs(factor)), np.angle(factor)])
    if len(own) < 2:
        return np.array(rest).reshape(len(shapes), -1), (0.0, 0.0, 0.0, 0.0)
    spread = np.array(own)
    x, y, scale, turn = ((spread - spread.mean(0)) ** 2).sum(0).tolist()
    return np.array(rest), (x, y, scale, turn)


def _centroids(maps: Tensor, cells: Tensor) -> Tensor:
    """Cells (B, K, 2), x and y, of the mass of the squared values around ``cells`` (B, K), 3 x 3."""
    height, width = maps.shape[-2:]
    x, y = cells % width, cells // width
    total = torch.zeros(*cells.shape, 3, dtype=maps.dtype)
    flat = maps.flatten(2)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            column, row = x + dx, y + dy
            there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            at = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1))[..., None]
            weight = flat.gather(2, at).squeeze(-1).clamp_min(1e-9).square() * there
            total += torch.stack([weight, weight * column, weight * row], -1)
    return total[..., 1:] / total[..., :1]
