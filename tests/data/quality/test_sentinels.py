"""Coordinates that stand for "missing" are found by 'data check'; landmarks that rest are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.checks import check_dataset
from trigpoint.data.quality.sentinels import find_sentinels
from trigpoint.data.table import read_table

SHARED = Path(__file__).parents[4] / "shared" / "data"
SIZE = (64, 48)


def moving(count: int = 200, seed: int = 0) -> np.ndarray:
    """Whole pixels all over an image of 64 x 48."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(8, 56, count), rng.integers(8, 40, count)], 1).astype(float)[:, None]


def spotted(spot: tuple[float, float], count: int) -> np.ndarray:
    points = moving()
    points[7 : 7 + count, 0] = spot
    return points


@pytest.mark.parametrize("spot", [(-1, -1), (0, 0), (1, 1), (-2, -2), (-0.5, -0.5), (99999, 99999), (-999, -999)])
@pytest.mark.parametrize("count", [2, 12, 100, 193])
def test_a_spot_of_no_place_is_found_from_the_second_time_on(spot: tuple[float, float], count: int) -> None:
    found = find_sentinels(spotted(spot, count), [SIZE] * 200)
    assert [(one.column, one.spot, one.annotated) for one in found] == [(0, spot, 200)]
    assert found[0].rows == tuple(range(7, 7 + count))


@pytest.mark.parametrize("spot", [(63, 47), (63, 0), (5, 5), (20.5, 10), (640, 480)])
def test_any_repeated_spot_is_found_without_sizes_too(spot: tuple[float, float]) -> None:
    for sizes in (None, [SIZE] * 200, [None] * 200):
        found = find_sentinels(spotted(spot, 20), sizes)
        assert [len(one.rows) for one in found] == [20]


def test_the_corner_of_images_of_several_sizes() -> None:
    sizes = [(64 + n, 48 + 2 * n) for n in range(20)]
    points = np.array([[[10 + 0.7 * n, 12.0 + n]] for n in range(20)])
    for n in (3, 7, 9):
        points[n, 0] = (-1, sizes[n][1])  # (-1, -1) of a tool that counts upwards
    (found,) = find_sentinels(points, sizes)
    assert (found.corner, found.spot, found.rows) == ("bottom left", (-1, 0), (3, 7, 9))
    assert "from the bottom left corner in 3 of 20 rows" in found.message


def test_a_spot_is_counted_over_all_landmarks() -> None:
    points = np.concatenate([moving(30, seed) for seed in range(3)], axis=1)
    points[4, 0] = points[9, 2] = (-1, -1)
    assert [(one.column, one.rows) for one in find_sentinels(points)] == [(0, (4,)), (2, (9,))]


def test_landmarks_that_rest_are_not_suspect() -> None:
    rest = np.full((60, 2, 2), 100.0)
    assert find_sentinels(rest, [(200, 200)] * 60) == []
    rest[30:] = 140.25  # the camera was moved once
    assert find_sentinels(rest, [(200, 200)] * 60) == []
    rest[:10] += np.random.default_rng(0).normal(0, 0.5, (10, 2, 2))  # by hand
    assert find_sentinels(rest, [(200, 200)] * 60) == []
    small = np.random.default_rng(1).normal(14, 2, (2000, 3, 2)).round()  # whole pixels of small images
    assert find_sentinels(small, [(28, 28)] * 2000) == []
    corner = np.abs(np.random.default_rng(2).normal(0, 6, (100, 1, 2))).round()  # corners of scanned pages
    corner[:30] = 0
    assert find_sentinels(corner, [(800, 1000)] * 100) == []


def test_nothing_to_look_at() -> None:
    assert find_sentinels(np.zeros((0, 3, 2))) == find_sentinels(np.zeros((4, 0, 2))) == []
    assert find_sentinels(np.full((5, 2, 2), np.nan)) == []


@pytest.mark.real_data
@pytest.mark.skipif(not SHARED.is_dir(), reason="measuring data not beside the checkout")
def test_no_false_alarm_on_real_sets() -> None:
    faces = np.stack([sample.points for sample in read_table(SHARED / "muct").samples])
    heads = LandmarkDataset.load(SHARED / "isbi2015_ceph", check_images=False).points
    for points in (faces, np.round(faces), np.round(faces / 8), heads, np.round(heads / 40)):
        assert find_sentinels(points) == []


@pytest.mark.parametrize("spot", ["-1,-1", "0,0", "99999,99999", "63,47"])
def test_check_names_landmark_spot_count_and_fix(tmp_path: Path, spot: str) -> None:
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,split,l_x,l_y,r_x,r_y"]
    for n in range(12):
        Image.fromarray(rng.integers(0, 255, (48, 64), dtype=np.uint8)).save(tmp_path / f"images/{n}.png")
        place = spot if n % 2 else f"{20 + n},{15 + n}"
        rows.append(f"{n}.png,{('train', 'val', 'test')[n % 3]},{place},{40 - n},{30 - n}")
    (tmp_path / "landmarks.csv").write_text("\n".join(rows) + "\n")
    found = [problem for problem in check_dataset(tmp_path).warnings if problem.landmark == "l"]
    assert [(problem.row, problem.severity) for problem in found] == [(3, "warning")]
    assert f"exactly ({spot.replace(',', ', ')}) in 6 of 12 rows" in found[0].message
    assert "blank both cells" in found[0].message
