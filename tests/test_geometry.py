"""Blobs follow points: an image and its points go through the same maps to a twentieth of an input pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import (
    Affine,
    Displacement,
    center,
    fit,
    from_grid,
    map_points,
    pixel_centers,
    resample,
    to_grid,
    warp,
)

# Input px, the declared accuracy of image against points. Bilinear sampling by itself moves the centroid of a Gaussian
# by up to 0.06 / sd px when the ratio of the two lattices is just off 1, so the blobs have an sd of 1.5 input px.
TOLERANCE = 0.05
INPUT = (61, 64)  # odd and even at once


def blob(size, point, sd, dtype=torch.float32):
    y, x = torch.arange(size[0])[:, None], torch.arange(size[1])[None]
    values = 200 * torch.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sd**2))
    return values[None].to(dtype) if dtype.is_floating_point else values.round()[None].to(torch.int32).to(dtype)


def centroid(values):
    weight = values[0].double()
    x, y = torch.arange(weight.shape[1]), torch.arange(weight.shape[0])
    return np.array([(weight.sum(0) * x).sum(), (weight.sum(1) * y).sum()]) / float(weight.sum())


def offset(size, point, to_input, displacement=None, image_map=None, sd=1.5, input_size=INPUT, dtype=torch.float32):
    """Distance of the blob's centroid in the warped image from the mapped point, in input pixels."""
    thin, wide = np.linalg.svd(to_input.matrix[:, :2], compute_uv=False)[::-1]
    blob_sd = max(sd / thin, 0.9)  # well sampled in the image and, along every direction, in the input
    expected = to_input.apply(np.array(point))
    if displacement is not None:
        expected = displacement.push(expected)
    margin = 4 * blob_sd * wide
    assert np.all(np.minimum(expected, np.array(input_size[::-1]) - 1 - expected) > margin), "badly chosen test"
    values = warp(blob(size, point, blob_sd, dtype), image_map or to_input, input_size, displacement)
    return np.linalg.norm(centroid(values) - expected)


def around(size, step):
    """A step done in input space after fitting an image of this size."""
    return fit(size, INPUT).then(step)


STEPS = {
    "none": Affine.identity(),
    "shift": Affine.shift(3.3, -2.6),
    "flip": Affine.flip(INPUT[1]),
    "enlarge": Affine.scale_about(center(INPUT), 1.7),
    "shrink": Affine.scale_about(center(INPUT), 1 / 1.4),
    "unequal": Affine.scale_about(center(INPUT), (0.7, 1.3)),
    "turn": Affine.rotation(center(INPUT), 33),
    "turn 90": Affine.rotation(center(INPUT), 90),
    "all": Affine.flip(INPUT[1])
    .then(Affine.scale_about(center(INPUT), 0.8))
    .then(Affine.rotation(center(INPUT), -25))
    .then(Affine.shift(1.7, 2.1)),
}


@pytest.mark.parametrize("size", [(61, 64), (60, 63), (122, 128), (97, 131), (226, 237), (31, 29)])
@pytest.mark.parametrize("step", STEPS)
def test_blob_follows_every_step(size, step):
    for share in ((0.5, 0.5), (0.41, 0.6)):
        point = (size[1] * share[0] + 0.37, size[0] * share[1] - 0.21)
        assert offset(size, point, around(size, STEPS[step])) < TOLERANCE


@pytest.mark.parametrize("mode", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize("shrink", [3.7, 5.0, 2.0, 1.3, 1.0, 0.5, 0.27])
def test_blob_follows_the_fit(mode, shrink):
    size = (round(INPUT[0] * shrink), round(INPUT[1] * shrink * 1.1))
    for share in ((0.5, 0.5), (0.4, 0.63)):
        point = (size[1] * share[0] + 0.37, size[0] * share[1] - 0.21)
        assert offset(size, point, fit(size, INPUT, mode)) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32, torch.float16, torch.float64])
def test_blob_follows_in_every_type(dtype):
    to_input = around((226, 237), STEPS["all"])
    assert offset((226, 237), (110.3, 121.9), to_input, dtype=dtype) < TOLERANCE


@settings(deadline=None, max_examples=50)
@given(
    height=st.integers(40, 260),
    aspect=st.floats(0.6, 1.7),
    mode=st.sampled_from(["letterbox", "crop", "stretch"]),
    degrees=st.floats(-180, 180),
    factor=st.floats(0.7, 1.4),
    flip=st.booleans(),
    elastic=st.floats(0, 4),
    seed=st.integers(0, 10**6),
)
def test_blob_follows_any_composition(height, aspect, mode, degrees, factor, flip, elastic, seed):
    rng = np.random.default_rng(seed)
    size, input_size = (height, round(height * aspect)), (95, 96)
    about = center(input_size)
    change = Affine.flip(input_size[1]) if flip else Affine.identity()
    change = change.then(Affine.scale_about(about, factor)).then(Affine.rotation(about, degrees))
    to_input = fit(size, input_size, mode).then(change).then(Affine.shift(*rng.uniform(-4, 4, 2)))
    # a wide blob feels the curvature of the field, which moves its centroid and not its point: hence 64 px
    displacement = Displacement.random(input_size, elastic, 64, rng) if elastic else None
    point = np.array(center(size)) + rng.uniform(-0.1, 0.1, 2) * size[::-1]
    distance = offset(size, point, to_input, displacement, input_size=input_size)
    assert distance < TOLERANCE, distance


@pytest.mark.parametrize("seed", range(8))
def test_blob_follows_the_elastic_field(seed):
    rng = np.random.default_rng(seed)
    displacement = Displacement.random(INPUT, 4, 20, rng)
    for size in ((61, 64), (226, 237)):
        to_input = fit(size, INPUT)
        point = to_input.inverse().apply(rng.uniform(16, 44, 2))
        assert offset(size, point, to_input, displacement, sd=0.9) < TOLERANCE
        ignoring_it = np.linalg.norm(displacement.push(to_input.apply(point)) - to_input.apply(point))
        assert ignoring_it > 2 * TOLERANCE  # the field does move this point


@pytest.mark.parametrize("shrink", [3.7, 1.0, 0.5])
def test_a_quarter_pixel_would_be_seen(shrink):
    size = (round(61 * shrink), round(64 * shrink))
    point = (size[1] * 0.5 + 0.37, size[0] * 0.5 - 0.21)
    to_input = fit(size, INPUT, "stretch")
    assert offset(size, point, to_input) < TOLERANCE
    assert offset(size, point, to_input, image_map=to_input.then(Affine.shift(0.25, 0))) > 4 * TOLERANCE
    if shrink != 1:  # the common mistake: x * scale, which forgets that pixels have an extent
        corners_apart = Affine(np.array([[64 / size[1], 0, 0], [0, 61 / size[0], 0]]))
        assert offset(size, point, to_input, image_map=corners_apart) > 4 * TOLERANCE


def test_points_keep_their_distance_from_a_full_warp_of_a_large_image():
    size = (2400, 1935)
    to_input = fit(size, (512, 512)).then(Affine.rotation(center((512, 512)), 3))
    point = (1204.3, 1777.8)
    assert offset(size, point, to_input, input_size=(512, 512), dtype=torch.uint8) < TOLERANCE


@settings(deadline=None, max_examples=50)
@given(st.floats(0.25, 64), st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=6))
def test_grid_round_trip(stride, values):
    points = np.array(values)
    assert np.allclose(from_grid(to_grid(points, stride), stride), points, atol=1e-9)
    tensor = torch.tensor(values, dtype=torch.float64)
    assert np.allclose(to_grid(tensor, stride).numpy(), to_grid(points, stride), rtol=0, atol=0)
    assert to_grid(np.array(-0.5), stride) == -0.5  # the left edge is shared


def test_pixel_centers():
    assert pixel_centers(3).tolist() == [0, 1, 2]
    assert pixel_centers(2, torch.float64).dtype == torch.float64


def test_affine_directions_and_order():
    assert np.allclose(Affine.rotation((2, 3), 90).apply(np.array([3.0, 3.0])), (2, 4))  # x towards y
    assert np.allclose(Affine.rotation((2, 3), 90).apply(np.array([2.0, 3.0])), (2, 3))
    both = Affine.scale_about((2, 3), 1.3).then(Affine.rotation((2, 3), 25))
    assert np.allclose(Affine.rotation((2, 3), 25, 1.3).matrix, both.matrix, atol=1e-12)
    assert Affine.flip(10).apply(np.array([0.0, 4.0])).tolist() == [9, 4]
    move, double = Affine.shift(1, 2), Affine.scale_about((0, 0), 2)
    assert (double @ move).apply(np.zeros(2)).tolist() == [2, 4]
    assert move.then(double).apply(np.zeros(2)).tolist() == [2, 4]
    assert double.then(move).apply(np.zeros(2)).tolist() == [1, 2]


def test_affine_inverse_and_tensors():
    rng = np.random.default_rng(0)
    affine = Affine(rng.normal(size=(2, 3)))
    points = rng.normal(size=(4, 5, 2)) * 100
    points[0, 0] = np.nan
    assert np.allclose(affine.inverse().apply(affine.apply(points)), points, equal_nan=True)
    tensor = torch.from_numpy(points)
    assert np.allclose(affine.apply(tensor).numpy(), affine.apply(points), equal_nan=True)
    assert affine.apply(tensor.float()).dtype == torch.float32
    full = np.vstack([affine.matrix, [0, 0, 1]])
    assert np.allclose(Affine(full).matrix, affine.matrix)
    with pytest.raises(ValueError, match="read-only"):
        affine.matrix[0, 0] = 1


def test_map_points_uses_each_matrix():
    matrices = torch.stack([torch.from_numpy(Affine.shift(k, 2 * k).matrix.copy()) for k in range(3)])
    points = torch.zeros(3, 4, 2)
    mapped = map_points(matrices, points)
    assert mapped.dtype == torch.float64
    assert mapped[:, 3].tolist() == [[0, 0], [1, 2], [2, 4]]
    assert map_points(matrices, torch.zeros(3, 2, 4, 2)).shape == (3, 2, 4, 2)
    assert map_points(matrices, torch.ones(3, 2))[2].tolist() == [3, 5]


@pytest.mark.parametrize("bad", [np.zeros((2, 3)), np.eye(2), np.full((2, 3), np.nan), np.ones((3, 3))])
def test_affine_refuses(bad):
    with pytest.raises(ConfigError, match="affine matrix"):
        Affine(bad)


@pytest.mark.parametrize("size", [(100, 200), (33, 57), (7, 5)])
@pytest.mark.parametrize("input_size", [(64, 64), (31, 80)])
def test_fit_covers_what_it_says(size, input_size):
    (height, width), (h, w) = size, input_size
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    assert np.allclose(fit(size, input_size, "stretch").apply(corners), [[-0.5, -0.5], [w - 0.5, h - 0.5]])
    low, high = fit(size, input_size, "letterbox").apply(corners)
    assert np.isclose(low.min(), -0.5)
    assert np.all(high <= np.array([w, h]) - 0.5 + 1e-9)
    low, high = fit(size, input_size, "crop").apply(corners)
    assert np.isclose(low.max(), -0.5)
    for mode in ("letterbox", "crop", "stretch"):
        middle = fit(size, input_size, mode).apply(np.array(center(size)))
        assert np.allclose(middle, center(input_size))


@pytest.mark.parametrize("mode", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize("region", [(0.0, 0.0, 1.0, 1.0), (0.25, 0.1, 0.75, 0.7), (0.313, 0.42, 1.0, 0.911)])
@pytest.mark.parametrize("size", [(200, 320), (487, 331)])
def test_a_region_of_the_image_takes_its_place(mode, region, size):
    left, top, right, bottom = region
    corners = np.array([[left, top], [right, bottom]]) * size[::-1] - 0.5
    to_input = fit(size, INPUT, mode, region)
    assert np.allclose(to_input.apply(corners.mean(0)), center(INPUT))
    low, high = to_input.apply(corners)
    outer = np.array([-0.5, -0.5]), np.array(INPUT[::-1]) - 0.5
    reached = [np.isclose(low, outer[0]).any(), np.isclose(high, outer[1]).any()]
    assert all(reached)
    if mode == "letterbox":
        assert (low >= outer[0] - 1e-9).all()
    if mode == "stretch":
        assert np.allclose([low, high], outer)
    point = corners.mean(0) + np.array([0.37, -0.21])
    assert offset(size, point, to_input) < TOLERANCE


def test_fit_refuses():
    with pytest.raises(ConfigError, match="letterbox, crop or stretch"):
        fit((5, 5), (5, 5), "squash")
    with pytest.raises(DataError, match="1 x 1"):
        fit((0, 5), (5, 5))


def test_warp_agrees_with_torch():
    image = torch.rand(3, 12, 16)
    assert torch.allclose(warp(image, Affine.identity(), (12, 16)), image, atol=1e-5)
    assert torch.allclose(warp(image, fit((12, 16), (3, 4)), (3, 4)), F.avg_pool2d(image, 4), atol=1e-5)
    doubled = F.interpolate(image[None], scale_factor=2, mode="bilinear", align_corners=False)[0]
    assert torch.allclose(warp(image, fit((12, 16), (24, 32)), (24, 32)), doubled, atol=1e-5)
    assert torch.allclose(warp(image, Affine.flip(16), (12, 16)), image.flip(-1), atol=1e-5)
    quarter = Affine.rotation(center((12, 12)), 90)
    square = image[..., :12]
    assert torch.allclose(warp(square, quarter, (12, 12)), torch.rot90(square, -1, (1, 2)), atol=1e-4)


def test_shrinking_does_not_alias():
    board = ((torch.arange(66)[:, None] + torch.arange(66)) % 2 * 200)[None].to(torch.uint8)
    assert torch.allclose(warp(board, fit((66, 66), (16, 16)), (16, 16))[:, 1:-1, 1:-1], torch.tensor(100.0), atol=1)


def test_types_and_layouts_give_the_same_values():
    image = torch.randint(0, 255, (37, 50, 3))
    to_input = fit((37, 50), (10, 13)).then(Affine.rotation(center((10, 13)), 12))
    expected = warp(image.permute(2, 0, 1).contiguous().float(), to_input, (10, 13))
    for dtype in (torch.uint8, torch.uint16, torch.int16, torch.float64):
        seen = warp(image.to(dtype).permute(2, 0, 1), to_input, (10, 13))
        assert seen.dtype == torch.float32
        assert torch.allclose(seen, expected, atol=1e-3)


@pytest.mark.parametrize("elastic", [0.0, 4.0])
@pytest.mark.parametrize("scale", [0.15, 0.2, 0.37, 1.0, 3.0])
@pytest.mark.parametrize("degrees", [0, 35])
def test_a_part_is_shown_as_of_the_whole(scale, elastic, degrees):
    """The work is restricted to what the input can show, which must not be seen in the result."""
    image = (3 * torch.arange(400.0) + 2 * torch.arange(300.0)[:, None])[None]
    size = (20, 20)
    to_input = Affine.scale_about((200.3, 149.8), scale).then(Affine.shift(9.5 - 200.3, 9.5 - 149.8))
    to_input = to_input.then(Affine.rotation(center(size), degrees))
    outwards = np.stack(np.meshgrid(*[np.array([-2, -1, 1, 2]) * elastic] * 2))  # where the restriction would bite
    displacement = Displacement(outwards, 20, size) if elastic else None
    here = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1)
    there = to_input.inverse().apply(here if displacement is None else displacement.source(here))
    seen, mask = resample(image, to_input, size, displacement)
    assert mask.all()
    assert np.abs(seen[0].numpy() - there @ (3.0, 2.0)).max() < 0.02


def test_unequal_shrinking_averages_along_the_right_axis():
    stripes = (torch.arange(64) % 2 * 200.0).expand(1, 16, 64)
    narrow = Affine.scale_about((31.5, 7.5), (0.25, 1)).then(Affine.shift(7.625 - 31.5, 0))
    for to_input in (narrow, narrow.then(Affine.rotation((7.5, 7.5), 90))):
        assert torch.allclose(warp(stripes, to_input, (16, 16)), torch.tensor(100.0), atol=1e-2)


def test_beyond_the_image():
    image = torch.full((1, 10, 20), 7, dtype=torch.uint8)
    to_input = fit((10, 20), (16, 16))  # 4 rows of padding above and below
    seen = warp(image, to_input, (16, 16), fill=-1.0)
    assert seen[0].unique(dim=1).flatten().tolist() == [-1] * 4 + [7] * 8 + [-1] * 4
    assert (warp(image, to_input, (16, 16), fill="edge") == 7).all()
    assert (warp(image, Affine.shift(500, -500), (16, 16), fill=3.0) == 3).all()
    _, mask = resample(image, to_input, (16, 16))
    assert mask.sum() == 8 * 16


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (300, 2)])
def test_degenerate_images_pass(size):
    for mode in ("letterbox", "crop", "stretch"):
        seen = warp(torch.ones(1, *size), fit(size, (16, 17), mode), (16, 17), fill="edge")
        assert torch.allclose(seen, torch.ones(1, 16, 17))


def test_warp_refuses():
    with pytest.raises(DataError, match="channels, height, width"):
        warp(torch.zeros(4, 4), Affine.identity(), (4, 4))
    field = Displacement.random((4, 4), 1, 8, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="input's size"):
        warp(torch.zeros(1, 4, 4), Affine.identity(), (5, 4), field)


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 90), st.integers(4, 90), st.floats(0.1, 10), st.integers(0, 10**6))
def test_displacement_maps_points_both_ways(height, width, amplitude, seed):
    rng = np.random.default_rng(seed)
    field = Displacement.random((height, width), amplitude, 4.5 * amplitude, rng)
    points = rng.uniform(-20, 110, (6, 2))
    points[2] = np.nan
    pushed = field.push(points)
    assert np.allclose(field.source(pushed), points, atol=1e-4, equal_nan=True)
    assert np.isnan(pushed[2]).all()
    assert np.nanmax(np.abs(pushed - points)) <= field.reach + 1e-6 <= amplitude + 1e-6
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    assert np.allclose(field.source(pixels) - pixels, np.moveaxis(field.dense(), 0, -1))


def test_displacement_refuses_to_fold():
    with pytest.raises(ConfigError, match="fold"):
        Displacement.random((64, 64), 20, 16, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="shape"):
        Displacement(np.zeros((2, 3, 3)), 16, (64, 64))


def test_constant_field_is_a_shift():
    field = Displacement(np.full((2, 4 + 3, 4 + 3), 1.5), 16, (64, 64))
    assert np.allclose(field.push(np.array([[10.0, 20.0]])), [[8.5, 18.5]])
