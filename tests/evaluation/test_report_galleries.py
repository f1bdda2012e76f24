"""The images of a report: which are shown, in which unit their errors are told, and from which pixels."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from reports import detecting, report

from trigpoint.data import LandmarkDataset
from trigpoint.evaluation import Report
from trigpoint.evaluation.galleries import galleries, worst_landmarks
from trigpoint.landmarks import LandmarkSet, Normalizer
from trigpoint.report.displayed import as_displayed
from trigpoint.report.views import Gallery, around

NAMES = ("left", "right", "chin")
SIZE = (300, 400)


def pictured(folder: Path, errors: Any, spacing: float | None = None, normalizer: Normalizer | None = None) -> Report:
    """A report of three landmarks in 16 bit images whose left half is all but black, with these errors (N, 3) px."""
    wrong = np.array(errors, dtype=np.float64)
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    for i in range(len(wrong)):
        pixels = rng.integers(1000, 1200, SIZE, dtype=np.uint16)
        pixels[:, 200:] += 40000
        tifffile.imwrite(folder / "pictures" / f"{i}.tif", pixels)
    table = pd.DataFrame({"image": [f"{i}.tif" for i in range(len(wrong))], "split": "test"})
    for k, (name, x) in enumerate(zip(NAMES, (60.0, 160.0, 260.0), strict=True)):
        table[f"{name}_x"], table[f"{name}_y"] = x, 100.0 + 10 * k
    table.to_csv(folder / "landmarks.csv", index=False)
    marks = LandmarkSet(NAMES, normalizer=normalizer, skeleton=(("left", "right"),))
    data = LandmarkDataset.from_table(table, folder / "pictures", marks, spacing_mm=spacing, name="heads")
    return report(data, wrong)


def titled(made: Report) -> dict[str, Gallery]:
    return {gallery.title: gallery for gallery in galleries(made)}


def test_the_worst_landmarks_are_shown_from_original_pixels_in_the_window_of_the_image(tmp_path: Path) -> None:
    made = pictured(tmp_path, [[1, 2, 3], [4, 30, 6], [7, 8, 9]], spacing=0.5)
    details = titled(made)["Worst landmarks"]
    assert [(view.title, view.told) for view in details.views[:3]] == [
        ("right", "15.00 mm in 1.tif"),
        ("chin", "4.50 mm in 2.tif"),
        ("right", "4.00 mm in 2.tif"),
    ]
    whole = tifffile.imread(tmp_path / "pictures" / "1.tif")
    left, top, right, bottom = around(np.array([[160.0, 110.0], [190.0, 110.0]]), (SIZE[1], SIZE[0]))
    shown = np.asarray(Image.open(io.BytesIO(details.views[0].picture)))
    # a window of the piece alone would stretch its noise from black to white
    np.testing.assert_array_equal(shown, as_displayed(whole)[top:bottom, left:right])
    assert details.views[0].exact


def test_one_bad_image_does_not_fill_the_worst_landmarks_and_lost_ones_are_told(tmp_path: Path) -> None:
    rows = [[50, 60, 70], [1, 2, np.inf], *([[3, 4, 5]] * 6)]
    made = pictured(tmp_path, rows)
    pairs = worst_landmarks(made)
    assert pairs[:3] == [(0, 2), (0, 1), (0, 0)]
    assert len(pairs) == 12
    assert (1, 2) not in pairs
    assert "1 that were not predicted are not shown" in titled(made)["Worst landmarks"].caption


@pytest.mark.parametrize(
    ("spacing", "normalizer", "unit", "told"),
    [
        (0.5, Normalizer("eyes", between=("left", "right")), "mm", "mean error 2.50 mm"),
        (None, Normalizer("eyes", between=("left", "right")), "% of eyes", "mean error 4.98 % of eyes"),
        (None, None, "px", "mean error 5.00 px"),
    ],
)
def test_errors_are_told_in_the_unit_that_says_most(
    tmp_path: Path, spacing: float | None, normalizer: Normalizer | None, unit: str, told: str
) -> None:
    made = pictured(tmp_path, [[4, 5, 6], [1, 1, 1]], spacing, normalizer)
    assert made.leading[0] == unit
    assert titled(made)["Worst images"].views[0].told == told
    assert titled(made)["Worst landmarks"].views[0].told.endswith(f" {unit} in 0.tif")


def test_shares_need_the_normaliser_in_every_image(tmp_path: Path) -> None:
    made = pictured(tmp_path, [[4, 5, 6], [1, 1, 1]], normalizer=Normalizer("eyes", between=("left", "right")))
    made.dataset.points[1, 0] = np.nan
    made.errors[1, 0] = np.nan
    assert made.leading[0] == "px"


def test_the_skeleton_joins_annotated_and_predicted_points(tmp_path: Path) -> None:
    bones = titled(pictured(tmp_path, [[4, 5, 6]]))["Worst images"].views[0].bones
    assert [bone.predicted for bone in bones] == [False, True]


def test_images_link_to_the_labelling_page(tmp_path: Path) -> None:
    made = pictured(tmp_path, [[4, 5, 6]])
    unstored = titled(made)["Worst landmarks"]  # of an array, where nothing could be corrected
    assert (unstored.command, unstored.views[0].link) == ("", "")
    made.dataset = replace(made.dataset, table=tmp_path / "landmarks.csv")
    for gallery in titled(made).values():
        assert gallery.command == f"trigpoint label {tmp_path} --run {made.run.folder}"
        assert gallery.views[0].link == "http://127.0.0.1:8765/?name=0.tif"


def test_several_instances_have_no_worst_landmarks_and_show_misses(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    made = detecting([[[11.0, 10.0]], [[10.0, 10.0], [60.0, 60.0]]])
    for sample in made.dataset.samples:
        file = tmp_path / sample.image.name
        Image.fromarray(np.zeros((90, 90), np.uint8)).save(file)
        object.__setattr__(sample, "image", file)
    shown = titled(made)
    assert "Worst landmarks" not in shown
    worst = shown["Worst images"].views
    assert [view.told for view in worst] == ["1 matched, 1.0 px; 1 missed"]
    assert [mark.mistaken for mark in worst[0].marks] == [False, True]
