"""The Gaussian codec against loops, numbers worked by hand, and its own declared tolerances."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.codecs import DECODERS, GaussianHeatmap
from trigpoint.errors import ConfigError, DataError

NAN = math.nan


def brute_force(points, sigma, input_size, stride, normalize):
    """One cell at a time, in input pixels: no grid conversion shared with the code under test."""
    size = [-(-n // stride) for n in input_size]
    out = np.zeros((len(points), *size))
    for k, point in enumerate(points):
        if any(math.isnan(v) for v in point):
            continue
        for cell in itertools.product(*map(range, size)):
            # a cell covers `stride` pixels, its centre is the mean of their centres
            centre = [np.mean([c * stride + j for j in range(stride)]) for c in reversed(cell)]
            squared = sum((a - b) ** 2 for a, b in zip(centre, point, strict=True)) / stride**2
            out[(k, *cell)] = math.exp(-squared / (2 * sigma[k] ** 2))
        if normalize == "mean":
            out[k] /= out[k].mean()
    return out


@pytest.mark.parametrize("normalize", ["peak", "mean"])
@pytest.mark.parametrize("size", [(37,), (23, 30), (9, 14, 11)])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_encode_equals_loops(size, stride, normalize):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, np.array(size[::-1]) - 1, (3, len(size)))
    points[1, 0] = NAN
    sigma = [1.3, 2.0, 4.5]
    codec = GaussianHeatmap(size, stride, normalize=normalize)
    maps = codec.encode(torch.tensor(points)[None], torch.tensor(sigma, dtype=torch.float64))
    assert tuple(maps.shape[2:]) == codec.map_size
    expected = brute_force(points.tolist(), sigma, size, stride, normalize)
    np.testing.assert_allclose(maps[0].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_points_are_xy_and_maps_are_rows_and_columns():
    maps = GaussianHeatmap((10, 20), stride=1).encode(torch.tensor([[[15.0, 3.0]]]), 1.0)
    assert maps[0, 0, 3, 15] == 1.0
    assert maps[0, 0, 3, 16].item() == pytest.approx(math.exp(-0.5))
    assert maps[0, 0, 5, 15].item() == pytest.approx(math.exp(-2))


def test_mean_normalisation_at_a_border_is_computed():
    maps = GaussianHeatmap((64, 64), stride=1, normalize="mean").encode(torch.tensor([[[0.0, 5.0], [32.0, 32.0]]]), 6.0)
    assert maps.mean((2, 3)).flatten().tolist() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert maps[0, 0].max() > 1.5 * maps[0, 1].max()


@pytest.mark.parametrize("normalize", ["peak", "mean"])
def test_far_outside_gives_an_empty_finite_map(normalize):
    point = torch.tensor([[[-400.0, 5.0]]])
    maps = GaussianHeatmap((32, 32), stride=2, normalize=normalize).encode(point, 2.0)
    assert maps.abs().max() < 1e-6


@pytest.mark.parametrize("normalize", ["peak", "mean"])
@pytest.mark.parametrize("size", [(50,), (31, 40), (12, 20, 16)])
def test_energy_is_the_mean_square(size, normalize):
    codec = GaussianHeatmap(size, stride=2, normalize=normalize)
    points = torch.rand(4, 3, len(size), generator=torch.Generator().manual_seed(0)) * 11
    points[1, 2] = NAN
    sigma = torch.tensor([[1.0, 2.0, 5.0]]).repeat(4, 1)
    expected = codec.encode(points, sigma).square().flatten(2).mean(-1)
    torch.testing.assert_close(codec.energy(points, sigma), expected)
    assert codec.energy(points, sigma)[1, 2] == 0


def test_sigma_shapes_agree():
    codec = GaussianHeatmap((32, 32), stride=2)
    points = torch.rand(2, 3, 2) * 30
    one = codec.encode(points, 2.5)
    for sigma in (torch.tensor(2.5), torch.full((3,), 2.5), torch.full((2, 3), 2.5)):
        torch.testing.assert_close(codec.encode(points, sigma), one)
    per_landmark = codec.encode(points, torch.tensor([1.0, 2.5, 4.0]))
    torch.testing.assert_close(per_landmark[:, 1], one[:, 1])
    per_point = codec.encode(points, torch.tensor([[1.0, 2.5, 4.0], [2.0, 2.5, 1.0]]))
    torch.testing.assert_close(per_point[0], per_landmark[0])


@pytest.mark.parametrize("normalize", ["peak", "mean"])
def test_gradient_of_sigma(normalize):
    codec = GaussianHeatmap((12, 13), stride=1, normalize=normalize)
    points = torch.tensor([[[4.3, 5.1], [NAN, NAN]]], dtype=torch.float64)
    sigma = torch.tensor([1.7, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: codec.encode(points, s), sigma)
    assert torch.autograd.gradcheck(lambda s: codec.energy(points, s), sigma)
    codec.encode(points, sigma).sum().backward()
    assert sigma.grad is not None
    assert sigma.grad[1] == 0  # the missing landmark adds nothing, and no NaN


def test_missing_point_passes_no_nan_to_points():
    points = torch.tensor([[[4.3, 5.1], [NAN, 3.0]]], requires_grad=True)
    GaussianHeatmap((12, 13), stride=1, normalize="mean").encode(points, 2.0).square().sum().backward()
    assert points.grad is not None
    assert points.grad[0, 1].tolist() == [0.0, 0.0]
    assert points.grad[0, 0].abs().min() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(dtype):
    codec = GaussianHeatmap((64, 64), stride=2)
    points = torch.tensor([[[20.0, 33.0]]], dtype=dtype)
    maps = codec.encode(points, 2.0)
    assert maps.dtype == dtype
    found, scores = codec.decode(maps)
    assert found.dtype == scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (found - points).abs().max() < 0.1


# ---- round trips within the declared tolerance


@st.composite
def cases(draw, border):
    """A codec's options and points; random sizes, so that maps are odd, even, and not multiples of the stride."""
    stride = draw(st.integers(1, 8))
    axes = draw(st.sampled_from([1, 2, 2, 3]))
    sigma = draw(st.one_of(st.sampled_from([1.0, 2.0]), st.floats(1.0, {1: 64.0, 2: 40.0, 3: 4.0}[axes])))
    cells = [
        draw(st.integers(3 if border else math.ceil(6 * sigma) + 1, math.ceil(6 * sigma) + 9)) for _ in range(axes)
    ]
    size = tuple(n * stride - draw(st.integers(0, stride - 1)) for n in cells)
    fractions = torch.tensor(draw(st.lists(st.lists(st.floats(0, 1), min_size=axes, max_size=axes), min_size=1)))
    if border:
        points = fractions * (torch.tensor(size[::-1]) - 1)
    else:
        room = torch.tensor(cells[::-1]) - 1 - 6 * sigma
        points = (3 * sigma + fractions * room + 0.5) * stride - 0.5
    return size, stride, sigma, draw(st.sampled_from(["peak", "mean"])), points[None].float()


def check_round_trip(decoder, case, border):
    size, stride, sigma, normalize, points = case
    codec = GaussianHeatmap(size, stride, decoder, normalize)
    found, _ = codec.decode(codec.encode(points, sigma))
    assert (found - points).abs().max().item() <= codec.tolerance(sigma, border)


@pytest.mark.parametrize("decoder", DECODERS)
@settings(deadline=None, max_examples=25)
@given(case=cases(border=False))
def test_round_trip_inside(decoder, case):
    check_round_trip(decoder, case, border=False)


@pytest.mark.parametrize("decoder", DECODERS)
@settings(deadline=None, max_examples=25)
@given(case=cases(border=True))
def test_round_trip_up_to_the_border(decoder, case):
    check_round_trip(decoder, case, border=True)


@pytest.mark.parametrize("decoder", ["dark", "centroid", "soft_argmax"])
@pytest.mark.parametrize("stride", [1, 8])
def test_round_trip_at_the_widest_sigma(decoder, stride):
    codec = GaussianHeatmap((400 * stride, 400 * stride), stride, decoder)
    points = ((192 + 16 * torch.rand(1, 3, 2, generator=torch.Generator().manual_seed(1))) + 0.5) * stride - 0.5
    assert (codec.decode(codec.encode(points, 64.0))[0] - points).abs().max() <= codec.tolerance(64.0) <= 0.02


def test_centroid_just_where_its_own_window_takes_over():
    codec = GaussianHeatmap((3840,), 8, "centroid")
    points = torch.linspace(231, 248, 69)[None, :, None] * 8
    error = (codec.decode(codec.encode(points, 64.0))[0] - points).abs().max()
    assert 1e-4 < error <= 0.01  # the cut tails show a little, so it is not the fit that answers here


@pytest.mark.parametrize("decoder", ["dark", "centroid"])
def test_declared_tolerance_is_the_promised_one(decoder):
    for stride, sigma in itertools.product(range(1, 9), (1.0, 64.0)):
        assert GaussianHeatmap((64, 64), stride, decoder).tolerance(sigma) <= 0.02


def test_tolerances_are_not_slack():
    """Each coarse decoder comes near its limit somewhere, so a limit that was too wide would show."""
    for decoder, border in itertools.product(("argmax", "quarter", "soft_argmax"), (False, True)):
        codec = GaussianHeatmap((800,), 8, decoder)
        # two points stand for the worst case: half between two cells, and on the very edge
        point = torch.tensor([[[0.0]]]) if border else torch.tensor([[[403.45], [401.5 + 1e-3]]]).reshape(1, 2, 1)
        sigma = 10.0
        error = (codec.decode(codec.encode(point, sigma))[0] - point).abs().max().item()
        limit = codec.tolerance(sigma, border)
        assert error <= limit
        if decoder != "soft_argmax" or border:
            assert error > 0.4 * limit, (decoder, border, error, limit)


def test_elongated_and_rotated_peaks_are_read_exactly_by_dark():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    u, v = x - 21.3, y - 17.8
    maps = torch.exp(-(u**2 / 18 + v**2 / 6 + 0.1 * u * v)).double()[None, None]
    found, _ = GaussianHeatmap((40, 50), stride=1, decoder="dark").decode(maps)
    assert found[0, 0].tolist() == pytest.approx([21.3, 17.8], abs=1e-3)


# ---- decoders on what a network really gives


def test_quarter_moves_towards_the_higher_neighbour():
    maps = torch.zeros(1, 1, 5, 5)
    maps[0, 0, 2, 2], maps[0, 0, 2, 3], maps[0, 0, 1, 2] = 1.0, 0.6, 0.5
    found, scores = GaussianHeatmap((5, 5), stride=1, decoder="quarter").decode(maps)
    assert found[0, 0].tolist() == [2.25, 1.75]
    assert scores.item() == 1.0


@pytest.mark.parametrize("decoder", ["dark", "centroid"])
@pytest.mark.parametrize("noise", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("size", [(3, 7), (24, 24), (48,), (9, 10, 11)])
def test_refinement_stays_near_the_peak_on_noise(decoder, noise, size):
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(20, 4, len(size), generator=generator) * (torch.tensor(size[::-1]) - 1)
    codec = GaussianHeatmap(size, 1, decoder)
    maps = codec.encode(points, 1.5)
    maps = maps + noise * torch.randn(maps.shape, generator=generator)
    coarse, _ = GaussianHeatmap(size, 1, "argmax").decode(maps)
    found, _ = codec.decode(maps)
    assert found.isfinite().all()
    assert torch.linalg.vector_norm(found - coarse, dim=-1).max() <= 1.0 + 1e-4


@pytest.mark.parametrize(("decoder", "sigma", "gain"), [("dark", 2.0, 4), ("centroid", 2.0, 4), ("dark", 12.0, 3)])
def test_refinement_beats_the_highest_cell_under_noise(decoder, sigma, gain):
    generator = torch.Generator().manual_seed(0)
    points = 20 + 56 * torch.rand(20, 5, 2, generator=generator)
    codec = GaussianHeatmap((96, 96), 1, decoder)
    maps = codec.encode(points, sigma)
    maps = maps + 0.05 * torch.randn(maps.shape, generator=generator)
    mean = lambda found: torch.linalg.vector_norm(found - points, dim=-1).mean()  # noqa: E731
    assert gain * mean(codec.decode(maps)[0]) < mean(GaussianHeatmap((96, 96), 1, "argmax").decode(maps)[0])


@pytest.mark.parametrize("decoder", DECODERS)
class TestEveryDecoder:
    def test_constant_and_nan_and_infinite_maps(self, decoder):
        codec = GaussianHeatmap((21, 30), stride=4, decoder=decoder)
        maps = torch.zeros(1, 6, *codec.map_size)
        maps[0, 1], maps[0, 2] = 0.7, -3.0
        maps[0, 3, 2, 2] = NAN
        maps[0, 4, 2, 2] = math.inf
        maps[0, 5] = NAN
        points, scores = codec.decode(maps)
        assert points[0, :3].tolist() == [[14.5, 10.0]] * 3
        assert scores[0, :3].tolist() == pytest.approx([0.0, 0.7, -3.0])
        assert points[0, 3:].isnan().all()
        assert scores[0, 3:].isnan().all()

    def test_negative_map_gives_its_highest_cell(self, decoder):
        codec = GaussianHeatmap((12, 12), stride=2, decoder=decoder)
        maps = -1 - torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        maps[0, 0, 4, 1] = -0.5
        points, scores = codec.decode(maps)
        assert points[0, 0].tolist() == [2.5, 8.5]
        assert scores.item() == -0.5

    def test_single_high_cell_and_minus_infinity(self, decoder):
        codec = GaussianHeatmap((12, 12), stride=1, decoder=decoder)
        maps = torch.zeros(1, 3, 12, 12)
        maps[0, :, 5, 7] = torch.tensor([1.0, 1e-30, 1e30])
        maps[0, 0, 0, 0] = -math.inf
        points, scores = codec.decode(maps)
        assert points.isfinite().all()
        assert (points - torch.tensor([7.0, 5.0])).abs().max() < 1e-3
        torch.testing.assert_close(scores[0], torch.tensor([1.0, 1e-30, 1e30]))

    @pytest.mark.parametrize("height", [1e-6, 9.0, 50.0, 1e4, 1e30])
    def test_height_of_the_peak_does_not_matter(self, decoder, height):
        codec = GaussianHeatmap((40, 40), stride=2, decoder=decoder)
        point = torch.tensor([[[17.3, 20.9]]])
        maps = codec.encode(point, 1.5)
        torch.testing.assert_close(codec.decode(maps * height)[0], codec.decode(maps)[0], atol=1e-3, rtol=0)
        assert codec.decode(maps * height)[1].item() == pytest.approx(height * maps.max().item(), rel=1e-5)

    @pytest.mark.parametrize("size", [(1,), (2,), (1, 1), (2, 1), (1, 9), (2, 30), (1, 2, 8)])
    def test_axes_too_short_to_refine(self, decoder, size):
        codec = GaussianHeatmap(size, stride=1, decoder=decoder)
        points = torch.rand(2, 3, len(size)) * (torch.tensor(size[::-1]) - 1)
        found, scores = codec.decode(codec.encode(points, 1.0))
        assert found.isfinite().all()
        assert scores.isfinite().all()
        assert (found - points).abs().max() <= 0.8

    def test_landmarks_do_not_touch_each_other(self, decoder):
        """Landmarks of one batch decode alike alone and together, though window sizes are shared."""
        codec = GaussianHeatmap((60, 60), stride=1, decoder=decoder)
        points = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(5)) * 59
        maps = codec.encode(points, torch.tensor([1.0, 2.0, 6.0, 20.0]))
        together, scores = codec.decode(maps)
        for b, k in itertools.product(range(3), range(4)):
            alone, score = codec.decode(maps[b : b + 1, k : k + 1])
            torch.testing.assert_close(alone[0, 0], together[b, k], atol=2e-3, rtol=0)
            assert score.item() == scores[b, k]

    def test_empty_batch_and_noncontiguous_maps(self, decoder):
        codec = GaussianHeatmap((16, 12), stride=2, decoder=decoder)
        points, scores = codec.decode(torch.zeros(0, 3, 8, 6))
        assert points.shape == (0, 3, 2)
        assert scores.shape == (0, 3)
        maps = torch.rand(2, 8, 6, 3).permute(0, 3, 1, 2)
        torch.testing.assert_close(codec.decode(maps)[0], codec.decode(maps.contiguous())[0])

    def test_first_of_equal_peaks(self, decoder):
        maps = torch.zeros(1, 1, 20, 20)
        maps[0, 0, 4, 15] = maps[0, 0, 12, 3] = 1.0
        found, _ = GaussianHeatmap((20, 20), 1, decoder).decode(maps)
        middle_of_both = decoder == "soft_argmax"
        expected = torch.tensor([9.0, 8.0] if middle_of_both else [15.0, 4.0])
        assert (found[0, 0] - expected).abs().max() <= 1e-3


def test_soft_argmax_is_differentiable_also_beside_unusable_maps():
    maps = GaussianHeatmap((12, 12), 1).encode(torch.tensor([[[5.2, 6.1]]], dtype=torch.float64), 1.5)
    codec = GaussianHeatmap((12, 12), 1, "soft_argmax")
    assert torch.autograd.gradcheck(lambda m: codec.decode(m)[0], maps.requires_grad_(), atol=1e-5)
    mixed = torch.cat([maps.detach(), torch.zeros_like(maps), -torch.rand_like(maps)], 1).requires_grad_()
    codec.decode(mixed)[0].sum().backward()
    assert mixed.grad is not None
    assert mixed.grad.isfinite().all()
    assert mixed.grad[0, 0].abs().max() > 0


@pytest.mark.parametrize("decoder", ["dark", "centroid"])
@pytest.mark.parametrize(("sigma", "limit"), [(1.0, 0.04), (1.5, 0.03), (2.0, 0.035)])
def test_noise_in_the_tails_hardly_counts(decoder, sigma, limit):
    generator = torch.Generator().manual_seed(0)
    points = 8 + 48 * torch.rand(50, 8, 2, generator=generator)
    codec = GaussianHeatmap((64, 64), 1, decoder)
    maps = codec.encode(points, sigma)
    maps = maps + 0.02 * torch.randn(maps.shape, generator=generator)
    error = torch.linalg.vector_norm(codec.decode(maps)[0] - points, dim=-1).mean()
    assert error <= limit


# ---- wrong input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decoder": "drak"}, "did you mean 'dark'"),
        ({"normalize": "peek"}, "did you mean 'peak'"),
        ({"stride": 0}, "stride"),
        ({"stride": 2.5}, "stride"),
        ({"input_size": (4, 4, 4, 4)}, "input_size"),
        ({"input_size": (0, 4)}, "input_size"),
        ({"input_size": 64}, "input_size"),
        ({"input_size": ()}, "input_size"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        GaussianHeatmap(**{"input_size": (32, 32), **options})


@pytest.mark.parametrize(
    "sigma", [0.0, -1.0, NAN, math.inf, torch.ones(5), torch.tensor([1.0, -1.0]), torch.ones(1, 3)]
)
def test_wrong_sigma_is_refused(sigma):
    with pytest.raises(DataError, match="sigma: expected"):
        GaussianHeatmap((32, 32)).encode(torch.zeros(3, 2, 2), sigma)


def test_wrong_shapes_are_refused():
    codec = GaussianHeatmap((32, 30), stride=4)
    with pytest.raises(DataError, match=r"points: expected shape \(B, K, 2\)"):
        codec.encode(torch.zeros(3, 2), 1.0)
    with pytest.raises(DataError, match=r"maps: expected \(B, K, 8, 8\)"):
        codec.decode(torch.zeros(1, 1, 8, 7))
