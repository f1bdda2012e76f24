"""Several instances per landmark: the codec against loops, scipy's median filter, and its own declared tolerance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter

from trigpoint.codecs import GaussianHeatmap, InstanceHeatmap, Instances, maxima
from trigpoint.errors import ConfigError, DataError
from trigpoint.methods.losses import MeanSquaredError

NAN = math.nan


def random_maps(*shape, seed=0, smooth=False):
    """Noise, or noise averaged over 5 x 5, which has fewer and wider peaks."""
    maps = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    if smooth:
        maps = torch.nn.functional.avg_pool2d(maps, 5, 1, 2) * 3
    return maps


def one_landmark(*points):
    """(1, M, 1, 2)."""
    return torch.tensor(points, dtype=torch.float32)[None, :, None]


def unmatched(found, truth):
    """Greatest distance per axis from any true point (M, 2) to the nearest found one, the other way round too."""
    apart = (found[:, None] - truth[None]).abs().amax(-1)
    return max(apart.amin(0).max().item(), apart.amin(1).max().item())


# ---- encoding


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_encode_is_the_maximum_cell_by_cell(stride):
    size, sigma = (23, 30), [1.3, 2.5]
    points = np.random.default_rng(0).uniform(0, 22, (2, 3, 2, 2))  # 2 images, 3 instances, 2 landmarks
    points[0, 1, 0] = NAN
    points[1, :, 1] = NAN
    codec = InstanceHeatmap(size, stride)
    maps = codec.encode(torch.tensor(points), torch.tensor(sigma, dtype=torch.float64)).numpy()
    assert maps.shape == (2, 2, *codec.map_size) == (2, 2, -(-23 // stride), -(-30 // stride))
    for b, k, row, column in np.ndindex(maps.shape):
        # a cell covers `stride` pixels, its centre is the mean of their centres
        centre = [np.mean([cell * stride + j for j in range(stride)]) for cell in (column, row)]
        values = [
            math.exp(-sum((centre - point) ** 2) / stride**2 / (2 * sigma[k] ** 2))
            for point in points[b, :, k]
            if np.isfinite(point).all()
        ]
        assert maps[b, k, row, column] == pytest.approx(max(values, default=0.0), rel=1e-9, abs=1e-12)


def test_one_instance_is_the_plain_codec():
    points = torch.rand(3, 1, 4, 2) * 40
    plain = GaussianHeatmap((40, 48), stride=2)
    codec = InstanceHeatmap((40, 48), stride=2)
    assert torch.equal(codec.encode(points, 2.0), plain.encode(points[:, 0], 2.0))
    assert torch.equal(codec.energy(points, 2.0), plain.energy(points[:, 0], 2.0))


def test_no_instance_is_an_empty_map():
    codec = InstanceHeatmap((16, 20))
    for points in (torch.zeros(2, 0, 3, 2), torch.full((2, 2, 3, 2), NAN)):
        maps = codec.encode(points, torch.tensor([2.0, 3.0, 4.0]))
        assert maps.shape == (2, 3, 16, 20)
        assert maps.abs().max() == 0
        assert codec.energy(points, 2.0).tolist() == [[0.0] * 3] * 2


def test_energy_is_the_mean_square():
    codec = InstanceHeatmap((30, 40), stride=2)
    points = torch.rand(2, 4, 3, 2, generator=torch.Generator().manual_seed(0)) * 30
    points[1, 2] = NAN
    sigma = torch.tensor([1.5, 3.0, 6.0])
    expected = codec.encode(points, sigma).square().mean((2, 3))
    torch.testing.assert_close(codec.energy(points, sigma), expected)
    assert codec.energy(points.half(), sigma).dtype == torch.float32
    # two that lie far apart have the energy of both
    far = torch.tensor([[[[5.0, 5.0]], [[35.0, 25.0]]]])
    torch.testing.assert_close(codec.energy(far, 1.0), codec.energy(far[:, :1], 1.0) + codec.energy(far[:, 1:], 1.0))


def test_gradients_reach_sigma_and_points_but_no_nan():
    codec = InstanceHeatmap((11, 12))
    points = torch.tensor([[[[4.3, 5.1], [NAN, NAN]], [[8.2, 3.4], [NAN, 2.0]]]], dtype=torch.float64)
    sigma = torch.tensor([1.7, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: codec.encode(points, s), sigma)
    points.requires_grad_()
    codec.encode(points, sigma).square().sum().backward()
    assert points.grad is not None
    assert points.grad[0, :, 1].abs().max() == 0
    assert points.grad[0, :, 0].abs().min() > 0
    assert sigma.grad is not None
    assert sigma.grad[1] == 0


def test_the_mean_squared_error_takes_it_as_it_is():
    codec = InstanceHeatmap((24, 32), stride=2)
    points = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 24
    points[0, :, 1] = NAN
    sigma = torch.tensor([2.0, 3.0])
    loss, misfit, energy = MeanSquaredError()(torch.zeros(2, 2, 12, 16), points, sigma, codec)
    torch.testing.assert_close(misfit, energy)  # a network of zeros
    assert loss[0, 1] == energy[0, 1] == 0
    relative = MeanSquaredError(relative=True)(torch.zeros(2, 2, 12, 16), points, sigma, codec).loss
    torch.testing.assert_close(relative, torch.tensor([[1.0, 0.0], [1.0, 1.0]]))


# ---- the median, only where it is needed


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    size=st.sampled_from([0, 1, 3, 5, 7, 9, 15]),
    threshold=st.sampled_from([-5.0, 0.0, 0.3, 1.0]),
    levels=st.sampled_from([1, 3, 1000]),
    seed=st.integers(0, 100),
)
def test_median_above_equals_the_full_filter(shape, size, threshold, levels, seed):
    maps = (random_maps(*shape, seed=seed) * levels).round() / levels
    full = np.stack([median_filter(m.numpy(), size=max(size, 1), mode="mirror") for m in maps])
    cells, values = maxima.median_above(maps, torch.full((shape[0],), threshold), size)
    expected = np.argwhere(full > threshold)
    assert cells.tolist() == expected.tolist()
    assert values.numpy().tolist() == full[tuple(expected.T)].tolist()


def test_each_map_has_its_own_threshold():
    maps = random_maps(1, 20, 20).expand(3, -1, -1)
    cells, values = maxima.median_above(maps, torch.tensor([9.0, 0.1, -9.0]), 3)
    assert [int((cells[:, 0] == m).sum()) for m in range(3)] == [0, int((values[cells[:, 0] == 2] > 0.1).sum()), 400]


def test_a_peak_of_the_smallest_sigma_survives_the_median():
    for size in (3, 5, 7, 9):
        codec = InstanceHeatmap((61, 61), median=size)
        for sigma in (1.0, 1.5, 2.0, 3.0, 5.0):
            (peak,) = codec.decode(codec.encode(one_landmark([30.0, 30.0]), sigma), threshold=0.0).scores[0, 0]
            assert peak.item() == pytest.approx(math.exp(-4 / 9 * (codec.smallest_sigma / sigma) ** 2), rel=1e-5)
    assert InstanceHeatmap((61, 61)).smallest_sigma == 3.0
    assert InstanceHeatmap((61, 61), median=0).smallest_sigma == 1.0


# ---- maxima


def brute_maxima(image, threshold):
    """(centre, height) of every plateau above the threshold without a higher neighbour, by flooding."""
    seen, found = np.zeros(image.shape, bool), []
    for start in np.argwhere(image > threshold):
        if seen[tuple(start)]:
            continue
        height, plateau, edge, is_top = image[tuple(start)], [], [tuple(start)], True
        seen[tuple(start)] = True
        while edge:
            y, x = edge.pop()
            plateau.append((y, x))
            for v in range(max(y - 1, 0), min(y + 2, image.shape[0])):
                for u in range(max(x - 1, 0), min(x + 2, image.shape[1])):
                    is_top &= image[v, u] <= height
                    if image[v, u] == height and not seen[v, u]:
                        seen[v, u] = True
                        edge.append((v, u))
        if is_top and len(plateau) < image.size:
            found.append((*np.mean(plateau, 0), height))
    return sorted(found)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 14), st.integers(1, 14)),
    levels=st.sampled_from([1, 2, 1000]),
    seed=st.integers(0, 1000),
)
def test_regional_maxima_equal_flooding(shape, levels, seed):
    maps = (random_maps(*shape, seed=seed) * levels).round() / levels
    cells, values = maxima.median_above(maps, torch.zeros(shape[0]), 0)
    found = maxima.regional_maxima(cells, values, shape)
    for m in range(shape[0]):
        mine = found.map == m
        rows = torch.cat([found.centre[mine], found.height[mine, None]], 1).double().numpy()
        expected = np.array(brute_maxima(maps[m].double().numpy(), 0.0)).reshape(-1, 3)
        rows = rows[np.lexsort(rows.round(4).T[::-1])]
        expected = expected[np.lexsort(expected.round(4).T[::-1])]
        assert rows.shape == expected.shape
        np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_long_winding_plateau_is_one():
    image = torch.zeros(1, 41, 41)
    image[0, ::2] = 1.0
    image[0, 1::4, -1] = image[0, 3::4, 0] = 1.0  # rows joined left and right in turn
    cells, values = maxima.median_above(image, torch.zeros(1), 0)
    assert len(maxima.regional_maxima(cells, values, (1, 41, 41)).height) == 1


def test_highest_keeps_the_best_of_each_map():
    found = maxima.Maxima(
        torch.tensor([0, 2, 0, 0, 2]), torch.arange(10.0).reshape(5, 2), torch.tensor([3, 1, 5, 4, 2.0])
    )
    best, place = maxima.highest(found, maps=3, most=2)
    assert best.map.tolist() == [0, 0, 2, 2]
    assert best.height.tolist() == [5, 4, 2, 1]
    assert place.tolist() == [0, 1, 0, 1]
    assert best.centre[0].tolist() == [4.0, 5.0]


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), count=st.integers(0, 40), distance=st.floats(1.0, 40.0))
def test_spacing_is_greedy(seed, count, distance):
    points = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * 50
    points[1, count // 2 :] = NAN
    keep = maxima.spaced(points, distance)
    for m in range(2):
        kept = []
        for i, point in enumerate(points[m].double().tolist()):
            if not math.isnan(point[0]) and all(math.dist(point, other) >= distance for other in kept):
                kept.append(point)
                assert keep[m, i]
            else:
                assert not keep[m, i]


# ---- decoding


@st.composite
def scenes(draw, border):
    """Codec, width and one image's points at least 12 cells apart, 3 sigma inside or anywhere in the image."""
    stride = draw(st.sampled_from([1, 2, 4]))
    sigma = draw(st.floats(3.0, 5.0))
    size = (draw(st.integers(40, 70)) * stride, draw(st.integers(40, 70)) * stride)
    margin = 0.0 if border else 3 * sigma * stride
    share = draw(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12))
    low, high = margin - 0.5, [n - margin - 0.5 for n in reversed(size)]
    points = [[low + s * (h - low) for s, h in zip(pair, high, strict=True)] for pair in share]
    chosen: list[list[float]] = []
    for point in points:
        if all(math.dist(point, other) >= 12 * stride for other in chosen):
            chosen.append(point)
    return InstanceHeatmap(size, stride), sigma, one_landmark(*chosen)


def check_round_trip(codec, sigma, points, border):
    found = codec.decode(codec.encode(points, sigma))
    assert found.counts.item() == points.shape[1]
    assert unmatched(found.points[0, 0], points[0, :, 0]) <= codec.tolerance(sigma, border) <= 0.1


@settings(max_examples=25)
@given(scene=scenes(border=False))
def test_all_are_found_and_none_invented(scene):
    check_round_trip(*scene, border=False)


@settings(max_examples=25)
@given(scene=scenes(border=True))
def test_up_to_the_border(scene):
    check_round_trip(*scene, border=True)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("sigma", [3.0, 5.0])
def test_corners_edges_and_a_narrow_map(stride, sigma):
    high, wide = 40 * stride - 0.5, 50 * stride - 0.5
    points = one_landmark([-0.5, -0.5], [wide, -0.5], [-0.5, high], [wide, high], [wide / 2, -0.5], [-0.5, high / 2])
    check_round_trip(InstanceHeatmap((40 * stride, 50 * stride), stride), sigma, points, border=True)
    check_round_trip(InstanceHeatmap((6, 50), 1), sigma, one_landmark([10.3, 2.2], [30.6, 4.9]), border=True)


@pytest.mark.parametrize("median", [0, 3, 5, 9])
def test_other_medians(median):
    codec = InstanceHeatmap((50, 60), median=median)
    check_round_trip(codec, codec.smallest_sigma, one_landmark([10.3, 12.9], [22.4, 12.1], [50.0, 40.5]), border=False)


@pytest.mark.parametrize(("window", "median"), [(6.0, 3), (10.0, 7), (16.0, 7), (21.5, 7)])
def test_other_windows(window, median):
    codec = InstanceHeatmap((90, 100), window=window, median=median)
    middle = np.array([45.3, 44.8])
    points = [middle + 1.2 * window * np.array([math.cos(a), math.sin(a)]) for a in np.arange(6) * math.pi / 3]
    check_round_trip(codec, window / 2, one_landmark(middle.tolist(), *[p.tolist() for p in points]), border=False)


@pytest.mark.parametrize("sigma", [8.0, 20.0, 40.0])
def test_a_wide_peak_is_one(sigma):
    codec = InstanceHeatmap((150, 170))
    points = one_landmark([70.3, 80.6])
    found = codec.decode(codec.encode(points, sigma), threshold=0.0)
    assert found.counts.item() == 1
    assert unmatched(found.points[0, 0], points[0, :, 0]) <= codec.tolerance(sigma)


def test_nothing_gives_nothing():
    codec = InstanceHeatmap((30, 40))
    for maps in (torch.zeros(2, 3, 30, 40), torch.full((2, 3, 30, 40), -0.4), torch.full((2, 3, 30, 40), 0.7)):
        found = codec.decode(maps, threshold=0.0)
        assert found.points.shape == (2, 3, 0, 2)
        assert found.scores.shape == (2, 3, 0)
        assert found.counts.tolist() == [[0, 0, 0]] * 2
    assert codec.decode(torch.zeros(0, 3, 30, 40)).points.shape == (0, 3, 0, 2)


def test_two_on_one_pixel_are_one():
    codec = InstanceHeatmap((30, 40))
    found = codec.decode(codec.encode(one_landmark([20.25, 14.5], [20.25, 14.5]), 3.0))
    assert found.points[0, 0].tolist() == [[pytest.approx(20.25, abs=0.01), pytest.approx(14.5, abs=0.01)]]
    near = codec.decode(codec.encode(one_landmark([20.0, 14.0], [20.0, 17.0]), 3.0))
    assert near.counts.item() == 1


def test_sorted_by_score_and_padded():
    codec = InstanceHeatmap((40, 120))
    heights = torch.tensor([0.5, 1.0, 0.7])[None, :, None, None]
    places = torch.tensor([[[20.0, 15.0], [50.0, 20.0], [90.0, 25.0]]])
    single = GaussianHeatmap((40, 120), stride=1).encode(places, 3.0) * heights
    maps = torch.stack([single.amax(1), single[:, 0], torch.zeros(1, 40, 120)], 1)
    found = codec.decode(maps)
    assert found.counts.tolist() == [[3, 1, 0]]
    torch.testing.assert_close(found.points[0, 0], places[0, [1, 2, 0]], atol=0.01, rtol=0)
    expected = [height * math.exp(-4 / 9) for height in (1.0, 0.7, 0.5)]
    assert found.scores[0, 0].tolist() == pytest.approx(expected, rel=1e-5)
    assert found.scores[0, 1:].tolist() == [[pytest.approx(expected[2], rel=1e-5), 0.0, 0.0], [0.0] * 3]
    assert found.points[0, 1, 1:].isnan().all()
    assert found.points[0, 2].isnan().all()


def test_a_weak_one_beside_a_strong_one_is_found():
    places = torch.tensor([[[40.0, 40.0], [52.0, 40.0]]])
    maps = GaussianHeatmap((80, 90), stride=1).encode(places, 4.0) * torch.tensor([1.0, 0.55])[:, None, None]
    found = InstanceHeatmap((80, 90)).decode(maps.amax(1, keepdim=True))
    torch.testing.assert_close(found.points[0, 0], places[0], atol=0.05, rtol=0)


@pytest.mark.parametrize("median", [0, 7])
@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (6, 6), (5, 8), (9, 8), (20, 20), (7, 30)])
def test_a_plateau_counts_once_at_its_centre(rows, columns, median):
    maps = torch.zeros(1, 1, 40, 60)
    maps[0, 0, 12 : 12 + rows, 20 : 20 + columns] = 0.8
    found = InstanceHeatmap((40, 60), median=median).decode(maps)
    assert found.points.tolist() == [[[[20 + (columns - 1) / 2, 12 + (rows - 1) / 2]]]]
    assert found.scores.tolist() == [[[pytest.approx(0.8)]]]


def test_a_clipped_peak_stays_in_its_place():
    codec = InstanceHeatmap((60, 80))
    for limit in (0.95, 0.9, 0.8, 0.6):
        found = codec.decode(codec.encode(one_landmark([40.3, 30.6]), 4.0).clamp_max(limit))
        assert found.counts.item() == 1
        assert unmatched(found.points[0, 0], torch.tensor([[40.3, 30.6]])) <= 0.5


def test_single_high_cells_are_no_instances():
    codec = InstanceHeatmap((80, 90))
    maps = codec.encode(one_landmark([30.3, 40.6]), 4.0)
    maps[0, 0, 5::9, 4::9] = 1.0
    found = codec.decode(maps, threshold=0.1)
    assert found.counts.item() == 1
    assert unmatched(found.points[0, 0], torch.tensor([[30.3, 40.6]])) <= 2.0
    assert InstanceHeatmap((80, 90), median=0).decode(maps, threshold=0.1).counts.item() > 20


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), window=st.floats(5.0, 20.0), stride=st.sampled_from([1, 3]))
def test_no_two_are_nearer_than_the_window(seed, window, stride):
    codec = InstanceHeatmap((60 * stride, 70 * stride), stride, window=window, median=3)
    points = codec.decode(random_maps(1, 2, 60, 70, seed=seed, smooth=True), threshold=0.0).points[0]
    assume(points.shape[1] > 1)
    apart = torch.cdist(points, points) + torch.eye(points.shape[1]) * 1e6
    assert apart[apart.isfinite()].min() >= window * stride - 1e-3


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), threshold=st.floats(0.0, 1.5), median=st.sampled_from([0, 3, 7]))
def test_above_is_decoding_with_that_threshold(seed, threshold, median):
    codec = InstanceHeatmap((50, 60), median=median, threshold=threshold)
    maps = random_maps(2, 3, 50, 60, seed=seed, smooth=True)
    every = codec.decode(maps, threshold=0.0)
    for found in (codec.decode(maps), codec.decode(maps, threshold), codec.decode(maps, torch.full((3,), threshold))):
        expected = every.above(threshold)
        assert torch.equal(found.scores, expected.scores)
        torch.testing.assert_close(found.points, expected.points, equal_nan=True, atol=1e-5, rtol=0)
    limits = torch.tensor([0.0, 0.5, 9.0])
    found, expected = codec.decode(maps, limits), every.above(limits)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.counts, expected.counts)
    assert found.counts[:, 2].tolist() == [0, 0]


def test_a_batch_equals_one_by_one():
    codec = InstanceHeatmap((50, 60))
    points = torch.rand(3, 4, 2, 2, generator=torch.Generator().manual_seed(0)) * 50
    points[0, 2:], points[2, :, 1] = NAN, NAN
    maps = codec.encode(points, 3.0)
    together = codec.decode(maps)
    for b in range(3):
        assert torch.equal(codec.encode(points[b : b + 1], 3.0)[0], maps[b])
        for k in range(2):
            alone = codec.decode(maps[b : b + 1, k : k + 1])
            count = int(together.counts[b, k])
            assert alone.counts.item() == count == alone.points.shape[2]
            assert torch.equal(alone.scores[0, 0], together.scores[b, k, :count])
            torch.testing.assert_close(alone.points[0, 0], together.points[b, k, :count], atol=1e-5, rtol=0)
    assert together.counts[2].tolist()[1] == 0


def test_precision_and_autocast():
    codec = InstanceHeatmap((50, 60), stride=2)
    points = one_landmark([20.3, 30.1], [45.2, 17.7])
    maps = codec.encode(points, 3.0)
    plain = codec.decode(maps)
    with torch.autocast("cpu", torch.bfloat16):
        cast = codec.decode(maps)
    assert torch.equal(cast.points, plain.points)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        found = codec.decode(maps.to(dtype))
        assert found.points.dtype == found.scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(found.points.float(), plain.points, atol=0.1, rtol=0)
    assert not codec.decode(maps.requires_grad_()).points.requires_grad


def test_a_crowd_is_cut_to_the_highest(monkeypatch):
    from trigpoint.codecs import instances

    codec = InstanceHeatmap((60, 70), median=0, window=5)
    maps = random_maps(1, 1, 60, 70)
    every = codec.decode(maps, threshold=0.0)
    monkeypatch.setattr(instances, "MOST", 20)
    few = codec.decode(maps, threshold=0.0)
    assert 1 < few.counts.item() <= 20 < every.counts.item()
    assert torch.equal(few.scores, every.scores[..., : few.counts.item()])


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_size": (32,)}, "input_size: expected two numbers"),
        ({"input_size": (8, 32, 32)}, "input_size: expected two numbers"),
        ({"input_size": (0, 32)}, "input_size"),
        ({"stride": 0}, "stride"),
        ({"window": 4.9}, "window: expected at least 5"),
        ({"window": math.inf}, "window"),
        ({"window": "wide"}, "window"),
        ({"median": 4}, "median: expected 0, 1, 3, 5"),
        ({"median": 17}, "median"),
        ({"threshold": -0.1}, "threshold: expected at least 0"),
        ({"threshold": NAN}, "threshold"),
        ({"threshold": "high"}, "threshold: expected a number"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ConfigError, match=message):
        InstanceHeatmap(**{"input_size": (32, 32), **options})


def test_bad_points_maps_and_thresholds():
    codec = InstanceHeatmap((32, 40), stride=2)
    with pytest.raises(DataError, match=r"points: expected shape \(B, M, K, 2\), got \(1, 3, 2\)"):
        codec.encode(torch.zeros(1, 3, 2), 2.0)
    with pytest.raises(DataError, match="points: expected shape"):
        codec.energy(torch.zeros(1, 2, 3, 3), 2.0)
    with pytest.raises(DataError, match="sigma: expected positive"):
        codec.encode(torch.zeros(1, 0, 3, 2), -1.0)
    with pytest.raises(
        DataError, match=r"maps: expected \(B, K, 16, 20\), got \(1, 3, 32, 40\); give maps of an input"
    ):
        codec.decode(torch.zeros(1, 3, 32, 40))
    with pytest.raises(ConfigError, match=r"threshold: expected a number or \(3,\), got shape \(2,\)"):
        codec.decode(torch.zeros(1, 3, 16, 20), torch.tensor([0.1, 0.2]))
    with pytest.raises(ConfigError, match="threshold: expected 0 or more"):
        codec.decode(torch.zeros(1, 3, 16, 20), -0.5)


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_a_broken_map_is_not_an_empty_one(value):
    maps = torch.zeros(2, 3, 16, 20)
    maps[1, 2, 4, 5] = value
    with pytest.raises(DataError, match=r"1 of 6 maps, the first of image 1 and landmark 2"):
        InstanceHeatmap((16, 20)).decode(maps)


def test_above_leaves_no_gaps():
    found = Instances(torch.ones(1, 2, 3, 2), torch.tensor([[[0.9, 0.8, 0.1], [0.6, 0.0, 0.0]]]))
    assert found.above(0.7).scores.tolist() == [[[pytest.approx(0.9), pytest.approx(0.8)], [0.0, 0.0]]]
    assert found.above(0.7).points[0, 1].isnan().all()
    assert found.above(1.0).points.shape == (1, 2, 0, 2)
