"""The native table: strict reading that names file, row and landmark, and atomic writing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.data.files import inside, write_text
from trigpoint.data.table import read_table, table_text, write_table
from trigpoint.errors import DataError
from trigpoint.landmarks import ABSENT, LandmarkSet, Normalizer, Sample

HEADER = "image,split,subject,left_x,left_y,right_x,right_y"
YAML = "landmarks: [left, right]\n"


def folder(tmp_path: Path, rows: str, yaml: str | None = YAML, header: str = HEADER) -> Path:
    if yaml is not None:
        (tmp_path / "dataset.yaml").write_text(yaml)
    (tmp_path / "landmarks.csv").write_text(f"{header}\n{rows}\n")
    return tmp_path


def test_reads_points_visibility_and_meta(tmp_path: Path) -> None:
    header = "image,split,subject,spacing_mm,right_x,right_y,left_x,left_y,left_v,note"
    table = read_table(folder(tmp_path, "a.png,train,s1,0.2,3,4,1.5,-2,1,hello\nb.png,,,,,,7,8,0,", header=header))
    a, b = table.samples
    assert table.landmarks.names == ("left", "right")  # the order of dataset.yaml, matched by name
    np.testing.assert_array_equal(a.points, [[1.5, -2], [3, 4]])
    assert a.visibility.tolist() == [1, 2]
    assert (a.split, a.subject, a.spacing_mm, a.row) == ("train", "s1", (0.2, 0.2), 2)
    assert np.isnan(b.points).all()  # blank, and visibility 0 whatever its coordinates
    assert b.visibility.tolist() == [0, 0]
    assert b.spacing_mm is None
    assert a.image == tmp_path / "a.png"


def test_only_a_csv_takes_names_from_the_columns(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png,,,1,2,3,4", yaml=None)
    assert read_table(root).landmarks.names == ("left", "right")
    assert read_table(root).samples[0].image == root / "a.png"
    (root / "images").mkdir()
    assert read_table(root / "landmarks.csv").samples[0].image == root / "images" / "a.png"


def test_scores_of_predictions_are_read_and_their_radius_is_not(tmp_path: Path) -> None:
    header = "image,tip_x,tip_y,tip_score,tip_radius,end_x,end_y,end_score,tip_spread"
    rows = "a.png,1,2,0.9,3,,,0.1,4\nb.png,1,2,,3,4,5,,6"
    table = read_table(folder(tmp_path, rows, yaml=None, header=header))
    assert table.landmarks.names == ("tip", "end")
    first, second = (sample.scores for sample in table.samples)
    np.testing.assert_array_equal(first, [0.9, np.nan])  # no score of a point that is not there
    assert second is None
    text = table_text(table.samples, table.landmarks, image_names=["a.png", "b.png"]).splitlines()
    assert text[0] == "image,split,subject,tip_x,tip_y,tip_score,end_x,end_y,end_score"
    assert text[1:] == ["a.png,,,1,2,0.9,,,", "b.png,,,1,2,,4,5,"]
    with pytest.raises(DataError, match="row 2, landmark 'tip': score: expected a finite number or a blank cell, got"):
        read_table(folder(tmp_path, "a.png,1,2,good", yaml=None, header="image,tip_x,tip_y,tip_score"))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("a.png,,,1,2,3,4\nb.png,,,1,2,3,oops", "row 3, landmark 'right': expected a finite number"),
        ("a.png,,,1,,3,4", "row 2, landmark 'left': expected both x and y, got only x"),
        ("a.png,,,inf,2,3,4", "row 2, landmark 'left': expected a finite number or a blank cell, got 'inf'"),
        ("a.png,,,nan,nan,3,4", "got 'nan'"),
        ("a.png,,,1_0,2,3,4", "got '1_0'"),
        ("a.png,,,1,2,3,4\n\na.png,,,1,2,3,4", "row 4: expected each image once, got 'a.png' again (first in row 2)"),
        (f"{'a' * 300},,,1,2,3,4", "row 2: expected the name of an image file, got 'aaa"),
        ("\x01.png,,,1,2,3,4", r"expected the name of an image file, got '\x01.png', which no file can have"),
        ("a.png,,,1,2,3,4\n./images/../a.png,,,1,2,3,4", "got './images/../a.png' again (first in row 2 as 'a.png')"),
        (",,,1,2,3,4", "row 2: expected the name of an image file, got a blank cell"),
        ("a.png,,,1,2,3", "row 2: expected 7 cells as in the header, got 6"),
        ("a.png,,,,,,", "expected annotated landmarks, got none in any row"),
        ("", "expected rows of images, got only the header"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        read_table(folder(tmp_path, rows))
    assert expected in str(error.value)
    assert str(tmp_path / "landmarks.csv") in str(error.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("image,split,subject,left_x,left_y,right_x", "row 1, landmark 'right': expected a column 'right_y', got none"),
        ("file,split,subject,left_x,left_y,right_x,right_y", "expected a column 'image'"),
        ("image;split", "separate the cells by commas"),
        (HEADER + ",rigth_x", "did you mean 'right'?"),
        (HEADER + ",subjekt", "did you mean 'subject'?"),
        (HEADER + ",left_x", "expected each column once, got 'left_x' 2 times"),
    ],
)
def test_bad_headers_are_named(tmp_path: Path, header: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        read_table(folder(tmp_path, "a.png" + ",1" * header.count(","), header=header))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("landmark: [left]", "unknown key 'landmark'; did you mean 'landmarks'?"),
        (
            "pairs: [[left, rigth]]",
            "landmark 'rigth': pairs ['left', 'rigth']: unknown landmark; did you mean 'right'?",
        ),
        ("pairs: [[left, right], [right, left]]", "expected each landmark in one pair"),
        ("pairs: [[left, left]]", "expected each landmark in one pair"),
        ("pairs: [[left]]", "expected two landmark names"),
        ("groups: {all: [left, up]}", "landmark 'up': groups 'all': unknown landmark"),
        ("normalizer: {name: d, between: [left, up]}", "landmark 'up': normalizer"),
        ("normalizer: {name: d}", "either 'between: [a, b]' or 'box: true'"),
        ("landmarks: [yes, right]", "put it in quotes"),
        ("landmarks: [left, right, left]", "expected each name once, got 'left'"),
        ("spacing_mm: -1", "expected millimetres per pixel above 0, got -1"),
        ("images: ../elsewhere", "expected a path inside the dataset folder"),
        ("instances: maybe", "expected true or false, got 'maybe'"),
        ("instances: true", "expected a column 'instance'"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_bad_descriptions_are_named(tmp_path: Path, yaml: str, expected: str) -> None:
    with pytest.raises(DataError) as error:
        read_table(folder(tmp_path, "a.png,,,1,2,3,4", yaml=yaml))
    assert expected in str(error.value)
    assert "dataset.yaml" in str(error.value)


def test_every_problem_in_one_pass(tmp_path: Path) -> None:
    root = folder(tmp_path, "a.png,,,1,2,3,x\nb.png,,,1,,3,4\nc.png,,,1,2,3,4", yaml="nmae: x\npairs: [[left, up]]")
    table = read_table(root, strict=False)
    assert [(p.file.name, p.row, p.landmark) for p in table.problems] == [
        ("dataset.yaml", None, None),
        ("dataset.yaml", None, "up"),
        ("landmarks.csv", 2, "right"),
        ("landmarks.csv", 3, "left"),
    ]
    assert [sample.row for sample in table.samples] == [4]
    with pytest.raises(DataError) as error:
        read_table(root)
    assert len(str(error.value).splitlines()) == 4


def test_a_misspelt_column_is_one_problem(tmp_path: Path) -> None:
    header = "image,split,subject,left_x,left_y,left_v,rihgt_x,right_y,right_v"
    rows = "\n".join(f"{n}.png,,,1,2,2,3,4,2" for n in range(50))
    with pytest.raises(DataError) as error:
        read_table(folder(tmp_path, rows, header=header))
    told = str(error.value).splitlines()
    assert len(told) == 1, told
    assert "expected a column 'right_x', got 'rihgt_x'; rename that column" in told[0]


def test_a_fatal_problem_is_reported_too(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").write_bytes(b"image,tip_x,tip_y\n\xff.png,1,2\n")
    table = read_table(tmp_path, strict=False)
    assert "line 2: expected UTF-8" in str(table.problems[0])
    with pytest.raises(DataError, match="byte 0xff"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="nothing there"):
        read_table(tmp_path / "none", strict=False)


def test_instances_allow_an_image_twice(tmp_path: Path) -> None:
    header = "image,instance,left_x,left_y,right_x,right_y"
    rows = "a.png,i,1,2,3,4\na.png,j,1,2,3,4\nb.png,,,,,"
    assert len(read_table(folder(tmp_path, rows, YAML + "instances: true", header)).samples) == 3
    with pytest.raises(DataError, match="or say 'instances: true'"):
        read_table(folder(tmp_path, rows, YAML, header))
    (tmp_path / "dataset.yaml").unlink()
    with pytest.raises(DataError, match="row 4: expected each image and instance once"):
        read_table(folder(tmp_path, "a.png,i,1,2,3,4\na.png,j,1,2,3,4\na.png,i,1,2,3,4", None, header))


def test_blank_means_absent_only_in_sets_with_instances(tmp_path: Path) -> None:
    header = "image,instance,left_x,left_y,left_v,right_x,right_y,right_v"
    rows = "a.png,i,1,2,,,,\na.png,j,3,4,1,,,0\nb.png,,,,,,,\nc.png,,,,0,5,6,0"
    many = read_table(folder(tmp_path, rows, YAML + "instances: true", header)).samples
    assert [sample.visibility.tolist() for sample in many] == [[2, ABSENT], [1, 0], [ABSENT, ABSENT], [0, 0]]
    assert np.isnan(many[3].points).all()  # visibility 0 whatever its coordinates
    single = "a.png,i,1,2,,,,\nb.png,,,,,,,"
    one = read_table(folder(tmp_path, single, YAML + "instances: false", header)).samples
    assert [sample.visibility.tolist() for sample in one] == [[2, 0], [0, 0]]
    (tmp_path / "dataset.yaml").unlink()  # then the column says that there are instances
    assert read_table(folder(tmp_path, single, None, header)).samples[1].visibility.tolist() == [ABSENT, ABSENT]


def test_blank_is_absent_without_columns_of_visibility(tmp_path: Path) -> None:
    header = "image,instance,left_x,left_y,right_x,right_y"
    table = read_table(folder(tmp_path, "a.png,i,1,2,,\nb.png,,,,,", YAML + "instances: true", header))
    assert [sample.visibility.tolist() for sample in table.samples] == [[2, ABSENT], [ABSENT, ABSENT]]


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(*[st.sampled_from((ABSENT, 0, 1, 2))] * 2), min_size=1, max_size=5))
def test_instances_read_back_with_what_is_absent(rows: list[tuple[int, int]]) -> None:
    rows = [*rows, (2, ABSENT)]  # a set has at least one annotation
    seen = np.array(rows, dtype=np.int64)
    places = np.where(seen[..., None] > 0, np.arange(seen.size * 2.0).reshape(*seen.shape, 2) / 3, np.nan)
    written = [Sample(Path("a.png"), p, v, instance=f"t{k}") for k, (p, v) in enumerate(zip(places, seen, strict=True))]
    marks = LandmarkSet(("left", "right"))
    with tempfile.TemporaryDirectory() as place:
        write_table(place, written, marks, image_names=["a.png"] * len(written), instances=True)
        again = read_table(place).samples
    np.testing.assert_array_equal([sample.visibility for sample in again], seen)
    np.testing.assert_array_equal([sample.points for sample in again], places)


def test_columns_of_visibility_are_written_where_needed() -> None:
    marks = LandmarkSet(("tip",))
    blank = np.full((1, 2), np.nan)

    def cells(visibility: int, instances: bool) -> list[str]:
        rows = [Sample(Path("a"), blank, np.array([visibility])), Sample(Path("b"), np.ones((1, 2)), np.array([2]))]
        return table_text(rows, marks, image_names=["a", "b"], instances=instances).splitlines()

    assert cells(ABSENT, True) == ["image,split,subject,instance,tip_x,tip_y", "a,,,,,", "b,,,,1,1"]
    assert cells(0, True) == ["image,split,subject,instance,tip_x,tip_y,tip_v", "a,,,,,,0", "b,,,,1,1,2"]
    assert cells(0, False) == ["image,split,subject,tip_x,tip_y", "a,,,,", "b,,,1,1"]


def samples() -> tuple[list[Sample], LandmarkSet]:
    marks = LandmarkSet(
        ("left", "right"), (("left", "right"),), {"both": ("left", "right")}, Normalizer("d", ("left", "right"))
    )
    points = np.array([[0.1 + 0.2, 1e-7], [np.nan, np.nan]])
    first = Sample(Path("a.png"), points, np.array([1, 0]), "train", "s,1", "", 0.25)
    return [first, Sample(Path("b.png"), points[::-1] + 1, np.array([0, 2]))], marks


def test_written_tables_read_back_exactly(tmp_path: Path) -> None:
    rows, marks = samples()
    write_table(tmp_path, rows, marks, image_names=["a.png", "b.png"], name="set", spacing_mm=0.5)
    table = read_table(tmp_path)
    assert (table.landmarks, table.name, table.spacing_mm) == (marks, "set", (0.5, 0.5))
    for before, after in zip(rows, table.samples, strict=True):
        np.testing.assert_array_equal(before.points, after.points)
        np.testing.assert_array_equal(before.visibility, after.visibility)
        assert (before.split, before.subject, before.spacing_mm) == (after.split, after.subject, after.spacing_mm)


def test_writing_never_overwrites_unasked(tmp_path: Path) -> None:
    rows, marks = samples()
    (tmp_path / "dataset.yaml").write_text("mine")
    with pytest.raises(DataError, match="expected a new file"):
        write_table(tmp_path, rows, marks, image_names=["a", "b"])
    assert [p.name for p in tmp_path.iterdir()] == ["dataset.yaml"]
    write_table(tmp_path, rows, marks, image_names=["a", "b"], overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset.yaml", "landmarks.csv"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")
    with pytest.raises(DataError, match=r"a\.csv: expected text that is UTF-8"):
        write_text(file, "new \udcff", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "ok"), [("..a/b.png", True), ("a/../b", True), ("C:\\b", False), ("a\\..\\..\\b", False)]
)
def test_inside(name: str, ok: bool) -> None:
    assert inside(name) is ok


def test_the_folder_of_the_images_is_told_from_that_of_the_set(tmp_path: Path) -> None:
    images = tmp_path / "set" / "images"
    images.mkdir(parents=True)
    with pytest.raises(DataError, match=r"expected a table of landmarks.*; name it with 'table:'"):
        read_table(images)
    (tmp_path / "set" / "landmarks.csv").write_text("image,a_x,a_y\n")
    with pytest.raises(DataError) as told:
        read_table(images)
    assert str(told.value).endswith(f"the folder above is a dataset, give {tmp_path / 'set'}")
