"""Splits never divide a subject, depend on the seed alone, and never replace stored ones unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trigpoint.data.splits import grouped_split, split_dataset, write_split
from trigpoint.data.table import read_table
from trigpoint.errors import DataError

TABLE = 'image,subject,note,t_x,t_y\na.png,s1,"x, y",1.50,2\n\nb.png,s1,,3,4\nc.png,s2,,5,6\nd.png,,,7,8\n'


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=30, max_size=80), st.integers(0, 5))
def test_a_subject_is_in_one_split(subjects: list[int], seed: int) -> None:
    groups = [f"s{subject}" for subject in subjects]
    if len(set(groups)) < 3:
        return
    splits = grouped_split(groups, seed=seed)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))
    assert set(splits) == {"train", "val", "test"}
    assert splits == grouped_split(groups, seed=seed)
    order = sorted(range(len(groups)), key=lambda i: (groups[i], i))
    assert grouped_split([groups[i] for i in order], seed=seed) == tuple(splits[i] for i in order)


def test_the_shares_come_out_and_the_seed_matters() -> None:
    groups = [f"s{i}" for i in range(200)]
    splits = grouped_split(groups, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=1)
    assert [splits.count(name) for name in ("train", "val", "test")] == [140, 20, 40]
    assert splits != grouped_split(groups, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=2)


def test_every_split_gets_a_subject() -> None:
    assert set(grouped_split(["a", "b", "c"])) == {"train", "val", "test"}
    with pytest.raises(DataError, match="3 splits need at least 3 subjects, got 2"):
        grouped_split(["a", "b", "b"])


@pytest.mark.parametrize("shares", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": float("nan")}, {"a": 1.0, "b": 0.0}])
def test_bad_fractions(shares: dict[str, float]) -> None:
    with pytest.raises(DataError, match="add up to 1"):
        grouped_split(["a", "b"], shares)


def test_splits_are_stored_and_nothing_else_changes(tmp_path: Path) -> None:
    file = tmp_path / "landmarks.csv"
    file.write_text(TABLE)
    counts = split_dataset(tmp_path, {"train": 0.5, "test": 0.5}, seed=0)
    assert sum(counts.values()) == 4
    samples = read_table(tmp_path).samples
    assert samples[0].split == samples[1].split != ""
    lines = [line.split(",") for line in file.read_text().splitlines()]
    assert [",".join(cells[:1] + cells[2:]) for cells in lines] == TABLE.splitlines()
    before = file.read_text()
    with pytest.raises(DataError, match=r"landmarks\.csv: expected no splits, got test, train"):
        split_dataset(tmp_path, seed=1)
    assert file.read_text() == before
    write_split(tmp_path, ["x"] * 4, force=True)
    assert {sample.split for sample in read_table(tmp_path).samples} == {"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["landmarks.csv"]


def test_the_number_of_names_must_fit(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").write_text(TABLE)
    with pytest.raises(DataError, match="expected 4 split names, one per row, got 3"):
        write_split(tmp_path, ["a"] * 3)
