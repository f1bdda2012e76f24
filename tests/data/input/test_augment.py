"""The network's input: image and points agree, randomness is seeded, nothing is moved in evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trigpoint.config import parse
from trigpoint.data.input.augment import InputPipeline, as_tensor, sample_rng, vary_intensity
from trigpoint.errors import ConfigError, DataError
from trigpoint.geometry import map_points
from trigpoint.landmarks import LandmarkSet
from trigpoint.recipe import AugmentConfig, InputConfig

TIP = LandmarkSet(("tip",))
FACE = LandmarkSet(("left", "nose", "right"), pairs=(("left", "right"),))
GEOMETRY = AugmentConfig(rotation=30, scale=(0.8, 1.25), shift=0.05, elastic=2, elastic_spacing=40)


def blob(size, point, sd, channels=1):
    y, x = torch.arange(size[0])[:, None], torch.arange(size[1])[None]
    values = 200 * torch.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sd**2))
    return values.round()[None].to(torch.uint8).expand(channels, -1, -1)


def centroid(values):
    weight = values[0].double()
    x, y = torch.arange(weight.shape[1]), torch.arange(weight.shape[0])
    return np.array([(weight.sum(0) * x).sum(), (weight.sum(1) * y).sum()]) / float(weight.sum())


def noise_image(size=(50, 70), channels=1):
    return torch.randint(0, 256, (channels, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fit", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize(("size", "sd"), [((96, 95), 1.9), ((351, 356), 6.5), ((41, 44), 1.0), ((150, 170), 3.0)])
def test_blob_follows_the_point(fit, size, sd):
    pipeline = InputPipeline(InputConfig(size=(95, 96), fit=fit, normalize="unit"), TIP, GEOMETRY)
    for index in range(6):
        rng = np.random.default_rng(index)
        point = (np.array(size[::-1]) - 1) / 2 + rng.uniform(-0.12, 0.12, 2) * size[::-1]
        seed = None if index == 0 else sample_rng(7, 0, index)
        image, points, to_original = pipeline(blob(size, point, sd), point[None], rng=seed)
        assert np.linalg.norm(centroid(image) - points[0].double().numpy()) < 0.05
        if seed is None:
            assert np.allclose(map_points(to_original, points)[0], point, atol=1e-4)


@pytest.mark.parametrize("region", [(0.3, 0.2, 0.8, 0.75), (0.0, 0.0, 0.5, 1.0), (0.1, 0.613, 0.427, 0.95)])
@pytest.mark.parametrize("size", [(240, 320), (353, 217)])
def test_a_point_seen_in_a_region_is_found_in_the_original_to_a_quarter_pixel(region, size):
    pipeline = InputPipeline(InputConfig(size=(96, 80), region=region, normalize="unit"), TIP)
    box = np.array(region).reshape(2, 2) * size[::-1] - 0.5
    for share in (0.3, 0.5, 0.71):
        point = box[0] + share * (box[1] - box[0])
        image, points, to_original = pipeline(blob(size, point, 4.0), point[None])
        seen = torch.from_numpy(centroid(image))
        assert np.linalg.norm(map_points(to_original, seen[None])[0].numpy() - point) < 0.25
        assert torch.allclose(points, pipeline.points(size, point[None]), atol=1e-4)


@pytest.mark.parametrize("region", [[0.5, 0.0, 0.5, 1.0], [0.2, 0.9, 0.8, 0.1], [-0.1, 0, 1, 1], [0, 0, 1]])
def test_a_region_is_a_box_within_the_image(region):
    with pytest.raises(ConfigError, match="region"):
        parse(InputConfig, {"region": region}, "data.input")


def test_flip_swaps_pairs_and_pixels():
    pipeline = InputPipeline(InputConfig(size=(64, 64), normalize="unit"), FACE, AugmentConfig(flip=1))
    marks = np.array([[10.3, 30.0], [31.0, 40.0], [50.9, 30.0]])
    image, points, to_original = pipeline(blob((64, 64), marks[0], 1.5), marks, rng=sample_rng(0, 0, 0))
    assert np.allclose(points[2], (63 - 10.3, 30), atol=1e-5)  # what was left is now the right one
    assert np.allclose(centroid(image), points[2], atol=0.05)
    assert np.allclose(map_points(to_original, points)[[2, 1, 0]], marks, atol=1e-4)


def test_flip_swaps_which_landmark_is_missing():
    pipeline = InputPipeline(InputConfig(size=(64, 64)), FACE, AugmentConfig(flip=1))
    marks = np.full((3, 2), 20.0)
    _, points, _ = pipeline(noise_image(), marks, np.array([0, 2, 1]), sample_rng(0, 0, 0))
    assert torch.isnan(points[:, 0]).tolist() == [False, False, True]


def test_flip_probability_and_refusal():
    pipeline = InputPipeline(InputConfig(size=(32, 32)), FACE, AugmentConfig(flip=0.5))
    image = noise_image()
    turned = [pipeline(image, rng=sample_rng(0, 0, index))[2][0, 0].item() < 0 for index in range(200)]
    assert 70 < sum(turned) < 130
    with pytest.raises(DataError, match="pairs"):
        InputPipeline(InputConfig(), TIP, AugmentConfig(flip=0.5))


def test_flip_of_landmarks_that_mirror_themselves():
    line = LandmarkSet(("top", "bottom"), mirrors=True)
    assert LandmarkSet.from_dict(line.to_dict()) == line
    assert line.to_dict()["pairs"] == []
    pipeline = InputPipeline(InputConfig(size=(64, 64)), line, AugmentConfig(flip=1))
    _, points, _ = pipeline(noise_image(), np.array([[10.0, 5.0], [20.0, 30.0]]), rng=sample_rng(0, 0, 0))
    plain = InputPipeline(InputConfig(size=(64, 64)), line)(noise_image(), np.array([[10.0, 5.0], [20.0, 30.0]]))[1]
    assert torch.allclose(points, torch.stack([63 - plain[:, 0], plain[:, 1]], 1))


def test_flip_without_the_other_one_of_a_pair_is_refused():
    four = LandmarkSet(("a", "b", "c", "d", "e"), pairs=(("a", "b"), ("c", "d")))
    assert four.pick(["e"]).flip_permutation().tolist() == [0]
    assert four.pick(["d", "e", "c"]).flip_permutation().tolist() == [2, 1, 0]
    for left in (["a", "e"], ["a", "c", "d"]):
        with pytest.raises(DataError, match="only one landmark is used"):
            InputPipeline(InputConfig(), four.pick(left), AugmentConfig(flip=0.5))


def test_missing_stays_missing_and_zero_visibility_is_missing():
    pipeline = InputPipeline(InputConfig(size=(32, 32)), FACE, GEOMETRY)
    marks = np.array([[np.nan, np.nan], [35.0, 25.0], [36.0, 24.0]])
    for rng in (None, sample_rng(0, 0, 0)):
        given = marks.copy()
        _, points, _ = pipeline(noise_image(), given, np.array([2, 0, 1]), rng)
        assert torch.isnan(points).all(dim=1).tolist() == [True, True, False]
        assert np.array_equal(given, marks, equal_nan=True)  # the caller's points are left alone


def test_points_that_left_the_input_are_missing_in_training_only():
    crop = InputConfig(size=(32, 32), fit="crop")
    marks = np.array([[1.0, 25.0], [35.0, 25.0], [36.0, 24.0]])  # the first is cut off by the crop
    outside = InputPipeline(crop, FACE)
    assert torch.isnan(outside(noise_image(), marks, rng=sample_rng(0, 0, 0))[1][:, 0]).tolist() == [True, False, False]
    _, kept, to_original = outside(noise_image(), marks)
    assert np.allclose(map_points(to_original, kept), marks, atol=1e-4)
    keeping = InputPipeline(crop, FACE, AugmentConfig(drop_outside=False))
    assert torch.equal(keeping(noise_image(), marks, rng=sample_rng(0, 0, 0))[1], kept)


FULL = AugmentConfig(
    **GEOMETRY.model_dump(
        exclude={"name", "flip"}, include={"rotation", "scale", "shift", "elastic", "elastic_spacing"}
    ),
    flip=0.5,
    brightness=0.3,
    contrast=0.3,
    gamma=0.5,
    blur=1.0,
    noise=0.1,
    erase=0.5,
)


def test_random_numbers_follow_seed_epoch_and_index():
    pipeline = InputPipeline(InputConfig(size=(40, 44)), FACE, FULL)
    marks = np.array([[20.0, 20.0], [35.0, 25.0], [50.0, 20.0]])
    run = lambda *key: pipeline(noise_image(), marks, rng=sample_rng(*key))  # noqa: E731
    torch.manual_seed(1)
    first = run(3, 1, 4)
    torch.manual_seed(2)  # the global state has no say
    for seen, again in zip(first, run(3, 1, 4), strict=True):
        assert torch.equal(seen, again)
    for other in ((4, 1, 4), (3, 2, 4), (3, 1, 5)):
        assert not torch.equal(first[0], run(*other)[0])


def test_evaluation_ignores_the_augmentation():
    config = InputConfig(size=(40, 44))
    plain, full = InputPipeline(config, FACE), InputPipeline(config, FACE, FULL)
    for a, b in zip(plain(noise_image(), np.ones((3, 2))), full(noise_image(), np.ones((3, 2))), strict=True):
        assert torch.equal(a, b)


def test_one_option_does_not_alter_the_numbers_of_another():
    config = InputConfig(size=(40, 44))
    turned = InputPipeline(config, FACE, AugmentConfig(rotation=20))(noise_image(), rng=sample_rng(0, 0, 0))[2]
    flips = InputPipeline(config, FACE, AugmentConfig(rotation=20, flip=1e-9))(noise_image(), rng=sample_rng(0, 0, 0))[
        2
    ]
    assert torch.equal(turned, flips)


@pytest.mark.parametrize("option", ["rotation", "scale", "shift", "elastic"])
def test_each_geometric_option_moves_points_within_its_range(option):
    value = {"rotation": 20.0, "scale": (0.5, 2.0), "shift": 0.1, "elastic": 5.0}[option]
    pipeline = InputPipeline(InputConfig(size=(64, 64)), TIP, AugmentConfig(drop_outside=False, **{option: value}))
    image, start = noise_image((64, 64)), np.array([51.5, 31.5])
    seen = [pipeline(image, start[None], rng=sample_rng(0, 0, k))[1][0].double().numpy() for k in range(60)]
    offset = np.array(seen) - 31.5
    length, angle = np.hypot(*offset.T), np.degrees(np.arctan2(offset[:, 1], offset[:, 0]))
    if option == "rotation":
        assert np.allclose(length, 20, atol=1e-4)
        assert 15 < np.abs(angle).max() <= 20 + 1e-3
        assert angle.min() < -10 < 10 < angle.max()
    elif option == "scale":
        assert np.allclose(angle, 0, atol=1e-4)
        assert 10 <= length.min() + 1e-4 < 12
        assert 35 < length.max() <= 40 + 1e-4
    else:
        moved = np.abs(np.array(seen) - start)
        assert moved.max() <= (6.4 if option == "shift" else 5) + 1e-3
        assert moved.max() > (5 if option == "shift" else 1.5)


@pytest.mark.parametrize(
    "option", [{"brightness": 0.5}, {"contrast": 0.5}, {"gamma": 1}, {"blur": 2}, {"noise": 0.2}, {"erase": 1}]
)
def test_each_intensity_option_changes_pixels_and_not_points(option):
    config = InputConfig(size=(40, 44), normalize="unit")
    marks = np.array([[20.0, 20.0]])
    plain = InputPipeline(config, TIP)(noise_image(), marks)
    pipeline = InputPipeline(config, TIP, AugmentConfig(**option))
    several = [pipeline(noise_image(), marks, rng=sample_rng(0, 0, index)) for index in range(8)]
    varied = max(several, key=lambda seen: float((plain[0] - seen[0]).abs().max()))
    assert (plain[0] - varied[0]).abs().max() > 0.1
    assert torch.equal(plain[1], varied[1])
    assert torch.equal(plain[2], varied[2])
    assert torch.isfinite(varied[0]).all()


def test_blur_does_not_move_the_blob():
    pipeline = InputPipeline(InputConfig(size=(64, 64), normalize="unit"), TIP, AugmentConfig(blur=3))
    point = np.array([30.3, 33.8])
    image, points, _ = pipeline(blob((64, 64), point, 2), point[None], rng=sample_rng(0, 0, 3))
    assert np.linalg.norm(centroid(image) - points[0].numpy()) < 0.05


def test_intensity_is_in_units_of_the_images_own_range():
    """A 12-bit image stored in 16 bits is varied as much as the same image in 8 bits."""
    image = noise_image((40, 44)).to(torch.int32)
    config, augment = InputConfig(size=(40, 44)), AugmentConfig(noise=0.1, contrast=0.4)
    seen = [
        InputPipeline(config, TIP, augment)(stored, rng=sample_rng(0, 0, 0))[0]
        for stored in (image.to(torch.uint8), (image * 16).to(torch.uint16), image.float() - 1000)
    ]
    assert torch.allclose(seen[0], seen[1], atol=1e-3)
    assert torch.allclose(seen[0], seen[2], atol=1e-3)


def test_a_constant_image_stays_finite():
    config = InputConfig(size=(20, 20))
    for value in (0, 9):
        image = torch.full((1, 30, 30), value, dtype=torch.uint8)
        assert torch.isfinite(InputPipeline(config, FACE, FULL)(image, rng=sample_rng(0, 0, 0))[0]).all()
        assert (InputPipeline(config, TIP)(image)[0] == 0).all()


def test_normalisation_of_what_is_shown():
    image = noise_image((50, 100))
    seen = InputPipeline(InputConfig(size=(64, 64)), TIP)(image)[0]
    assert (seen[:, :16] == 0).all()
    assert (seen[:, 48:] == 0).all()
    middle = seen[:, 16:48]
    assert abs(float(middle.mean())) < 1e-5
    assert abs(float(middle.std(correction=0)) - 1) < 1e-5
    unit = InputPipeline(InputConfig(size=(50, 100), normalize="unit"), TIP)(image)[0]
    assert torch.allclose(unit, image / 255, atol=1e-4)
    fixed = InputConfig(size=(50, 100), normalize="fixed", mean=(0.5,), std=(0.25,))
    assert torch.allclose(InputPipeline(fixed, TIP)(image)[0], (image / 255 - 0.5) / 0.25, atol=1e-3)


def test_value_range_says_what_black_and_white_are():
    config = InputConfig(size=(50, 70), normalize="unit")
    stored = noise_image().float() * 3 - 1000
    seen = InputPipeline(config, TIP)(stored, value_range=(-1000.0, -1000 + 3 * 255.0))[0]
    assert torch.allclose(seen, noise_image() / 255, atol=1e-4)
    twelve_bit = noise_image().to(torch.int32).to(torch.uint16)
    seen = InputPipeline(config, TIP)(twelve_bit, value_range=(0.0, 4095.0))[0]
    assert torch.allclose(seen, noise_image() / 4095, atol=1e-4)
    constant = InputPipeline(config, TIP)(torch.full((1, 9, 9), 5.0), value_range=(5.0, 5.0))[0]
    assert (constant.abs() < 1e-5).all()


@pytest.mark.filterwarnings("error")
def test_arrays_of_every_layout_are_the_same_image():
    pipeline = InputPipeline(InputConfig(size=(40, 60)), TIP)
    values = np.random.default_rng(0).integers(0, 65536, (3, 30, 50), dtype=np.uint16)
    read_only = values.copy()
    read_only.setflags(write=False)
    mirrored = np.ascontiguousarray(values[:, :, ::-1])[:, :, ::-1]
    channels_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(values, 0, -1)), -1, 0)
    expected = pipeline(torch.from_numpy(values))[0]
    for image in (values, read_only, mirrored, channels_last, values.astype(">u2"), values.astype("<u2")):
        assert torch.allclose(pipeline(image)[0], expected, atol=1e-5)
    assert as_tensor(values).data_ptr() == values.ctypes.data
    assert as_tensor(read_only).data_ptr() != read_only.ctypes.data  # torch would write into it and warn only once
    assert as_tensor(channels_last).data_ptr() == channels_last.ctypes.data
    for kind in ("bool", "complex64", "U4", "object"):
        with pytest.raises(DataError, match="image: expected integers or floating point numbers, got"):
            pipeline(np.zeros((1, 4, 4), kind))


def test_channels():
    colour = noise_image((20, 30), channels=3)
    grey = InputPipeline(InputConfig(size=(20, 30), normalize="unit"), TIP)(colour)[0]
    assert grey.shape == (1, 20, 30)
    assert torch.allclose(grey[0], (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255, atol=1e-4)
    config = InputConfig(size=(20, 30), channels=3, normalize="unit")
    for image in (colour[:1], colour[:1].float()):
        wide = InputPipeline(config, TIP)(image)[0]
        assert wide.shape == (3, 20, 30)
        assert torch.equal(wide[0], wide[2])
    with pytest.raises(DataError, match="1 or 3"):
        InputPipeline(config, TIP)(torch.zeros(4, 5, 5))


def test_instances_keep_their_axes():
    pipeline = InputPipeline(InputConfig(size=(64, 64)), FACE, AugmentConfig(flip=1))
    marks = np.random.default_rng(0).uniform(0, 60, (4, 3, 2))
    _, points, _ = pipeline(noise_image((64, 64)), marks, rng=sample_rng(0, 0, 0))
    assert np.allclose(points[2, 0], (63 - marks[2, 2, 0], marks[2, 2, 1]), atol=1e-4)


def test_nothing_shown_of_the_image_is_survived():
    seen = vary_intensity(torch.rand(1, 8, 8), torch.zeros(8, 8, dtype=torch.bool), FULL, sample_rng(0, 0, 0))
    assert torch.isfinite(seen).all()


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (AugmentConfig, {"rotation": -1}, "rotation"),
        (AugmentConfig, {"scale": [1.2, 0.8]}, "scale: expected"),
        (AugmentConfig, {"scale": [0, 1]}, "scale: expected"),
        (AugmentConfig, {"shift": 1.5}, "shift"),
        (AugmentConfig, {"flip": 2}, "flip"),
        (AugmentConfig, {"elastic": 9, "elastic_spacing": 32}, "elastic_spacing: expected more than 4 x elastic = 36"),
        (AugmentConfig, {"erase_area": [0.2, 1.0]}, "erase_area"),
        (AugmentConfig, {"rotate": 5}, "unknown key 'rotate'; did you mean 'rotation'"),
        (InputConfig, {"size": [0, 5]}, "size.0: expected at least 1, got 0"),
        (InputConfig, {"size": "large"}, "size: expected a list, got 'large'"),
        (InputConfig, {"channels": 2}, "channels"),
        (InputConfig, {"fit": "squash"}, "fit"),
        (InputConfig, {"normalize": "fixed", "mean": [0.5]}, "std: normalize=fixed expects 1 numbers"),
        (InputConfig, {"normalize": "fixed", "mean": [0.5], "std": [0.5], "channels": 3}, "mean: normalize=fixed"),
        (InputConfig, {"normalize": "fixed", "mean": [0.5], "std": [0]}, "std.0: expected more than 0, got 0"),
        (InputConfig, {"mean": [0.5]}, "normalize=fixed only"),
    ],
)
def test_configs_refuse(model, values, message):
    with pytest.raises(ConfigError, match=message):
        parse(model, values)


def test_configs_accept_yaml_lists():
    config = parse(
        InputConfig, {"size": [128, 96], "channels": 3, "normalize": "fixed", "mean": [0, 0, 0], "std": [1, 1, 1]}
    )
    assert config.size == (128, 96)
    assert parse(InputConfig, {"size": 256}).size == (256, 256)
