from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigpoint.data.table import Table
from trigpoint.errors import DataError
from trigpoint.landmarks import LandmarkSet, Sample
from trigpoint.report.sheet import contact_sheet
from trigpoint.report.style import figure_png

MARKS = LandmarkSet(("left", "right", "tip"), pairs=(("left", "right"),))


def dataset(folder: Path, rows: int, instances: int = 1) -> Table:
    samples = []
    for i in range(rows):
        file = folder / f"{i // instances}.png"
        Image.fromarray(np.full((20, 30), 90, dtype=np.uint8)).save(file)
        points = np.array([[5.0 + i % 3, 5.0], [20.0, 6.0], [np.nan, np.nan]])
        samples.append(Sample(file, points, np.array([2, 1, 0]), split="train", row=i + 2))
    return Table(folder, "toy", folder, folder / "landmarks.csv", MARKS, tuple(samples))


def test_sheet_spreads_over_the_set_and_marks_sides(tmp_path: Path) -> None:
    figure = contact_sheet(dataset(tmp_path, 11), count=3, columns=2)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["row 2 · train\n0.png", "row 7 · train\n5.png", "row 12 · train\n10.png"]
    left, right = figure.axes[1].get_lines()
    assert (list(left.get_xdata()), list(left.get_ydata())) == ([7.0], [5.0])
    assert left.get_color() != right.get_color()
    assert left.get_markerfacecolor() == left.get_color()
    assert right.get_markerfacecolor() == "none"  # occluded
    assert figure_png(figure)


def many(folder: Path, count: int) -> Table:
    file = folder / "a.png"
    Image.fromarray(np.full((40, 60), 90, dtype=np.uint8)).save(file)
    points = np.stack([np.linspace(5, 55, count), np.full(count, 20.0)], axis=1)
    marks = LandmarkSet(tuple(f"mark {k}" for k in range(count)))
    return Table(folder, "toy", folder, file, marks, (Sample(file, points, np.full(count, 2), row=2),))


@pytest.mark.parametrize(("count", "numbered"), [(12, False), (13, True), (30, True), (31, False)])
def test_more_landmarks_than_can_be_named_are_numbered_in_their_order(
    tmp_path: Path, count: int, numbered: bool
) -> None:
    figure = contact_sheet(many(tmp_path, count))
    texts = [text.get_text() for text in figure.axes[0].texts]
    names = [f"mark {k}" for k in range(count)]
    assert texts == ([str(k + 1) for k in range(count)] if numbered else names if count <= 12 else [])
    key = figure.get_supxlabel().replace("\u00a0", " ").split()
    assert (key[-3:] == [str(count), "mark", str(count - 1)]) == numbered
    forced = contact_sheet(many(tmp_path, count), numbers=True)
    assert forced.axes[0].texts[-1].get_text() == str(count)
    assert not contact_sheet(many(tmp_path, 13), numbers=False).axes[0].texts


def test_skeleton_joins_what_is_annotated(tmp_path: Path) -> None:
    marks = LandmarkSet(MARKS.names, skeleton=(("right", "left"), ("left", "tip")))
    figure = contact_sheet(replace(dataset(tmp_path, 1), landmarks=marks))
    joined, open_end = figure.axes[0].get_lines()[:2]
    assert (list(joined.get_xdata()), list(joined.get_ydata())) == ([20.0, 5.0], [6.0, 5.0])
    assert np.isnan(open_end.get_xdata()).tolist() == [False, True]


def test_instances_share_a_panel(tmp_path: Path) -> None:
    figure = contact_sheet(dataset(tmp_path, 6, instances=3))
    assert [axes.get_title() for axes in figure.axes] == [
        "row 2, 3 instances · train\n0.png",
        "row 5, 3 instances · train\n1.png",
    ]
    assert len(figure.axes[0].get_lines()) == 6


def test_unreadable_image_is_shown_as_such(tmp_path: Path) -> None:
    table = dataset(tmp_path, 2)
    (tmp_path / "1.png").unlink()
    texts = [text.get_text() for text in contact_sheet(table).axes[1].texts]
    assert len(texts) == 1
    assert "expected an image" in texts[0].replace("\n", " ")


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contact sheet"):
        contact_sheet(dataset(tmp_path, 2), count=0)
    with pytest.raises(DataError, match="0 rows"):
        contact_sheet(Table(tmp_path, "", tmp_path, tmp_path, MARKS, ()))
