"""The maxima of maps that may hold several: median filter, plateaus, and a least distance between those that count.

Everything here speaks of cells of the map, rows before columns. Maps come as (M, h, w); M runs over images and
landmarks. Only what lies above a threshold is worked on, which on the map of a trained network is little.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trigpoint.codecs import peaks

PIECE_WINDOWS = 2**14  # windows filtered at once, so that their values stay in the cache
FITS = 2  # the second around the place that the first found, where its samples lie evenly
FAR = 1e-3  # height, as a share of the peak, of what does not count in a fit


class Maxima(NamedTuple):
    """C maxima: the ``map`` (C,) each lies in, the ``centre`` (C, 2) of its plateau as (y, x), its ``height`` (C,)."""

    map: Tensor
    centre: Tensor
    height: Tensor


def median_above(maps: Tensor, threshold: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cells (N, 3) as (map, y, x), in this order, where the median over ``size`` x ``size`` cells of the map (M, h, w)
    exceeds its ``threshold`` (M,), and the medians (N,).

    The same as filtering the whole map and then looking: the median exceeds a threshold just where more than half of
    the window's cells do, and counting them is cheap; the median itself is taken in those places only. Beyond the
    border the map is mirrored about its outermost cells (``mode="mirror"`` of scipy), so a peak on the border keeps its
    height. ``size`` is odd and at most 15; 0 or 1 filters nothing.

    >>> maps = torch.zeros(1, 9, 9)
    >>> maps[0, 2, 2], maps[0, 5:7, 4:7] = 1.0, 0.5
    >>> cells, medians = median_above(maps, torch.tensor([0.3]), 3)
    >>> cells.tolist(), medians.tolist()
    ([[0, 5, 5], [0, 6, 5]], [0.5, 0.5])
    """
    above = maps > threshold[:, None, None]
    if size <= 1:
        cells = above.nonzero()
        return cells, maps[tuple(cells.unbind(1))]
    count = above.to(torch.uint8)
    for axis in (1, 2):
        count = _window_sum(count, axis, size)
    cells = (count > size * size // 2).nonzero()
    height, width = maps.shape[1:]
    step = torch.arange(size, device=maps.device) - size // 2
    values = [maps.new_zeros(0)]
    for piece in torch.split(cells, PIECE_WINDOWS):
        rows = piece[:, :1] * height + _mirrored(piece[:, 1:2] + step, height)
        columns = _mirrored(piece[:, 2:] + step, width)
        window = maps.reshape(-1).take(rows[:, :, None] * width + columns[:, None, :])
        values.append(window.flatten(1).median(1).values)
    return cells, torch.cat(values)


def regional_maxima(cells: Tensor, values: Tensor, size: tuple[int, int, int]) -> Maxima:
    """Maxima of maps of ``size`` (M, h, w), known at ``cells`` (N, 3) by their ``values`` (N,) and lower elsewhere.

    A maximum is a connected set of equal cells (8 neighbours) without a higher one beside it: a plateau counts once, at
    its centre of mass, and a step on a slope does not count. A map that is constant has none.

    >>> cells, values = torch.tensor([[0, 2, 3], [0, 2, 4], [0, 3, 3], [0, 3, 4]]), torch.tensor([2.0, 2.0, 1.0, 1.0])
    >>> regional_maxima(cells, values, (1, 9, 9)).centre.tolist()
    [[2.0, 3.5]]
    """
    near = _neighbours(cells, size)
    values_near = torch.cat([values, values.new_full((1,), -torch.inf)])[near]
    top = values >= values_near.amax(1)
    is_top = torch.cat([top, top.new_zeros(1)])
    # equal to a cell that has a higher neighbour itself
    step = ((values_near == values[:, None]) & ~is_top[near]).any(1)[top]
    rank = torch.cat([top.cumsum(0) - 1, top.new_zeros(1, dtype=torch.long)])
    cells, values, near = cells[top], values[top], near[top]
    own = torch.arange(len(cells), device=cells.device)
    label = _connected(torch.where(is_top[near], rank[near], own[:, None]))
    root = label == own
    group = (root.cumsum(0) - 1)[label]
    # whole numbers, so that the sums are exact and do not depend on their order
    table = torch.cat([torch.ones_like(cells[:, :1]), step[:, None].long(), cells[:, 1:]], 1)
    count, steps, *place = cells.new_zeros(int(root.sum()), 4).index_add_(0, group, table).unbind(1)
    centre = torch.stack(place, 1).to(values.dtype) / count[:, None].to(values.dtype)
    valid = (steps == 0) & (count < size[1] * size[2])
    return Maxima(cells[root, 0][valid], centre[valid], values[root][valid])


def highest(maxima: Maxima, maps: int, most: int) -> tuple[Maxima, Tensor]:
    """The ``most`` highest maxima of each of ``maps`` maps, by falling height within a map, and the place (C,) of each
    in that order."""
    order = maxima.height.argsort(descending=True, stable=True)
    order = order[maxima.map[order].argsort(stable=True)]
    owner = maxima.map[order]
    count = torch.zeros(maps, dtype=torch.long, device=owner.device).index_add_(0, owner, torch.ones_like(owner))
    place = torch.arange(len(owner), device=owner.device) - (count.cumsum(0) - count)[owner]
    kept = place < most
    order = order[kept]
    return Maxima(owner[kept], maxima.centre[order], maxima.height[order]), place[kept]


def refined(maps: Tensor, found: Maxima, window: float, median: int) -> Tensor:
    """Places (C, 2) in cells, (y, x), of the peaks of maps (M, h, w) that show as maxima after a ``median``.

    ``peaks.fit_offset`` on the unfiltered map, hence exact for Gaussians, without the cells beyond half a ``window``,
    which belong to a neighbour. A top that is flat has its centre.
    """
    place = found.centre
    if median > 1:
        place = _climb(maps, found.map, _nearest(place, maps), median // 2).to(place)
    for _ in range(FITS):
        place = _fit(maps, found, place, window / 2)
    return place


def spaced(points: Tensor, distance: float) -> Tensor:
    """Which of the ``points`` (M, N, 2), the best first and NaN = none, remain (M, N) when each that is nearer than
    ``distance`` to a better one that remains is dropped (greedy non-maximum suppression in a disc).

    >>> spaced(torch.tensor([[[0.0, 0.0], [8.0, 0.0], [16.0, 0.0], [0.0, 11.0]]]), 10.0).tolist()
    [[True, False, True, True]]
    """
    exists = points.isfinite().all(-1)
    if points.shape[1] < 2:
        return exists
    apart = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    rival = (apart < distance).tril(-1)
    keep = exists
    # each round settles at least the best one not yet settled, in practice the whole map within a few
    while True:
        dropped = (rival & keep[:, None, :]).any(-1)
        following = exists & ~dropped
        if torch.equal(following, keep):
            return keep
        keep = following


def _climb(maps: Tensor, index: Tensor, start: Tensor, reach: int) -> Tensor:
    """The cell (C, 2) with the highest mean of 3 x 3 at most ``reach`` rows and columns away from ``start`` (C, 2).

    A border moves the maximum of the filtered map by up to half the filter's window, farther than a fit reaches. Of the
    mean, because a single high cell may be the noise that the median is there for.
    """
    crop, origin = _crops(maps, index, start, reach + 1)
    mean = functional.avg_pool2d(crop[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    far = _away(mean, start - origin).abs().amax(-1) > reach
    cell = mean.masked_fill(far, -math.inf).flatten(1).argmax(1)
    return origin + torch.stack(torch.unravel_index(cell, mean.shape[1:]), -1)


def _fit(maps: Tensor, found: Maxima, place: Tensor, radius: float) -> Tensor:
    """The peak (C, 2) of a quadratic fitted to the logarithm of the map within ``radius`` cells around ``place``."""
    reach = max(2, math.ceil(radius) - 1)
    start = _nearest(place, maps)
    crop, origin = _crops(maps, found.map, start, reach)
    own = start - origin
    away = _away(crop, own)
    far = away.square().sum(-1) > radius**2
    peak = crop.masked_fill(far, 0.0).amax((1, 2)).clamp_min(torch.finfo(crop.dtype).tiny)
    # the fit gives next to no weight to what is low, but zeros would still pull through their logarithm
    near = torch.where(far, FAR * peak[:, None, None], crop)
    # Of the whole crop: a peak that is wider than it lets the fit space its samples as far as the crop allows. Not so
    # on a border, where all samples lie on one side and would reach twice as far.
    sigma = peaks.half_maximum_sigma(crop, own, peak)
    sigma = torch.where((own == reach).all(1, keepdim=True), sigma, 1.0)
    top = start + peaks.fit_offset(near, own, peak, sigma)
    # A Gaussian has at most 2 x 2 equal highest cells, and then their mean is its centre, too.
    ties = (near == peak[:, None, None]).to(place)
    count = ties.sum((1, 2))[:, None]
    mean = start + (away * ties[..., None]).sum((1, 2)) / count.clamp_min(1)
    # a filtered plateau as high as the peak itself is the inside of a flat top wider than the median
    flat = torch.where((found.height >= peak)[:, None], found.centre, mean)
    return torch.where(count > 2, flat, top)


def _nearest(place: Tensor, maps: Tensor) -> Tensor:
    """The cells (C, 2) of the maps (M, h, w) nearest to places."""
    last = torch.tensor(maps.shape[1:], device=maps.device) - 1
    return torch.minimum(place.round().long().clamp_min(0), last)


def _crops(maps: Tensor, index: Tensor, cells: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Values (C, rows, columns) of map ``index`` (C,) around ``cells`` (C, 2), and the first cell (C, 2) of each.

    2 ``reach`` + 1 cells per axis, or the whole axis; a crop that would leave the map is moved inside.
    """
    height, width = maps.shape[1:]
    sides = [min(2 * reach + 1, count) for count in (height, width)]
    last = torch.tensor([height - sides[0], width - sides[1]], device=maps.device)
    origin = torch.minimum((cells - reach).clamp_min(0), last)
    rows, columns = (origin[:, a, None] + torch.arange(side, device=maps.device) for a, side in enumerate(sides))
    rows = rows + index[:, None] * height
    return maps.reshape(-1).take(rows[:, :, None] * width + columns[:, None, :]), origin


def _away(crop: Tensor, cells: Tensor) -> Tensor:
    """Rows and columns (C, h, w, 2), signed, that the cells of crops (C, h, w) lie away from ``cells`` (C, 2)."""
    rows, columns = (torch.arange(count, device=crop.device) for count in crop.shape[1:])
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1) - cells[:, None, None]


def _window_sum(values: Tensor, axis: int, size: int) -> Tensor:
    """Sums over ``size`` cells along one axis of small whole numbers (M, h, w), mirrored beyond the border."""
    count, reach = values.shape[axis], size // 2
    side = torch.arange(reach, device=values.device)
    before = values.index_select(axis, _mirrored(side - reach, count))
    after = values.index_select(axis, _mirrored(side + count, count))
    padded = torch.cat([before, values, after], axis)
    total = padded.narrow(axis, 0, count).clone()
    for start in range(1, size):
        total += padded.narrow(axis, start, count)
    return total


def _mirrored(place: Tensor, count: int) -> Tensor:
    """Cells 0 .. count - 1 of places beyond the border, mirrored about the outermost cells as often as needed."""
    period = max(2 * (count - 1), 1)
    place = place % period
    return torch.minimum(place, period - place)


def _neighbours(cells: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Numbers (N, 9) of the cells in the 3 x 3 around each, itself among them; N where that cell is not listed."""
    maps, height, width = size
    # one empty column and row between the maps and lines, so that nobody is a neighbour across a border
    line = width + 1
    key = (cells[:, 0] * (height + 1) + cells[:, 1] + 1) * line + cells[:, 2] + 1
    entries = (maps * (height + 1) + 2) * line
    table = torch.full((entries,), len(cells), dtype=torch.int32, device=cells.device)
    table[key] = torch.arange(len(cells), dtype=torch.int32, device=cells.device)
    side = torch.arange(3, device=cells.device) - 1
    return table[key[:, None] + (side[:, None] * line + side).reshape(-1)].long()


def _connected(near: Tensor) -> Tensor:
    """The lowest number (N,) in the connected set of each of N cells with neighbours ``near`` (N, 9)."""
    label = torch.arange(len(near), device=near.device)
    if not len(near):
        return label
    while True:
        lower = label[near].amin(1)
        lower = lower[lower]  # the label of the label: a long plateau takes few rounds
        if torch.equal(lower, label):
            return label
        label = lower
