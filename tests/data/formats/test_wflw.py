"""WFLW lists: points by their place, several faces of an image, lists with and without boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.formats import Wflw
from trigpoint.data.formats.wflw import NAMES
from trigpoint.errors import DataError

POINTS = np.stack([np.arange(98) + 0.25, 2.0 * np.arange(98)], axis=1)


def line(name: str, scale: float = 1, more: str = "1 2 3 4 0 1 0 1 0 1 ") -> str:
    return " ".join(str(value) for value in (POINTS * scale).ravel()) + f" {more}{name}\n"


def test_lists_with_their_splits_and_faces(tmp_path: Path) -> None:
    for name in ("a.png", "b b.png"):
        (tmp_path / "images" / "0--x").mkdir(parents=True, exist_ok=True)
        PIL.Image.new("L", (200, 200)).save(tmp_path / "images" / "0--x" / name)
    lists = tmp_path / "lists"
    lists.mkdir()
    train = line("0--x/a.png", 0.5) + line("0--x/a.png")
    (lists / "list_98pt_rect_attr_train.txt").write_text(train)
    (lists / "list_98pt_test.txt").write_text(line("0--x/b b.png", more=""))
    (lists / "readme.txt").write_text("not a list")
    data = Wflw().read(lists, tmp_path / "images")
    np.testing.assert_array_equal(data.points, [POINTS / 2, POINTS, POINTS])
    assert [(s.image.name, s.split, s.instance) for s in data.samples] == [
        ("a.png", "train", "1"),
        ("a.png", "train", "2"),
        ("b b.png", "test", "1"),
    ]
    assert "the boxes and attributes of 2 faces are not kept" in str(data.problems[0])
    largest = Wflw(faces="largest").read(lists, tmp_path / "images")
    np.testing.assert_array_equal(largest.points, [POINTS, POINTS])
    assert not largest.instances
    assert "1 faces are left out" in str(largest.problems[0])
    (file,) = Wflw().write(largest, tmp_path / "o.txt")
    assert file.read_text().splitlines()[0].split()[196:] == ["0", "0", "98", "194", *"000000", "0--x/a.png"]


def test_a_flip_twice_is_none_and_keeps_each_side(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(line("a.png"))
    marks = Wflw().read(tmp_path / "l.txt").landmarks
    order = marks.flip_permutation()
    np.testing.assert_array_equal(order[order], np.arange(98))
    middle = {16, 51, 52, 53, 54, 57, 79, 85, 90, 94}  # chin, nose and lips
    assert {k for k in range(98) if order[k] == k} == middle
    assert marks.normalizer is not None
    assert marks.normalizer.between == ("w60", "w72")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2 a.png\n", "line 1: expected 98 points"),
        (line("a.png").replace("0.25", "x", 1), "line 1: expected 98 points, .* got 'x'"),
        (line(""), "line 1: expected 98 points"),
        ("", "expected annotated landmarks, got none"),
        (line("a" * 300 + ".png"), "line 1: expected the name of an image file"),
    ],
)
def test_malformed_wflw(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(DataError, match=expected) as error:
        Wflw().read(tmp_path / "l.txt")
    assert "l.txt" in str(error.value)


def test_gaps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text(line("a.png"))
    data = Wflw().read(tmp_path / "l.txt")
    with pytest.raises(DataError, match="landmark 'w00': expected all 98 points"):
        Wflw().write(data.without_labels(), tmp_path / "o.txt")
    with pytest.raises(DataError, match="got none called 'w97'"):
        Wflw().write(data.pick(NAMES[:-1]), tmp_path / "o.txt")
    assert not (tmp_path / "o.txt").exists()
