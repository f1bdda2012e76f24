"""Pixels that are not square: from every file to the millimetres of an error, and back from what is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parent / "pixels"))
from dicom_files import dicom

from trigpoint.config import read_yaml
from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.table import read_table
from trigpoint.data.tiled import open_tiled, tile_image, write_tiled
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet, Sample, spacing_pair
from trigpoint.metrics import radial_error, radial_error_mm, to_millimetres
from trigpoint.metrics.summary import summarize
from trigpoint.report.overlays import prediction_overlay
from trigpoint.runs import LandmarkFile, RunFolder

OBLONG = (0.2, 0.1)
ERROR = float(np.hypot(0.6, 0.4))  # mm of 3 px in x and 4 px in y
TRUTH, FOUND = np.full((2, 1, 2), 10.0), np.full((2, 1, 2), 10.0) + np.array([3, 4])


def made(folder: Path, about: str = "", columns: str = "", cells: tuple[str, str] = ("", "")) -> Path:
    (folder / "images").mkdir(parents=True)
    for name in "ab":
        Image.new("L", (30, 20)).save(folder / f"images/{name}.png")
    (folder / "dataset.yaml").write_text(f"name: set\n{about}")
    rows = [f"image,tip_x,tip_y{columns}", *(f"{name}.png,3,4{more}" for name, more in zip("ab", cells, strict=True))]
    (folder / "landmarks.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_errors_in_mm() -> None:
    assert radial_error_mm(FOUND, TRUTH, [OBLONG, (0.1, 0.1)]).tolist() == [[pytest.approx(ERROR)], [0.5]]
    marks = LandmarkSet(("tip",))
    found = summarize(FOUND, TRUTH, marks, np.array([OBLONG, OBLONG]), sdr_mm=(0.7, 0.75))
    assert found["mre_mm"] == pytest.approx(ERROR)
    assert found["sdr_mm"] == {"0.7": 0.0, "0.75": 1.0}
    assert found["mre_px"] == 5.0
    unknown = summarize(FOUND, TRUTH, marks, np.array([OBLONG, (np.nan, np.nan)]))
    assert unknown["mre_mm"] is None
    gone = FOUND.copy()
    gone[0], gone[1] = np.nan, np.inf
    assert np.isinf(radial_error_mm(gone, TRUTH, [OBLONG, OBLONG])).all()
    assert np.isnan(radial_error_mm(FOUND, TRUTH * np.nan, [OBLONG, OBLONG])).all()
    np.testing.assert_allclose(to_millimetres(TRUTH, [OBLONG, OBLONG])[:, 0], [[2, 1], [2, 1]])
    with pytest.raises(DataError, match=r"spacing_mm of image 0: .*no direction"):
        to_millimetres(radial_error(FOUND, TRUTH), [OBLONG, OBLONG])


def test_square_pixels_give_the_same_bits_as_one_number() -> None:
    rng = np.random.default_rng(0)
    pred, truth, one = rng.normal(size=(9, 4, 2)), rng.normal(size=(9, 4, 2)), rng.uniform(0.1, 1, 9)
    two = np.stack([one, one], axis=1)
    expected = radial_error(pred, truth) * one[:, None]
    assert (radial_error_mm(pred, truth, one) == expected).all()
    assert (radial_error_mm(pred, truth, two) == expected).all()
    marks = LandmarkSet(tuple("abcd"))
    assert summarize(pred, truth, marks, one) == summarize(pred, truth, marks, two)
    mixed = two.copy()
    mixed[0, 0] *= 2
    assert (radial_error_mm(pred, truth, mixed)[1:] == expected[1:]).all()


def test_a_caption_states_the_same_mm() -> None:
    figure = prediction_overlay([np.zeros((40, 40))], TRUTH[:1], FOUND[:1], spacing_mm=[OBLONG])
    assert "error 5.00 px = 0.72 mm" in figure.axes[0].get_title()


@pytest.mark.parametrize(
    ("about", "columns", "cells", "expected"),
    [
        ("spacing_mm: 0.3", "", ("", ""), [(0.3, 0.3)] * 2),
        ("spacing_mm: [0.2, 0.1]", "", ("", ""), [OBLONG] * 2),
        ("spacing_mm: 0.3", ",spacing_mm", (",0.5", ","), [(0.5, 0.5), (0.3, 0.3)]),
        ("spacing_mm: 0.3", ",spacing_x_mm,spacing_y_mm", (",0.2,0.1", ",,"), [OBLONG, (0.3, 0.3)]),
        ("", ",spacing_mm,spacing_x_mm,spacing_y_mm", (",0.5,,", ",,0.2,0.1"), [(0.5, 0.5), OBLONG]),
    ],
)
def test_written_sets_read_back(
    tmp_path: Path, about: str, columns: str, cells: tuple[str, str], expected: list[tuple[float, float]]
) -> None:
    data = LandmarkDataset.load(made(tmp_path / "a", about, columns, cells))
    assert data.spacings.tolist() == [list(pair) for pair in expected]
    again = LandmarkDataset.load(data.save(tmp_path / "b"))
    assert again.spacings.tolist() == data.spacings.tolist()
    assert again.spacing_mm == data.spacing_mm


@pytest.mark.parametrize(
    ("about", "columns", "cell", "words"),
    [
        ("spacing_mm: 0", "", "", "spacing_mm: expected millimetres per pixel above 0, got 0; one number, or two"),
        ("spacing_mm: [0.1, 0]", "", "", "spacing_mm: expected millimetres per pixel above 0"),
        ("spacing_mm: [0.1]", "", "", "spacing_mm: expected millimetres per pixel above 0"),
        ("spacing_mm: [0.1, 0.1, 0.1]", "", "", "spacing_mm: expected millimetres per pixel above 0"),
        ("spacing_mm: [0.1, '0.2']", "", "", "spacing_mm: expected millimetres per pixel above 0"),
        ("", ",spacing_x_mm,spacing_y_mm", ",0.1,", "row 2: expected spacing_mm, or both .* got spacing_x_mm"),
        ("", ",spacing_x_mm,spacing_y_mm", ",0.1,-2", "row 2: spacing_y_mm: expected millimetres per pixel above 0"),
        ("", ",spacing_x_mm,spacing_y_mm", ",0.1,x", "row 2: spacing_y_mm: expected millimetres per pixel above 0"),
        ("", ",spacing_x_mm", ",0.1", "row 1: expected both columns spacing_x_mm and spacing_y_mm"),
        ("", ",spacing_mm,spacing_x_mm,spacing_y_mm", ",1,1,1", "row 2: expected spacing_mm, or both"),
        ("", ",spacing_mm", ",0", "row 2: spacing_mm: expected millimetres per pixel above 0, got '0'"),
    ],
)
def test_what_is_no_pixel_size_is_named(tmp_path: Path, about: str, columns: str, cell: str, words: str) -> None:
    folder = made(tmp_path / "a", about, columns, (cell, cell))
    with pytest.raises(DataError, match=words):
        read_table(folder)


@pytest.mark.parametrize("given", [0, -1, float("nan"), float("inf"), "0.1", [0.1], [0.1, 0.1, 0.1], [0.1, None], True])
def test_what_is_no_pixel_size_in_python(given: object) -> None:
    with pytest.raises(DataError, match="expected millimetres per pixel above 0, one number, or two for x and y"):
        spacing_pair(given)
    with pytest.raises(DataError, match=r"a\.png: spacing_mm: expected"):
        Sample(Path("a.png"), np.zeros((1, 2)), np.zeros(1, np.int64), spacing_mm=given)  # type: ignore[arg-type]


def test_one_number_may_be_given_in_python(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a.png"], "tip_x": [1.0], "tip_y": [2.0]})
    for given, expected in ((0.5, (0.5, 0.5)), (OBLONG, OBLONG), (np.float64(0.5), (0.5, 0.5))):
        assert LandmarkDataset.from_table(frame, spacing_mm=given).samples[0].spacing_mm == expected
    assert Sample(Path("a"), np.zeros((1, 2)), np.zeros(1, np.int64), spacing_mm=0.5).spacing_mm == (0.5, 0.5)  # type: ignore[arg-type]


def test_the_pixel_size_of_an_image_file_counts_before_the_set(tmp_path: Path) -> None:
    folder = made(tmp_path / "a", "spacing_mm: 0.3")
    dicom(folder / "images/b.png", np.zeros((20, 30), np.uint8), PixelSpacing=[0.1, 0.2])  # whatever it is called
    assert LandmarkDataset.load(folder).spacings.tolist() == [[0.3, 0.3], [0.2, 0.1]]
    tile_image(folder / "images/b.png", tmp_path / "b.tif")
    with open_tiled(tmp_path / "b.tif") as image:
        assert image.spacing_mm == OBLONG
    write_tiled(tmp_path / "c.tif", (20, 30), [np.zeros((20, 30), np.uint8)], spacing_mm=0.5)
    with open_tiled(tmp_path / "c.tif") as image:
        assert image.spacing_mm == (0.5, 0.5)


@pytest.mark.parametrize(("spacing", "stored"), [(OBLONG, [0.2, 0.1]), ((0.5, 0.5), 0.5), (None, None)])
def test_a_run_keeps_it(tmp_path: Path, spacing: tuple[float, float] | None, stored: object) -> None:
    run = RunFolder(tmp_path)
    run.write_landmarks(LandmarkFile(LandmarkSet(("tip",)), spacing))
    assert read_yaml(run.landmarks)["spacing_mm"] == stored
    assert run.read_landmarks().spacing_mm == spacing
