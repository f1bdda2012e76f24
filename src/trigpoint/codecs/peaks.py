"""Where the peak of a map lies, to a fraction of a cell.

Everything here speaks of cells of the map, in the order of the map's axes ((z,) y, x); ``GaussianHeatmap`` turns that
into points of the input image. Maps come as (M, *size) with one, two or three axes; M runs over images and landmarks.
"""

import math
from itertools import combinations

import torch
from torch import Tensor
from torch.compiler import is_exporting

from trigpoint.geometry import pixel_centers

FIT_CELLS = 5  # samples per axis of the quadratic fit
CENTROID_STEPS = 6
# A window that is cut by the border draws a centroid inwards; nearer than this many sigmas the fit is used instead.
CENTROID_MARGIN = 3.5
PIECE_CELLS = 2**19  # cells worked on at once, so that what lies between stays in the cache
HALF_MAXIMUM = 1.1774100225154747  # sqrt(2 ln 2): half width at half maximum of a Gaussian with sigma 1


def peak_cells(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cell (M, axes) and value (M,) of each map's maximum, and whether the map is constant (M,).

    The value is NaN when a map holds a NaN.

    >>> cells, values, constant = peak_cells(torch.tensor([[[0.0, 0.5, 0.0], [0.0, 0.0, 2.0]]]))
    >>> cells.tolist(), values.tolist(), constant.tolist()
    ([[1, 2]], [2.0], [False])
    """
    lines = maps.flatten(1, -2) if maps.ndim > 2 else maps[:, None]
    best = lines.amax(-1)  # a maximum without its index is vectorised on the CPU, an argmax over everything is not
    row = best.argmax(-1)
    line = lines.gather(1, row[:, None, None].expand(-1, 1, lines.shape[-1])).squeeze(1)
    flat = row * lines.shape[-1] + line.argmax(-1)
    peak = best.amax(-1)
    constant = line.amin(-1) == peak
    if is_exporting() or bool(constant.any()):  # rare, and a whole pass over the maps saved otherwise
        constant = lines.flatten(1).amin(-1) == peak
    return torch.stack(torch.unravel_index(flat, maps.shape[1:]), -1), peak, constant


def half_maximum_sigma(maps: Tensor, cells: Tensor, peak: Tensor) -> Tensor:
    """Sigma (M, axes), in cells, of a Gaussian whose half maximum is as far from the peak as the map's.

    Read along the lines through the peak cell. A side on which the map never falls below half of its peak does not
    count; without any such side the length of the axis is returned.
    """
    sigmas = []
    for axis, count in enumerate(maps.shape[1:]):
        away = pixel_centers(count, maps.dtype, maps.device) - cells[:, axis, None]
        below = _line(maps, cells, axis) < peak[:, None] / 2
        far = torch.full_like(away, math.inf)
        sides = torch.stack([torch.where(below & (side > 0), side, far).amin(-1) for side in (-away, away)], -1)
        found = sides.isfinite()
        mean = torch.where(found, sides, 0).sum(-1) / found.sum(-1).clamp_min(1)
        # the crossing lies somewhere in the last step, half a cell back on average
        sigmas.append(torch.where(found.any(-1), (mean - 0.5) / HALF_MAXIMUM, float(count)))
    return torch.stack(sigmas, -1).to(peak.dtype)


def quarter_offset(maps: Tensor, cells: Tensor) -> Tensor:
    """The classic shift (M, axes) by a quarter of a cell towards the higher neighbour; none on the map's edge."""
    shifts = []
    for axis, count in enumerate(maps.shape[1:]):
        line, at = _line(maps, cells, axis), cells[:, axis, None]
        left, right = (line.gather(1, (at + step).clamp(0, count - 1)).squeeze(1) for step in (-1, 1))
        inner = (at.squeeze(1) > 0) & (at.squeeze(1) < count - 1)
        shifts.append(torch.where(inner, 0.25 * torch.sign(right - left), 0.0))
    return torch.stack(shifts, -1)


def fit_offset(maps: Tensor, cells: Tensor, peak: Tensor, sigma: Tensor) -> Tensor:
    """Newton step (M, axes) on the logarithm of the map, from the peak cell to the maximum of a fitted quadratic.

    DARK (Zhang et al., CVPR 2020, Eq. 8) takes the derivatives from differences of a blurred map. Here they come from a
    least-squares quadratic over 5 samples per axis, spaced half a sigma, weighted by the squared value (Guo, IEEE
    Signal Processing Magazine 28(5), 2011), so that noise in the tails hardly counts. It is exact on any Gaussian,
    rotated and elongated ones and those cut by the border included, hence needs no blur. The step is never longer than
    one cell, or one spacing of the samples on a wide peak. An axis of fewer than 3 cells is not refined.
    """
    active = [axis for axis, count in enumerate(maps.shape[1:]) if count >= 3]
    offset = torch.zeros_like(cells, dtype=peak.dtype)
    if not active or not maps.shape[0]:
        return offset
    sizes = [min(FIT_CELLS, count) if count >= 3 else 1 for count in maps.shape[1:]]
    widest = [(count - 1) // max(size - 1, 1) for count, size in zip(maps.shape[1:], sizes, strict=True)]
    limit = torch.tensor(widest, device=maps.device).clamp_min(1)
    spacing = torch.minimum((sigma / 2).long().clamp_min(1), limit)
    values, places = window(maps, cells, sizes, spacing)
    # Float64 for the solve; a device without it (mps) lends these few numbers to the CPU.
    home = torch.device("cpu") if maps.device.type == "mps" else maps.device
    ratio = (values / peak.reshape(-1, *[1] * len(sizes))).flatten(1).to(home, torch.float64)
    ratio = ratio.nan_to_num(0.0, 0.0, 0.0)
    # In units of the spacing, so that the equations are conditioned alike for narrow and wide peaks.
    units = [((places[a] - cells[:, a, None]) / spacing[:, a, None]).to(home, torch.float64) for a in active]
    step = _newton_step(ratio, _columns(units, active, sizes))
    reach = torch.linalg.vector_norm(step, dim=-1, keepdim=True)
    step = step / reach.clamp_min(1.0)
    step = step.to(maps.device, peak.dtype) * spacing[:, active]
    offset[:, active] = step
    return offset


def centroid_offset(maps: Tensor, cells: Tensor, peak: Tensor, sigma: Tensor) -> Tensor:
    """Centre of mass (M, axes), relative to the peak cell, under a Gaussian window that is moved until it stays.

    The windowed centroid of astronomy (SExtractor's XWIN_IMAGE): the window is as wide as the peak asks for, and the
    shift is enlarged by what the window held back, so that the result has no bias. Negative values count as zero.
    Along an axis whose border cuts the window, the offset of ``fit_offset`` is taken. The point stays within one
    cell of the peak cell, or half a sigma on a wide peak.
    """
    fallback = fit_offset(maps, cells, peak, sigma)
    if not maps.shape[0]:
        return fallback
    # + 0.75: a product of window and peak narrower than a cell would be aliased by the sampling
    variance = sigma**2 / 2 + 0.75
    # Wide enough for the widest peak. A graph has no sizes that depend on values: there it is the whole map.
    reach = (4 * variance.sqrt()).amax(0).ceil().long()
    widths = maps.shape[1:] if is_exporting() else (2 * reach + 3).tolist()
    sizes = [min(count, width) for count, width in zip(maps.shape[1:], widths, strict=True)]
    values, places = window(maps, cells, sizes, torch.ones_like(cells))
    if is_exporting():
        values = _within(values, places, cells, 2 * reach + 3)
    values = (values.clamp_min(0) / peak.reshape(-1, *[1] * len(sizes))).nan_to_num(0.0, 0.0, 0.0)
    away = [(place - cells[:, a, None]).to(values.dtype) for a, place in enumerate(places)]
    longest = (sigma.amax(-1, keepdim=True) / 2).floor().clamp_min(1.0)
    gain = 1 + sigma**2 / variance
    last = torch.tensor(maps.shape[1:], device=maps.device) - 1
    cut = torch.minimum(cells, last - cells) < CENTROID_MARGIN * sigma
    centre = torch.zeros_like(fallback)
    for _ in range(CENTROID_STEPS):
        centre = torch.where(cut, fallback, centre + gain * _windowed_mean(values, away, centre, variance))
        distance = torch.linalg.vector_norm(centre, dim=-1, keepdim=True)
        centre = centre * (longest / distance.clamp_min(1e-12)).clamp_max(1.0)
    return centre


def expected_cell(maps: Tensor, scale: Tensor) -> Tensor:
    """Mean cell (M, axes) under the squared non-negative map; differentiable.

    ``scale`` (M,) divides the maps first: their peak, so that no height overflows, or infinity for a map that does not
    count, which leaves nothing of it, in the gradient neither. Squaring keeps a floor of noise over the whole map from
    drawing the mean to the middle.
    """
    scale = scale.reshape(-1, *[1] * (maps.ndim - 1))
    piece = max(1, PIECE_CELLS // max(1, maps.shape[1:].numel()))
    split = [(maps, scale)] if is_exporting() else zip(torch.split(maps, piece), torch.split(scale, piece), strict=True)
    means = []
    for part, divisor in split:
        relative = part / divisor
        means.append(mean_cell(torch.where(relative > 0, relative, 0.0).square()))
    return torch.cat(means)


def mean_cell(mass: Tensor) -> Tensor:
    """Mean cell (M, axes) under non-negative maps; differentiable. A map of zeros gives cell 0.

    >>> mean_cell(torch.tensor([[[0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]])).tolist()
    [[0.25, 1.25]]
    """
    means = []
    while mass.ndim > 1:
        cell = pixel_centers(mass.shape[-1], mass.dtype, mass.device)
        # one pass gives the sum along the last axis, which the next axis goes on with, and the first moment
        mass, moment = (mass @ torch.stack([torch.ones_like(cell), cell], -1)).unbind(-1)
        means.append(moment.flatten(1).sum(-1) if moment.ndim > 1 else moment)
    return torch.stack(means[::-1], -1) / mass.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]


def window(maps: Tensor, cells: Tensor, sizes: list[int], spacing: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Values (M, *sizes) around ``cells`` (M, axes), every ``spacing``-th cell, and their places, (M, size) per axis.

    A window that would leave the map is moved inside.
    """
    counts = maps.shape[1:]
    places: list[Tensor] = []
    index = torch.zeros([maps.shape[0]] + [1] * len(sizes), dtype=torch.long, device=maps.device)
    for axis, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        step = spacing[:, axis]
        start = torch.minimum(cells[:, axis] - step * (size // 2), count - 1 - step * (size - 1)).clamp_min(0)
        places.append(start[:, None] + step[:, None] * torch.arange(size, device=maps.device))
        index = index * count + _along(places[-1], axis, len(sizes))
    return maps.flatten(1).gather(1, index.flatten(1)).reshape(index.shape), places


def _within(values: Tensor, places: list[Tensor], cells: Tensor, widths: Tensor) -> Tensor:
    """``values`` of whole maps, zero where a ``window`` of ``widths`` (axes,) cells would not reach."""
    for axis, place in enumerate(places):
        count = values.shape[axis + 1]
        size = widths[axis].clamp_max(count)
        start = torch.minimum(cells[:, axis] - size // 2, count - size).clamp_min(0)[:, None]
        near = (place >= start) & (place < start + size)
        values = torch.where(_along(near, axis, len(places)), values, 0.0)
    return values


def _along(values: Tensor, axis: int, axes: int) -> Tensor:
    """Values (M, n) that lie along one of the axes, as (M, 1, .., n, .., 1)."""
    return values.reshape(-1, *[1] * axis, values.shape[1], *[1] * (axes - 1 - axis))


def _line(maps: Tensor, cells: Tensor, axis: int) -> Tensor:
    """The line of the map through the peak cell along one axis, (M, cells of that axis)."""
    sizes = [count if a == axis else 1 for a, count in enumerate(maps.shape[1:])]
    return window(maps, cells, sizes, torch.ones_like(cells))[0].flatten(1)


def _columns(units: list[Tensor], active: list[int], sizes: list[int]) -> Tensor:
    """Design matrix (M, cells, terms) of a quadratic: 1, then u, then u**2 per axis, then the products."""
    grids = [_along(u, a, len(sizes)).expand(-1, *sizes).flatten(1) for u, a in zip(units, active, strict=True)]
    products = [a * b for a, b in combinations(grids, 2)]
    return torch.stack([torch.ones_like(grids[0]), *grids, *(g * g for g in grids), *products], -1)


def _newton_step(ratio: Tensor, columns: Tensor) -> Tensor:
    """Maximum of the weighted quadratic through log(ratio); axis by axis, or zero, where it has no maximum."""
    weight = ratio.clamp(1e-3, 1.0) ** 2
    weighted = (columns * weight[..., None]).mT
    log = ratio.clamp_min(1e-12).log()
    terms = torch.linalg.solve_ex(weighted @ columns, weighted @ log[..., None])[0].squeeze(-1)
    axes = {3: 1, 6: 2, 10: 3}[columns.shape[-1]]
    slope, square, cross = terms[:, 1 : 1 + axes], terms[:, 1 + axes : 1 + 2 * axes], terms[:, 1 + 2 * axes :]
    curvature = torch.diag_embed(-2 * square)
    for column, (a, b) in enumerate(combinations(range(axes), 2)):
        curvature[:, a, b] = curvature[:, b, a] = -cross[:, column]
    factor, failed = torch.linalg.cholesky_ex(curvature)
    full = torch.cholesky_solve(slope[..., None], factor).squeeze(-1)
    single = torch.where(square < 0, slope / (-2 * square), 0.0)
    return torch.where(failed[:, None] == 0, full, single).nan_to_num(0.0, 0.0, 0.0)


def _windowed_mean(values: Tensor, away: list[Tensor], centre: Tensor, variance: Tensor) -> Tensor:
    """Mean distance (M, axes) from ``centre`` under values times a Gaussian window there."""
    bases = []
    for axis, place in enumerate(away):
        distance = place - centre[:, axis, None]
        weight = torch.exp(-(distance**2) / (2 * variance[:, axis, None]))
        bases.append(torch.stack([weight, weight * distance], -1))
    rule = {1: "mx,mxi->mi", 2: "myx,myj,mxi->mji", 3: "mzyx,mzk,myj,mxi->mkji"}[len(away)]
    moments = torch.einsum(rule, values, *bases).flatten(1)
    first = [2 ** (len(away) - 1 - axis) for axis in range(len(away))]  # where only that axis has its first moment
    return moments[:, first] / moments[:, :1].clamp_min(1e-12)
