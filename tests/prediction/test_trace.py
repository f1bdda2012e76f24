from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trigpoint.data.tiled import write_tiled
from trigpoint.errors import DataError, RunError
from trigpoint.geometry import fit, pixel_centers, to_grid
from trigpoint.landmarks import LandmarkSet
from trigpoint.methods import FoveatedMethod, build_method
from trigpoint.nn.spatialized import GlimpseNetwork, SpatializedFeatures
from trigpoint.prediction import Predictor
from trigpoint.prediction import base as inference
from trigpoint.prediction.trace import check_traces, features, spread_out, trace
from trigpoint.recipe import Recipe
from trigpoint.report.features import expected_positions

MARKS = LandmarkSet(("sella", "nasion", "gonion"))
CANVAS = (128, 96)
SIZE = (300, 200)  # of the image, which the canvas shows at 0.427


def recipe(**options: object) -> Recipe:
    method = {"name": "foveated", "trunk": "small", "glimpse": 16, "iterations": 2, **options}
    data = {"input": {"size": list(CANVAS), "channels": 1, "normalize": "image"}}
    return Recipe.model_validate({"data": data, "method": method})


def predictor(still: bool = False, **options: object) -> Predictor:
    """An untrained network with small moves, or with none, that begins at three known canvas points."""
    torch.manual_seed(0)
    method = build_method(recipe(**options), MARKS)
    assert isinstance(method, FoveatedMethod)
    for network in method.network.networks:
        torch.nn.init.normal_(network.last.weight, std=0.0 if still else 0.05)
    starts = torch.tensor([[40.0, 60.0], [50.0, 30.0], [70.0, 90.0]])
    method.set_start(starts, torch.full((3, 2), 4.0))
    return Predictor(method, recipe(**options), MARKS, np.full(3, np.nan), "cpu")


def picture(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)


def to_original(points: np.ndarray) -> np.ndarray:
    return np.asarray(fit(SIZE, CANVAS).inverse().apply(points))


@pytest.mark.parametrize("shared", [False, True])
def test_the_path_ends_at_the_prediction_in_original_pixels(shared: bool) -> None:
    found = predictor(shared=shared)
    image = picture()
    followed = trace(found, image)
    assert followed.path.shape == (3, 3, 2)
    np.testing.assert_allclose(followed.path[-1], found.predict(image).points[0], atol=1e-3)
    np.testing.assert_allclose(followed.found, followed.path[-1], atol=1e-9)
    np.testing.assert_allclose(followed.path[0], to_original(np.array([[40, 60], [50, 30], [70, 90]])), atol=1e-4)
    assert np.linalg.norm(followed.path[1] - followed.path[0], axis=1).min() > 0.01
    assert followed.names == MARKS.names


def test_with_several_starts_the_path_is_the_first_and_the_point_the_prediction() -> None:
    found = predictor(starts=5)
    followed = trace(found, picture())
    np.testing.assert_allclose(followed.found, found.predict(picture()).points[0], atol=1e-3)
    np.testing.assert_allclose(followed.path[0, 0], to_original(np.array([40.0, 60.0])), atol=1e-4)
    assert np.abs(followed.found - followed.path[-1]).max() > 0.1


def test_patches_lie_where_their_corners_say() -> None:
    """A blob of the original image is found again in every patch, at its place between the corners."""
    at = to_original(np.array([43.0, 58.0]))
    x, y = (pixel_centers(n, torch.float64).numpy() for n in (SIZE[1], SIZE[0]))
    spread = 2.0 / np.sqrt(np.linalg.det(fit(SIZE, CANVAS).matrix[:, :2]))
    blob = np.exp(-((x[None] - at[0]) ** 2 + (y[:, None] - at[1]) ** 2) / (2 * spread**2))
    followed = trace(predictor(still=True), (200 * blob).astype(np.uint8))
    assert followed.glimpses.shape[:3] == (3, 4, 1)
    corners = followed.extents[0]
    np.testing.assert_allclose(corners.mean(axis=1), np.broadcast_to(followed.path[-1, 0], (4, 2)), atol=1e-6)
    for level in range(3):
        patch = followed.glimpses[0, level, 0].astype(np.float64)
        weights = np.maximum(patch - np.median(patch) - 0.3 * np.ptp(patch), 0)
        found = expected_positions((weights / weights.sum())[None, None], corners[None, level])[0, 0]
        cell = (corners[level, 1, 0] - corners[level, 0, 0]) / 16
        np.testing.assert_allclose(cell, 2**level / np.sqrt(np.linalg.det(fit(SIZE, CANVAS).matrix[:, :2])))
        assert np.abs(found - at).max() < 0.25 * cell


@pytest.mark.parametrize("shared", [False, True])
def test_the_maps_are_those_the_head_is_told_of(shared: bool) -> None:
    found = predictor(shared=shared)
    followed = trace(found, picture())
    np.testing.assert_allclose(followed.maps.sum(axis=(-2, -1)), 1, atol=1e-5)
    networks = found.method.used.networks  # type: ignore[union-attr, operator]
    network = networks[0] if shared else networks[1]
    with torch.no_grad():
        numbers = SpatializedFeatures()(network.maps(torch.from_numpy(followed.glimpses[1])))
    depth = followed.maps.shape[2]
    told = numbers.reshape(4, 3, depth)[:, 1:].numpy()  # x, then y, from -1 to 1 between the edges
    low, high = followed.extents[1, :, 0], followed.extents[1, :, 1]
    places = np.moveaxis(expected_positions(followed.maps[1], followed.extents[1]), 2, 1)
    shares = 2 * (places - low[:, :, None]) / (high - low)[:, :, None] - 1
    np.testing.assert_allclose(shares, told, atol=1e-4)


def test_the_squares_of_the_first_look_stand_around_the_start() -> None:
    followed = trace(predictor(), picture())
    first = followed.first_extents
    np.testing.assert_allclose(first.mean(axis=2), np.repeat(followed.path[0][:, None], 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(first[:, :, 1] - first[:, :, 0], followed.extents[:, :, 1] - followed.extents[:, :, 0])


@pytest.mark.parametrize(("size", "expected"), [((300, 200), 1.0), ((3000, 1100), 3000 / 1024)])
def test_the_picture_is_small_and_its_factor_tells_where_a_point_lies(size: tuple[int, int], expected: float) -> None:
    image = np.zeros(size, dtype=np.uint8)
    image[140:161, 80:101] = 255  # around (90, 150)
    followed = trace(predictor(still=True), image)
    assert followed.factor == pytest.approx(expected)
    assert max(followed.image.shape) <= 1024
    assert followed.image.dtype == np.uint8
    weights = followed.image[0].astype(np.float64) / followed.image.sum()
    height, width = weights.shape
    found = np.array([weights.sum(axis=0) @ np.arange(width), weights.sum(axis=1) @ np.arange(height)])
    np.testing.assert_allclose(found, to_grid(np.array([90.0, 150.0]), expected), atol=0.05)


def test_a_file_and_an_array_give_the_same_trace(tmp_path: Path) -> None:
    found, file = predictor(), tmp_path / "a.png"
    Image.fromarray(picture()).save(file)
    np.testing.assert_array_equal(trace(found, file).path, trace(found, picture()).path)
    with pytest.raises(DataError, match=r"nothing\.png"):
        trace(found, tmp_path / "nothing.png")


def test_an_image_that_is_read_by_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spots = np.asarray(Image.fromarray(picture((32, 24))).resize((1536, 2048), Image.Resampling.BICUBIC))
    Image.fromarray(spots).save(tmp_path / "whole.png")
    file = write_tiled(tmp_path / "tiled.tif", spots.shape, [spots], tile=128)
    found = predictor()
    monkeypatch.setattr(inference, "MAX_PIXELS", 1)
    lazy, whole = trace(found, file), trace(found, tmp_path / "whole.png")
    np.testing.assert_allclose(lazy.path[-1], found.predict(file).points[0], atol=1e-3)
    np.testing.assert_allclose(lazy.path, whole.path, atol=32)  # two pixels of the canvas
    assert (lazy.factor, whole.factor) == (2.0, 2.0)
    assert np.abs(lazy.image.astype(float) - whole.image).mean() < 2


def test_a_run_without_glimpses_is_refused() -> None:
    heat = Recipe.model_validate({"data": {"input": {"size": [32, 32]}}, "method": {"name": "heatmap"}})
    method = build_method(heat, MARKS)
    found = Predictor(method, heat, MARKS, np.full(3, np.nan), "cpu")
    with pytest.raises(RunError, match="foveated or cascade, got heatmap"):
        trace(found, picture())
    with pytest.raises(RunError, match="give another run"):
        check_traces(found)
    assert not found.method.traces
    assert predictor().method.traces


def test_at_most_four_landmarks_are_drawn_unless_named() -> None:
    assert [spread_out(n) for n in (1, 4, 5, 19, 68)] == [
        [0], [0, 1, 2, 3], [0, 1, 3, 4], [0, 6, 12, 18], [0, 22, 45, 67],
    ]  # fmt: skip
    followed = trace(predictor(), picture())
    truth = followed.found + 3.0
    assert len(followed.guess_path(truth).axes) == 8  # pairs, the last one empty
    figure = followed.guess_path(truth, [2])
    assert figure.axes[0].get_title().startswith("gonion")
    assert "error 4.24 px" in figure.axes[1].get_title()
    assert [axes.get_ylabel() for axes in followed.glimpse_stack(columns=[1, 0]).axes[::4]] == ["nasion", "sella"]


@pytest.mark.parametrize("shared", [False, True])
def test_features_are_drawn_at_the_end_of_the_path(shared: bool) -> None:
    found, images = predictor(shared=shared), [np.roll(picture(), shift, axis=1) for shift in (0, 5, 9)]
    traces = [trace(found, image) for image in images]
    truth = np.stack([one.found[1] + 1.0 for one in traces])
    seen = features(found, images, 1, truth, ["a", "b", "c"])
    assert seen is not None
    figure = seen()
    assert len(figure.axes) == 12
    for i, axes in enumerate(figure.axes):
        (left, top), (right, bottom) = traces[i // 4].extents[1, i % 4]
        np.testing.assert_allclose(axes.get_images()[0].get_extent(), (left, right, bottom, top), atol=1e-3)
        feature = int(figure.axes[i % 4].get_title().split()[-1])
        values = traces[i // 4].maps[1, i % 4, feature]
        drawn = np.asarray(axes.get_images()[1].get_array())
        np.testing.assert_allclose(drawn, values / values.max(), atol=1e-3)


def test_a_feature_that_follows_the_point_is_told_from_one_that_stays_in_the_patch() -> None:
    """Of two maps, one lights up where the image is bright, the other always in the same cell of the patch."""

    def two(self: GlimpseNetwork, glimpses: torch.Tensor) -> torch.Tensor:
        bright = 20 * torch.nn.functional.avg_pool2d(glimpses, 2)
        fixed = torch.zeros_like(bright)
        fixed[..., 4, 4] = 50.0
        return torch.cat([fixed, bright], dim=1)

    found = predictor(still=True, levels=2)
    image = np.zeros(SIZE, dtype=np.uint8)
    at = to_original(np.array([50.0, 30.0]))  # the start of the landmark 1
    x, y = np.round(at).astype(int)
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GlimpseNetwork, "maps", two)
        patch.setattr(FoveatedMethod, "refine", lambda self, source, guess: torch.stack([guess, guess]))
        seen = features(found, [image], 1, at[None])
    assert seen is not None
    figure = seen()
    assert [axes.get_title().split()[-1] for axes in figure.axes] == ["1", "1"]
