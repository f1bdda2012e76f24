"""Datasets joined by the names of their landmarks: nothing is lost, and what contradicts is told or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from trigpoint.data.dataset import LandmarkDataset
from trigpoint.data.merge import merge_datasets
from trigpoint.errors import DataError


def make(root: Path, header: str, rows: list[str], yaml: str = "", start: int = 0) -> LandmarkDataset:
    (root / "images").mkdir(parents=True)
    for k, row in enumerate(rows):
        file = root / "images" / row.split(",")[0]
        file.parent.mkdir(exist_ok=True)
        PIL.Image.new("L", (40, 30), start + k).save(file)
    (root / "landmarks.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "dataset.yaml").write_text(f"name: {root.name}\n{yaml}\n")
    return LandmarkDataset.load(root)


def told(data: LandmarkDataset) -> str:
    return "\n".join(map(str, data.problems))


A = "image,split,subject,left_x,left_y,right_x,right_y"
B = "image,split,subject,right_x,right_y,chin_x,chin_y"


def test_landmarks_are_joined_by_name_and_what_a_set_lacks_is_not_annotated(tmp_path: Path) -> None:
    first = make(tmp_path / "a", A, ["1.png,train,s,1,2,3,4", "2.png,val,t,5,6,,"], "pairs: [[left, right]]")
    second = make(tmp_path / "b", B, ["9.png,train,u,7,8,9,10"], "groups: {low: [chin]}\nspacing_mm: 0.5", 100)
    data = merge_datasets([first, second])
    again = LandmarkDataset.load(data.save(tmp_path / "out"))
    assert again.landmarks.names == ("left", "right", "chin")
    assert (again.landmarks.pairs, again.landmarks.groups) == ((("left", "right"),), {"low": ("chin",)})
    nan = np.nan
    expected = [[[1, 2], [3, 4], [nan, nan]], [[5, 6], [nan, nan], [nan, nan]], [[nan, nan], [7, 8], [9, 10]]]
    np.testing.assert_array_equal(again.points, expected)
    assert [sample.image.name for sample in again.samples] == ["1.png", "2.png", "9.png"]
    assert [(sample.split, sample.subject) for sample in again.samples] == [
        ("train", "s"),
        ("val", "t"),
        ("train", "u"),
    ]
    np.testing.assert_array_equal(again.spacings, [[nan, nan], [nan, nan], [0.5, 0.5]])
    for text in ("'a' has no chin", "'b' has no left: not annotated in its 1 image", "no error is given in mm"):
        assert text in told(data)


def test_equal_names_get_a_folder_for_each_set(tmp_path: Path) -> None:
    sets = [
        make(tmp_path / n / "set", A, ["1.png,,,1,2,3,4", f"{n}/x.png,,,1,2,3,4"], start=60 * k)
        for k, n in enumerate("abc")
    ]
    data = merge_datasets(sets)
    again = LandmarkDataset.load(data.save(tmp_path / "out", images="link"))
    names = [again.image_name(sample) for sample in again.samples]
    assert names == ["set/1.png", "set/a/x.png", "set-2/1.png", "set-2/b/x.png", "set-3/1.png", "set-3/c/x.png"]
    assert "1 image names are in several sets, such as 1.png: now below set/, set-2/, set-3/" in told(data)
    for sample, source in zip(again.samples, [s for data in sets for s in data.samples], strict=True):
        assert sample.image.samefile(source.image)


def test_one_subject_in_two_sets_is_two_unless_said_otherwise(tmp_path: Path) -> None:
    first = make(tmp_path / "a", A, ["1.png,train,anna,1,2,3,4"])
    second = make(tmp_path / "b", A, ["2.png,test,anna,1,2,3,4", "3.png,test,ben,1,2,3,4"], start=9)
    data = merge_datasets([first, second])
    assert [sample.subject for sample in data.samples] == ["a/anna", "b/anna", "ben"]
    assert "--same-subjects" in told(data)
    same = merge_datasets([first, second], same_subjects=True)
    assert [sample.subject for sample in same.samples] == ["anna", "anna", "ben"]
    assert "1 subjects are in several subsets, such as anna in test and train" in told(same)


def test_a_picture_of_two_sets_becomes_one_row_where_they_agree(tmp_path: Path) -> None:
    first = make(tmp_path / "a", A, ["1.png,train,,1,2,3,4", "2.png,train,,1,2,3,4", "3.png,train,,1,2,3,4"])
    second = make(tmp_path / "b", B, ["x.png,,s,3,4,8,9", "y.png,,,3,6,8,9", "z.png,test,,3,4,8,9"])
    data = merge_datasets([first, second])
    assert len(data) == 5
    np.testing.assert_array_equal(data.points[0], [[1, 2], [3, 4], [8, 9]])
    assert (data.samples[0].split, data.samples[0].subject) == ("train", "s")
    assert "1 pictures are in several sets and became one row each, such as 1.png" in told(data)
    assert "2 pictures are in several sets and stay apart" in told(data)
    assert "2.png and y.png: annotated up to 2 pixels apart" in told(data)
    again = LandmarkDataset.load(data.save(tmp_path / "out"))
    assert len(again) == 5


def test_two_tables_of_one_folder(tmp_path: Path) -> None:
    first = make(tmp_path / "a", A, ["1.png,,s,1,2,3,4", "2.png,,t,5,6,7,8"])
    (tmp_path / "a" / "more.csv").write_text("image,subject,chin_x,chin_y\n./images/1.png,s,9,9\n2.png,t,8,8\n")
    (tmp_path / "a" / "dataset.yaml").unlink()
    second = LandmarkDataset.load(tmp_path / "a" / "more.csv")
    data = merge_datasets([first, second])
    assert (len(data), len(data.landmarks)) == (2, 3)
    assert [sample.subject for sample in data.samples] == ["s", "t"]  # the pictures show that they are the same
    assert len(LandmarkDataset.load(data.save(tmp_path / "out"))) == 2
    (tmp_path / "a" / "other.csv").write_text("image,left_x,left_y\n1.png,9,9\n")
    with pytest.raises(DataError, match=r"1\.png: .* disagree: annotated up to 10\.6 pixels apart; correct one"):
        merge_datasets([first, LandmarkDataset.load(tmp_path / "a" / "other.csv")])


def test_what_contradicts_is_told_and_the_first_counts(tmp_path: Path) -> None:
    yaml = "pairs: [[left, right]]\ngroups: {g: [left]}\nnormalizer: {name: d, between: [left, right]}"
    first = make(tmp_path / "a", A, ["1.png,,,1,2,3,4"], yaml)
    other = "pairs: [[right, chin]]\ngroups: {g: [chin]}\nnormalizer: {name: box, box: true}"
    second = make(tmp_path / "b", B, ["2.png,,,1,2,3,4"], other, 9)
    third = make(tmp_path / "c", A.replace("left", "Left"), ["3.png,train,,1,2,3,4"], start=20)
    data = merge_datasets([first, second, third])
    assert data.landmarks.pairs == (("left", "right"),)
    assert data.landmarks.groups == {"g": ("left", "chin")}
    assert data.landmarks.normalizer == first.landmarks.normalizer
    for text in (
        "'b' pairs right with chin",
        "other landmarks in the group 'g'",
        "another normalizer",
        "'left' and 'Left' are two landmarks",
        "a, b: stores no subsets",
    ):
        assert text in told(data)


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    first = make(tmp_path / "a", A, ["1.png,,,1,2,3,4"])
    many = make(tmp_path / "m", "image,instance,left_x,left_y", ["2.png,1,1,2"], "instances: true", 9)
    with pytest.raises(DataError, match=r"add 'instances: true' to dataset\.yaml of 'a' and a column 'instance'"):
        merge_datasets([first, many])
    with pytest.raises(DataError, match="expected each dataset once"):
        merge_datasets([first, LandmarkDataset.load(tmp_path / "a" / "landmarks.csv")])
    with pytest.raises(DataError, match="at least two"):
        merge_datasets([first])
    (tmp_path / "m" / "images" / "2.png").unlink()
    with pytest.raises(DataError, match=r"2\.png: expected an image file, got none"):
        merge_datasets([many, many])


def test_multi_instance_sets(tmp_path: Path) -> None:
    one = make(
        tmp_path / "a", "image,instance,tip_x,tip_y", ["1.png,1,1,2", "1.png,2,9,2", "0.png,,,"], "instances: true"
    )
    two = make(tmp_path / "b", "image,instance,end_x,end_y", ["5.png,1,1,2"], "instances: true", 50)
    again = LandmarkDataset.load(merge_datasets([one, two]).save(tmp_path / "out"))
    assert again.instances
    assert again.visibility.tolist() == [[2, 0], [2, 0], [-1, 0], [0, 2]]  # absent stays absent, lacking is not known
    (tmp_path / "a" / "more.csv").write_text("image,instance,end_x,end_y,end_score\n1.png,1,1,2,1\n")
    more = LandmarkDataset.load(tmp_path / "a" / "more.csv")
    with pytest.raises(DataError, match="expected an image of one set"):
        merge_datasets([one, more])
