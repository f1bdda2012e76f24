from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from trigpoint.errors import ConfigError, DataError
from trigpoint.nn.spatialized import SpatializedFeatures
from trigpoint.report import style
from trigpoint.report.features import expected_positions, feature_maps, stable_features
from trigpoint.report.glimpses import glimpse_stack, guess_path, numbered

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (60, 50), dtype=np.uint8)  # of an original of 240 x 200, reduced by 4
FACTOR = 4.0
PATH = np.array([[[100.0, 120.0]], [[160.0, 60.0]], [[152.0, 66.0]], [[150.0, 68.0]]])  # (T + 1, 1, 2)
TRUTH = np.array([[151.0, 70.0]])


def corners(centers: np.ndarray, levels: int = 3, side: int = 16) -> np.ndarray:
    half = side * 2.0 ** np.arange(levels) / 2
    return centers[:, None, None, :] + half[:, None, None] * np.array([[-1.0, -1.0], [1.0, 1.0]])


def stacks(count: int, levels: int = 3, channels: int = 1, side: int = 16) -> np.ndarray:
    return RNG.normal(size=(count, levels, channels, side, side)).astype(np.float32)


def softmaxed(*shape: int, sharpness: float = 3.0) -> np.ndarray:
    maps = torch.from_numpy(RNG.normal(size=shape) * sharpness)
    return maps.flatten(-2).softmax(-1).reshape(shape).numpy()


def marks(axes: Axes, marker: str, colour: str) -> list[tuple[float, float]]:
    lines = [line for line in axes.get_lines() if line.get_marker() == marker and line.get_color() == colour]
    drawn = np.concatenate([np.asarray(line.get_xydata()) for line in lines]) if lines else np.empty((0, 2))
    return [(float(x), float(y)) for x, y in drawn if np.isfinite([x, y]).all()]


def key(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts of the figure that cover one another."""
    FigureCanvasAgg(figure).draw()
    found: list[Any] = [text for axes in figure.axes for text in (*axes.texts, axes.title, axes.yaxis.label)]
    found += figure.legends[0].get_texts()
    boxes = [(text.get_text(), text.get_window_extent()) for text in found if text.get_text() and text.get_visible()]
    return [(a, b) for i, (a, one) in enumerate(boxes) for b, other in boxes[i + 1 :] if one.overlaps(other)]


# -- path -------------------------------------------------------------------------------------------------------------


def test_the_path_is_drawn_in_original_pixels_over_the_reduced_image() -> None:
    patches = (stacks(1), corners(PATH[-1]))
    figure = guess_path(IMAGE, PATH, corners(PATH[0]), TRUTH, ["sella"], FACTOR, patches)
    whole, near = figure.axes
    assert tuple(whole.get_images()[0].get_extent()) == (-0.5, 199.5, 239.5, -0.5)
    assert (whole.get_xlim(), whole.get_ylim()) == ((-0.5, 199.5), (239.5, -0.5))
    for axes in (whole, near):
        assert marks(axes, "o", style.PREDICTED) == [tuple(point) for point in PATH[:, 0]]
        assert marks(axes, "o", style.TRUTH) == [(151.0, 70.0)]
    assert [patch.get_bbox().extents.tolist() for patch in whole.patches] == [
        [92, 112, 108, 128], [84, 104, 116, 136], [68, 88, 132, 152],
    ]  # fmt: skip
    assert not near.patches
    assert whole.get_title() == "sella, moved 72 px in 3 steps"
    assert near.get_title().endswith("error 2.24 px")
    assert key(figure) == ["guesses, 0 = start", "patches of the first glimpse", "annotated"]


def test_the_enlargement_shows_the_last_moves_and_the_true_point_over_the_patches() -> None:
    patches = (stacks(1), corners(PATH[-1]))
    near = guess_path(IMAGE, PATH, corners(PATH[0]), TRUTH, factor=FACTOR, stacks=patches).axes[1]
    (left, right), (bottom, top) = near.get_xlim(), near.get_ylim()
    assert right - left == pytest.approx(bottom - top)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(tuple(PATH[-1, 0]))
    for x, y in (*PATH[1:, 0], TRUTH[0]):
        assert left < x < right
        assert top < y < bottom
    assert not left < PATH[0, 0, 0] < right
    drawn = [tuple(image.get_extent()) for image in near.get_images()]
    assert drawn[1:] == [(118, 182, 100, 36), (134, 166, 84, 52), (142, 158, 76, 60)]  # the finest on top
    plain = guess_path(IMAGE, PATH, corners(PATH[0]), factor=FACTOR).axes[1]
    assert len(plain.get_images()) == 1


def test_a_path_that_stands_still_and_a_truth_far_away_leave_a_readable_enlargement() -> None:
    still = np.repeat(PATH[-1:], 4, axis=0)
    near = guess_path(IMAGE, still, corners(still[0]), np.array([[20.0, 20.0]]), factor=FACTOR).axes[1]
    assert near.get_xlim()[1] - near.get_xlim()[0] == pytest.approx(20.0)
    assert [text.get_text() for text in near.texts] == ["0-3"]


def test_without_truth_there_is_neither_ring_nor_error() -> None:
    figure = guess_path(IMAGE, PATH, corners(PATH[0]), np.full((1, 2), np.nan), factor=FACTOR)
    whole, near = figure.axes
    assert "error" not in near.get_title()
    assert marks(whole, "o", style.TRUTH) == []
    assert "annotated" not in key(figure)


def test_near_guesses_share_a_number() -> None:
    path = np.array([[0.0, 0.0], [50.0, 0.0], [1.0, 0.0], [51.0, 0.0]])
    assert [text for _, text in numbered(path, range(4), 5.0)] == ["1, 3", "0, 2"]
    assert [text for _, text in numbered(path, [1, 3], 0.5)] == ["3", "1"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_no_text_of_a_path_covers_another(count: int) -> None:
    rng = np.random.default_rng(count)
    truth = rng.uniform(30, 170, (count, 2))
    path = truth + rng.normal(size=(6, count, 2)) * (40 / 3.0 ** np.arange(6))[:, None, None]
    names = [f"posterior nasal spine {k}" for k in range(count)]
    figure = guess_path(IMAGE, path, corners(path[0]), truth, names, FACTOR, (stacks(count), corners(path[-1])))
    assert overlaps(figure) == []
    width, height = figure.get_size_inches()
    assert width > height
    assert style.figure_png(figure)


# -- glimpses ---------------------------------------------------------------------------------------------------------


def test_each_patch_has_its_extent_and_the_points_inside_it() -> None:
    centers = np.array([[100.0, 50.0], [20.0, 30.0]])
    truth = np.array([[110.0, 50.0], [np.nan, np.nan]])  # outside the finest patch, which reaches 8 px
    figure = glimpse_stack(stacks(2), corners(centers), centers, truth, ["sella", "nasion"])
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[:3]] == ["16 px", "32 px", "64 px"]
    assert tuple(figure.axes[1].get_images()[0].get_extent()) == (84, 116, 66, 34)
    assert [marks(axes, "x", style.PREDICTED) for axes in figure.axes[:3]] == [[(100.0, 50.0)]] * 3
    assert [len(marks(axes, "o", style.TRUTH)) for axes in figure.axes] == [0, 1, 1, 0, 0, 0]
    assert figure.axes[0].get_ylabel() == "sella\nerror 10.00 px"
    assert figure.axes[3].get_ylabel() == "nasion"
    assert [patch.get_bbox().extents.tolist() for patch in figure.axes[1].patches] == [[92, 42, 108, 58]]
    assert overlaps(figure) == []
    assert key(figure) == ["found", "annotated"]


@pytest.mark.parametrize(("levels", "channels"), [(1, 1), (6, 3), (10, 1)])
def test_any_number_of_levels_fits(levels: int, channels: int) -> None:
    figure = glimpse_stack(stacks(1, levels, channels), corners(PATH[-1], levels), PATH[-1], TRUTH, ["gonion"])
    assert len(figure.axes) == levels
    assert overlaps(figure) == []
    assert key(figure) == ["found", "annotated"]
    assert style.figure_png(figure)


def test_rows_stand_abreast_where_the_levels_are_few() -> None:
    truth = RNG.uniform(50, 100, (3, 2))
    figure = glimpse_stack(stacks(3, 4), corners(truth, 4), truth, truth, ["sella", "nasion", "gonion"])
    assert len(figure.axes) == 16
    assert [axes.get_ylabel().split("\n")[0] for axes in figure.axes[::4]] == ["sella", "nasion", "gonion", ""]
    assert not any(axes.get_images() for axes in figure.axes[12:])
    assert overlaps(figure) == []


def test_the_levels_of_a_landmark_share_one_grey_scale() -> None:
    stack = np.zeros((1, 2, 1, 16, 16), dtype=np.float32)
    stack[0, 0, 0, :8], stack[0, 1] = 1.0, 0.5
    fine, coarse = (
        axes.get_images()[0].get_array() for axes in glimpse_stack(stack, corners(PATH[0], 2), PATH[0]).axes
    )
    assert np.unique(fine).tolist() == [0, 255]
    assert np.unique(coarse).tolist() == [128]


# -- features ---------------------------------------------------------------------------------------------------------


def test_expected_positions_are_those_the_network_is_told() -> None:
    logits = torch.from_numpy(RNG.normal(size=(2, 3, 5, 8, 8)))
    maps = logits.flatten(-2).softmax(-1).reshape(logits.shape).numpy()
    centers = np.array([[100.0, 50.0], [20.0, 30.0]])
    told = SpatializedFeatures()(logits).numpy().reshape(2, 3, 3, 5)[:, :, 1:]  # x, then y
    half = (8.0 * 2.0 ** np.arange(3))[:, None, None]
    expected = centers[:, None, None, :] + half * np.moveaxis(told, 2, 3)
    np.testing.assert_allclose(expected_positions(maps, corners(centers)), expected, atol=1e-9)


def peaks(at: np.ndarray, side: int = 8) -> np.ndarray:
    """Maps (..., side, side) with all weight on one cell (row, column) each."""
    maps = np.zeros((*at.shape[:-1], side, side))
    np.put_along_axis(maps.reshape(*at.shape[:-1], -1), (at[..., :1] * side + at[..., 1:]), 1.0, axis=-1)
    return maps


def test_the_steadiest_feature_is_chosen_whatever_its_offset() -> None:
    """Feature 0 wanders, 1 follows the true point at an offset, 2 stays in the middle of the patch, 3 is flat."""
    cells = np.array([[2, 3], [5, 1], [3, 6], [4, 4]])  # of the true point: row, column
    truth = (cells[:, ::-1] * 2.0 + 1.0) - 8.0  # cells of 2 px, patches of 16 px around (0, 0)
    wandering = np.array([[7, 0], [0, 7], [7, 7], [0, 0]])
    middle = np.full((4, 2), 4)
    maps = np.stack(
        [peaks(wandering), peaks(cells + np.array([1, -1])), peaks(middle), np.full((4, 8, 8), 1 / 64)], axis=1
    )
    extents = corners(np.zeros((4, 2)), 1)
    assert stable_features(maps[:, None], extents, truth, 4).tolist() == [[1, 2, 0, 3]]


def test_a_flat_map_never_counts_as_steady() -> None:
    truth = np.zeros((4, 2))  # always in the middle, as the expected position of a flat map
    wandering = peaks(np.array([[3, 3], [4, 4], [3, 4], [4, 3]]))
    maps = np.stack([np.full((4, 8, 8), 1 / 64), wandering], axis=1)[:, None]
    assert stable_features(maps, corners(np.zeros((4, 2)), 1), truth).tolist() == [[1]]


def test_of_two_images_the_feature_next_to_the_true_point_is_chosen_and_missing_ones_do_not_count() -> None:
    far, near = peaks(np.array([[0, 0]] * 3)), peaks(np.array([[4, 4]] * 3))
    maps = np.stack([far, near], axis=1)[:, None]
    truth = np.array([[0.0, 0.0], [0.5, 0.0], [np.nan, np.nan]])
    assert stable_features(maps, corners(np.zeros((3, 2)), 1), truth).tolist() == [[1]]
    with pytest.raises(DataError, match="at least one image"):
        stable_features(maps, corners(np.zeros((3, 2)), 1), np.full((3, 2), np.nan))


def test_feature_maps_cover_their_patches_and_the_true_point_is_a_red_dot() -> None:
    centers = np.array([[100.0, 50.0], [20.0, 30.0]])
    maps, truth = softmaxed(2, 3, 5, 8, 8), np.array([[110.0, 50.0], [20.0, 31.0]])
    figure = feature_maps(maps, stacks(2), corners(centers), truth, [[1, 4], [0, 2], [3, 3]], ["a.png", "b.png"])
    assert len(figure.axes) == 12
    assert [axes.get_title() for axes in figure.axes[:3]] == ["16 px, map 1", "16 px, map 4", "32 px, map 0"]
    for axes in figure.axes:
        patch, heat = axes.get_images()
        assert patch.get_extent() == heat.get_extent()
    assert np.asarray(figure.axes[1].get_images()[1].get_array()).max() == 1.0
    assert [len(marks(axes, "o", style.RED)) for axes in figure.axes[:3]] == [0, 0, 1]
    plus = marks(figure.axes[2], "+", "white")
    assert plus == [tuple(expected_positions(maps, corners(centers))[0, 1, 0])]
    assert overlaps(figure) == []
    assert key(figure) == ["expected position", "annotated"]
    pixels = np.asarray(Image.open(io.BytesIO(style.figure_png(figure))).convert("RGB"))
    assert (pixels == ImageColor.getrgb(style.RED)).all(axis=-1).any()  # also in the small palette


def test_the_default_features_are_the_steadiest_of_each_level() -> None:
    maps, truth = softmaxed(4, 2, 6, 8, 8), RNG.normal(size=(4, 2))
    extents = corners(np.zeros((4, 2)), 2)
    chosen = stable_features(maps, extents, truth)[:, 0]
    figure = feature_maps(maps, stacks(4, 2), extents, truth)
    assert [axes.get_title().split()[-1] for axes in figure.axes[:2]] == [str(k) for k in chosen]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: guess_path(IMAGE, PATH[0], corners(PATH[0])), "path: expected"),
        (lambda: guess_path(IMAGE, PATH, corners(PATH[0])[0]), r"squares: expected \(1, n, 2, 2\)"),
        (lambda: guess_path(IMAGE, PATH, corners(PATH[0]), TRUTH[0]), r"truth: expected \(1, 2\)"),
        (lambda: glimpse_stack(stacks(1)[0], corners(PATH[0]), PATH[0]), "glimpses: expected"),
        (lambda: glimpse_stack(stacks(1, channels=2), corners(PATH[0]), PATH[0]), "C of 1 or 3"),
        (lambda: glimpse_stack(stacks(1, 2), corners(PATH[0]), PATH[0]), "extents: expected"),
        (lambda: feature_maps(softmaxed(1, 2, 5, 8, 8), stacks(1), corners(PATH[0]), TRUTH), "maps: expected"),
        (lambda: stable_features(softmaxed(1, 3, 5, 8, 8), corners(PATH[0]), TRUTH, 6), "D of at least 6"),
    ],
)
def test_shapes_that_do_not_fit_are_named(wrong: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        wrong()


def test_names_are_one_per_landmark() -> None:
    with pytest.raises(ConfigError, match="captions: expected 1"):
        guess_path(IMAGE, PATH, corners(PATH[0]), names=["a", "b"])
