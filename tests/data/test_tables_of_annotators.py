"""Several annotators: what dataset.yaml says of them, what a check tells, how a consensus is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import trigpoint as tp
from trigpoint.data.annotators import (
    begin_table,
    consensus,
    described,
    left_out,
    read_annotators,
    write_consensus,
)
from trigpoint.data.description import read_description
from trigpoint.data.quality.checks import check_dataset
from trigpoint.errors import DataError

TABLES = {
    "ann": "image,split,subject,tip_x,tip_y,tip_v,root_x,root_y\na.png,,,10,20,2,30,40\nb.png,,,11,21,1,31,41\n",
    "ben": "image,split,subject,root_x,root_y,tip_x,tip_y,tip_v\nb.png,,,33,41,13,21,1\na.png,,,,,12,22,1\n",
    "cleo": "image,tip_x,tip_y,root_x,root_y\na.png,20,60,,\nc.png,1,2,3,4\n",
}


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    for name in "abc":
        Image.fromarray(np.random.default_rng(ord(name)).integers(0, 255, (80, 80), np.uint8)).save(
            tmp_path / f"{name}.png"
        )
    for name, text in TABLES.items():
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "landmarks.csv").write_text("image,split,subject,tip_x,tip_y\nb.png,val,bob,1,1\na.png,train,amy,1,1\n")
    about = {"annotators": {name: f"{name}.csv" for name in [*TABLES, "dora"]}}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(about))
    return tmp_path


@pytest.mark.parametrize(
    "value",
    [["ann"], {"ann": "a/b.csv"}, {"ann": "a.txt"}, {"a/b": "a.csv"}, {"a": "x.csv", "b": "X.csv"}, {"": "a.csv"}],
)
def test_what_names_no_tables_is_told(tmp_path: Path, value: object) -> None:
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"annotators": value}))
    problems: list = []
    assert read_description(tmp_path, problems).annotators == {}
    assert "annotators: expected 'name: table.csv' for each" in str(problems[0])
    assert len(problems) == 1


def test_a_set_without_annotators_says_how_to_name_them(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("name: heads\n")
    with pytest.raises(DataError, match="expected the key 'annotators', got none; add"):
        read_annotators(tmp_path)


def test_a_check_counts_the_labels_of_each_and_reads_their_tables(heads: Path) -> None:
    (heads / "ben.csv").write_text(TABLES["ben"].replace("13", "x"))
    report = check_dataset(heads)
    assert report.summary.annotators == {"ann": 2, "ben": 1, "cleo": 2, "dora": 0}
    assert [(p.file.name, p.row, p.landmark) for p in report.errors] == [("ben.csv", 2, "tip")]


def test_a_consensus_is_of_those_who_placed_a_landmark(heads: Path) -> None:
    sets = read_annotators(heads)
    assert list(sets) == ["ann", "ben", "cleo"]
    assert left_out(described(heads), sets) == ["left out: dora, with no labels yet"]
    samples, marks, fewer = consensus(sets, "mean")
    assert marks.names == ("tip", "root")
    found = {sample.image.name: (sample.points.tolist(), sample.visibility.tolist()) for sample in samples}
    assert found == {
        "a.png": ([[14, 34], [30, 40]], [2, 2]),
        "b.png": ([[12, 21], [32, 41]], [1, 2]),
        "c.png": ([[1, 2], [3, 4]], [2, 2]),
    }
    assert fewer == 5
    median = {sample.image.name: sample.points[0].tolist() for sample in consensus(sets, "median")[0]}
    assert median["a.png"] == [12, 22]
    one = {sample.image.name: sample for sample in consensus(sets, "ben")[0]}
    assert one["a.png"].points[0].tolist() == [12, 22]
    assert one["a.png"].visibility.tolist() == [1, 0]
    assert one["c.png"].visibility.tolist() == [0, 0]
    with pytest.raises(DataError, match="--how: expected mean or median or an annotator, got 'eva'"):
        consensus(sets, "eva")


def test_a_consensus_keeps_the_subsets_of_the_set(heads: Path) -> None:
    samples, marks, _ = consensus(read_annotators(heads), "mean")
    with pytest.raises(DataError, match="got one that exists"):
        write_consensus(described(heads), samples, marks, heads / "landmarks.csv", False)
    write_consensus(described(heads), samples, marks, heads / "landmarks.csv", True)
    data = tp.LandmarkDataset.load(heads)
    assert [(s.image.name, s.split, s.subject) for s in data.samples] == [
        ("b.png", "val", "bob"), ("a.png", "train", "amy"), ("c.png", "", "")
    ]  # fmt: skip
    assert data.points[0].tolist() == [[12, 21], [32, 41]]


def test_fewer_than_two_are_no_agreement(heads: Path) -> None:
    (heads / "ben.csv").unlink()
    (heads / "cleo.csv").write_text("image,tip_x,tip_y,root_x,root_y\na.png,,,,\n")  # not begun
    with pytest.raises(DataError, match="two annotators or more, got ann alone"):
        read_annotators(heads)


def test_landmarks_that_not_all_tables_have_are_told(heads: Path) -> None:
    (heads / "cleo.csv").write_text("image,tip_x,tip_y,end_x,end_y\na.png,20,60,1,2\n")
    sets = read_annotators(heads)
    assert left_out(described(heads), sets)[1] == "left out: landmarks that not all tables have: root, end"
    assert consensus(sets, "mean")[1].names == ("tip",)
    (heads / "cleo.csv").write_text("image,end_x,end_y\na.png,1,2\n")
    with pytest.raises(DataError, match="landmarks that the tables of all annotators have, got none"):
        consensus(read_annotators(heads), "mean")


def test_a_new_table_holds_no_label_of_others(heads: Path) -> None:
    assert begin_table(described(heads), "dora") == heads / "dora.csv"
    assert (heads / "dora.csv").read_text().splitlines() == [
        "image,split,subject,tip_x,tip_y", "b.png,val,bob,,", "a.png,train,amy,,"
    ]  # fmt: skip
    assert begin_table(described(heads), "ann").read_text() == TABLES["ann"]  # what is there stays
