"""What is written without pandas and Matplotlib: the same table to the byte, and pictures with points in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trigpoint.data.files import column_text
from trigpoint.landmarks import ImageDetections, LandmarkSet, Prediction
from trigpoint.prediction.drawing import draw_predictions
from trigpoint.prediction.measurements import measurement_columns
from trigpoint.prediction.table import prediction_columns
from trigpoint.report.frame_overlay import draw_image, draw_points

RNG = np.random.default_rng(0)
ODD = ["a.png", "of two, with a comma.png", 'a "quoted" one.png', "zwei\nZeilen.png", "über.png", "1"]


def many(kind: type[np.floating], threshold: float | None = None) -> Prediction:
    """Points large and small, missing ones, numbers of several types."""
    found = []
    for index, name in enumerate(ODD):
        rows = index % 3 if threshold is not None else 1
        points = (RNG.standard_normal((rows, 3, 2)) * 10.0 ** RNG.integers(-6, 18, (rows, 3, 1))).astype(kind)
        points[:, index % 3] = np.nan
        scores = np.where(np.isfinite(points).all(-1), RNG.random((rows, 3)) ** 8, np.nan).astype(kind)
        beside = {"spread": RNG.random((rows, 3)).astype(kind)}
        found.append(ImageDetections(name, points, scores, beside, 1.5, time_s=index / 30 if index else None))
    marks = LandmarkSet(("a", "b, c", "d"), measurements={"ad": {"distance": ["a", "d"]}})
    return Prediction(found, marks, np.array([2.0, np.nan, 1e-7]), threshold=threshold, scale=0.7)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
@pytest.mark.parametrize("threshold", [None, 0.1])
def test_tables_are_those_of_pandas_to_the_byte(kind: type[np.floating], threshold: float | None) -> None:
    columns = prediction_columns(many(kind, threshold))
    assert column_text(columns) == pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    if threshold is None:
        columns, _ = measurement_columns(many(kind), {"ad": {"px": 0.3}})
        assert column_text(columns) == pd.DataFrame(columns).to_csv(index=False, lineterminator="\n")
    for values in ([0.0, -0.0, 1e-5, 1e16, np.inf, -np.inf], [True, False], [1, 2**60], [None, "x", ""]):
        frame = pd.DataFrame({"image": list("abcdefg")[: len(values)], "v": values})
        assert column_text({"image": list(frame["image"]), "v": values}) == frame.to_csv(index=False)


@pytest.mark.parametrize(
    ("shape", "size"), [((20, 30), (360, 540)), ((700, 600), (700, 600)), ((2100, 1500), (1050, 750))]
)
def test_crosses_are_where_the_points_are_in_every_size(shape: tuple[int, int], size: tuple[int, int]) -> None:
    point = np.array([0.3 * shape[1], 0.6 * shape[0]])
    drawn = draw_image(np.zeros(shape, np.uint8), point[None, None]).astype(int)
    assert drawn.shape == (*size, 3)
    y, x = np.nonzero(drawn.sum(-1))
    factor = size[0] / shape[0]
    middle = [(one.min() + one.max()) / 2 for one in (x, y)]
    np.testing.assert_allclose(middle, (point + 0.5) * factor - 0.5, atol=1)  # lines of even width


def test_names_are_written_beside_few_points_and_not_over_the_border() -> None:
    black, points = np.zeros((300, 400, 3), np.uint8), np.array([[[30.0, 150.0], [385.0, 150.0]]])
    plain, named = draw_points(black, points), draw_points(black, points, names=["left", "Kiefer γ"])
    changed = np.nonzero((plain != named).any((0, 2)))[0]
    assert changed.min() > 30
    assert changed.max() < 385
    assert not (draw_points(black, points, names=["n"] * 41) != plain).any()


def test_more_points_are_numbered_and_a_key_names_them() -> None:
    black, count = np.zeros((600, 800, 3), np.uint8), 20
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points = np.stack([400 + 60 * np.cos(angles), 300 + 60 * np.sin(angles)], -1)[None]
    points[0, 3] = np.nan  # has no number, but a row in the key
    plain, numbered = (draw_points(black, points, names=names) for names in ((), ["n"] * count))
    y, x = np.nonzero((plain != numbered).any(-1))
    away = np.hypot(x - 400, y - 300)
    assert away.min() > 60  # outside of the ring, where there is room
    assert away.max() < 110
    names = [f"landmark number {k}" for k in range(count)]
    drawn = draw_image(black, points, names=names)
    assert drawn.shape[1:] == (800, 3)
    np.testing.assert_array_equal(drawn[:600], draw_points(black, points, names=names))
    other = draw_image(black, points, names=[*names[:3], "gonion", *names[4:]])
    assert (other[:600] == drawn[:600]).all()
    assert (other[600:] != drawn[600:]).any()
    assert draw_image(black[:, :150], points, names=names).shape[1] == 150  # narrower than a column of the key


def test_pictures_are_written_in_colour_and_named_as_asked(tmp_path: Path) -> None:
    file, drawing = tmp_path / "deep.tif", tmp_path / "drawn" / "deep_points.png"
    Image.fromarray(RNG.integers(0, 3000, (90, 60), dtype=np.uint16)).save(file)
    marks = LandmarkSet(("tip",))
    found = Prediction([ImageDetections("deep.tif", np.array([[[20.0, 30.0]]]), np.ones((1, 1)))], marks, np.ones(1))
    draw_predictions(found, [file], [drawing])
    with Image.open(drawing) as picture:
        assert (picture.mode, picture.size) == ("RGB", (360, 540))
        red, green, blue = np.asarray(picture).reshape(-1, 3).astype(int).T
    assert ((red > 200) & (blue < 50) & (green > 100)).any()  # the cross
