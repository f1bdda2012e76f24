"""Splits never divide a subject, depend on the seed alone, and never replace stored ones unasked."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trigpoint.cli.data import parse_fractions
from trigpoint.data.quality.checks import check_dataset
from trigpoint.data.splits import block_split, grouped_split, split_dataset, write_split
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
    with pytest.raises(
        DataError, match=r"landmarks\.csv: expected no splits, got test 2, train 2; every row is in one"
    ):
        split_dataset(tmp_path, seed=1)
    assert file.read_text() == before
    write_split(tmp_path, ["x"] * 4, force=True)
    assert {sample.split for sample in read_table(tmp_path).samples} == {"x"}
    assert [path.name for path in tmp_path.iterdir()] == ["landmarks.csv"]


def test_the_number_of_names_must_fit(tmp_path: Path) -> None:
    (tmp_path / "landmarks.csv").write_text(TABLE)
    with pytest.raises(DataError, match="expected 4 split names, one per row, got 3"):
        write_split(tmp_path, ["a"] * 3)


def pictures(folder: Path, rows: list[str], copies: dict[str, str] | None = None) -> Path:
    """A set of different pictures by rows ``image,split,subject``; ``copies`` are darker and smaller ones of others."""
    folder.mkdir(parents=True)
    for n, row in enumerate(rows):
        values = np.random.default_rng(n).integers(0, 255, (6, 8), dtype=np.uint8)
        file = folder / row.split(",")[0]
        Image.fromarray(values).resize((96, 72), Image.Resampling.BICUBIC).save(file)
    for name, source in (copies or {}).items():
        with Image.open(folder / source) as image:
            image.resize((48, 36)).point(lambda value: value * 0.7 + 10).save(folder / name)
    (folder / "landmarks.csv").write_text("image,split,subject,t_x,t_y\n" + "".join(f"{row},1,2\n" for row in rows))
    return folder


def stored(folder: Path) -> dict[str, str]:
    return {sample.image.name: sample.split for sample in read_table(folder).samples}


@pytest.mark.parametrize("seed", range(4))
def test_copies_are_kept_together(tmp_path: Path, seed: int) -> None:
    folder = pictures(tmp_path / "d", [f"{n}.png,,{'ab'[n] if n < 2 else ''}" for n in range(12)], {"7.png": "3.png"})
    (folder / "9.png").write_bytes((folder / "0.png").read_bytes())
    told: list[str] = []
    split_dataset(folder, seed=seed, tell=told.append)
    splits = stored(folder)
    assert splits["7.png"] == splits["3.png"]
    assert splits["9.png"] == splits["0.png"]
    assert told == ["2 images are kept together with those that they, or others of their subject, copy"]


def test_frames_of_one_scene_are_no_copies(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", [f"{n:02d}.png,,s{n // 4}" for n in range(40)])
    for n in range(40):
        with Image.open(folder / "00.png") as image:
            image.putpixel((n, 5), 255)
            image.save(folder / f"{n:02d}.png")
    told: list[str] = []
    assert set(split_dataset(folder, tell=told.append)) == {"train", "val", "test"}
    assert len(told) == 1
    assert "many images look alike, as of one scene" in told[0]


def test_one_subject_is_divided_by_blocks(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", [f"img{n}.png,,video" for n in (2, 10, 1, 20, 3, 30, 4, 40, 5, 50)])
    told: list[str] = []
    counts = split_dataset(folder, {"train": 0.6, "val": 0.2, "test": 0.2}, tell=told.append)
    assert counts == {"train": 6, "val": 2, "test": 2}
    splits = stored(folder)
    in_order = [splits[f"img{n}.png"] for n in (1, 2, 3, 4, 5, 10, 20, 30, 40, 50)]
    assert len([1 for a, b in pairwise(in_order) if a != b]) == 2
    assert "all images are of one subject, 'video'" in told[0]
    report = check_dataset(folder)
    assert report.ok
    assert any("the only one in the splits" in str(problem) for problem in report.warnings)


@given(st.lists(st.integers(0, 99), min_size=3, max_size=40, unique=True), st.integers(0, 5))
def test_blocks_hold_each_split_and_follow_one_another(numbers: list[int], seed: int) -> None:
    splits = dict(zip(numbers, block_split([f"f{n}" for n in numbers], seed=seed), strict=True))
    in_order = [splits[n] for n in sorted(numbers)]
    assert set(in_order) == {"train", "val", "test"}
    assert len([1 for a, b in pairwise(in_order) if a != b]) == 2


def test_labelled_rows_are_divided_first(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", [f"{n}.png,,s{n}" for n in range(40)])
    file = folder / "landmarks.csv"
    table = pd.read_csv(file)
    points = [name for name in table if name.endswith(("_x", "_y"))]
    table.loc[30:, points] = None
    table.to_csv(file, index=False)
    told: list[str] = []
    counts = split_dataset(folder, {"train": 0.7, "val": 0.15, "test": 0.15}, tell=told.append)
    splits = stored(folder)
    labelled = [splits[f"{n}.png"] for n in range(30)]
    assert sum(counts.values()) == 40
    assert {name: labelled.count(name) for name in counts} == {"train": 21, "val": 5, "test": 4}
    assert "10 of 40 rows have no label yet; the others are divided first" in told


def test_only_blank_rows_are_filled(tmp_path: Path) -> None:
    rows = ["0.png,test,ann", "1.png,,ann", "2.png,old,bob", "3.png,,bob", *(f"{n}.png,,s{n}" for n in range(4, 20))]
    folder = pictures(tmp_path / "d", rows, {"4.png": "0.png"})
    with pytest.raises(DataError, match=r"got old 1, test 1; fill only the 18 blank rows with --only-blank"):
        split_dataset(folder)
    counts = split_dataset(folder, only_blank=True)
    splits = stored(folder)
    assert [splits[f"{n}.png"] for n in range(5)] == ["test", "test", "old", "old", "test"]
    assert counts["old"] == 2
    assert {counts["val"], counts["test"]} <= {2, 3}
    with pytest.raises(DataError, match="expected rows without a split, got none"):
        split_dataset(folder, only_blank=True)


def test_one_subset_is_divided_and_the_others_stay(tmp_path: Path) -> None:
    rows = [f"{n}.png,{'train' if n < 20 else 'val'},s{n}" for n in range(26)]
    folder = pictures(tmp_path / "d", rows, {})
    assert split_dataset(folder, of="train") == {"train": 17, "test": 3, "val": 6}
    splits = stored(folder)
    assert {splits[f"{n}.png"] for n in range(20, 26)} == {"val"}
    with pytest.raises(DataError, match="unknown split 'dev'; valid: "):
        split_dataset(folder, of="dev")
    told: list[str] = []
    split_dataset(folder, force=True, tell=told.append)
    moved = sum(splits[name] != now for name, now in stored(folder).items())
    assert told == [f"{moved} of 26 rows that were in a split are in another one now"]


def test_only_blank_rows_of_a_subject_in_two_splits(tmp_path: Path) -> None:
    rows = ["0.png,test,ann", "1.png,train,ann", "2.png,,ann", "3.png,,bob"]
    folder = pictures(tmp_path / "d", rows)
    before = (folder / "landmarks.csv").read_text()
    with pytest.raises(DataError, match=r"landmarks\.csv: expected each subject in one split, .* such as 'ann'"):
        split_dataset(folder, only_blank=True)
    assert (folder / "landmarks.csv").read_text() == before
    one = pictures(tmp_path / "one", ["f1.png,train,v", "f2.png,,v", "f9.png,,v", "f10.png,test,v"])
    split_dataset(one, only_blank=True)
    assert list(stored(one).values()) == ["train", "train", "test", "test"]


def test_the_advice_for_too_few_subjects_works(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", ["0.png,,a", "1.png,,a", "2.png,,b"])
    with pytest.raises(DataError, match="3 splits need at least 3 subjects, got 2") as error:
        split_dataset(folder)
    advice = str(error.value).rpartition("--fractions ")[2]
    assert set(split_dataset(folder, parse_fractions(advice))) == {"train", "val"}


def test_frames_without_a_subject_are_told_and_joined(tmp_path: Path) -> None:
    names = [f"{stem}_{10 * n:06d}.png" for stem in ("one", "two", "three") for n in range(4)]
    folder = pictures(tmp_path / "d", [f"{name},," for name in names])
    warned = [p for p in check_dataset(folder).problems if "look like frames of 3 videos" in p.message]
    assert [p.severity for p in warned] == ["warning"]
    assert "trigpoint data split FOLDER --videos'" in warned[0].message
    told: list[str] = []
    split_dataset(folder, tell=told.append)
    assert f"'trigpoint data split {folder} --videos'" in told[0]
    with pytest.raises(DataError, match="expected no splits"):
        split_dataset(folder, videos=True)
    told = []
    split_dataset(folder, videos=True, force=True, tell=told.append)
    assert told[0] == "subject: 12 rows of 3 videos named"
    samples = read_table(folder).samples
    assert [sample.subject for sample in samples] == [name[:-11] for name in names]
    assert len({(sample.subject, sample.split) for sample in samples}) == 3
    with pytest.raises(DataError, match=r"--videos: expected rows without a subject .* got a subject in every row"):
        split_dataset(folder, videos=True, force=True)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([f"img{n:04d}.png" for n in range(9)], 9),
        (["left1.png", "right2.png", "c3.png", "d4.png", "e5.png"], 0),
        ([f"{n:03d}.png" for n in range(9)], 0),
        (["clip_000001.png", "a.png", "b.png"], 0),
    ],
)
def test_names_of_other_tools_are_a_note(tmp_path: Path, names: list[str], told: int) -> None:
    folder = pictures(tmp_path / "d", [f"{name},," for name in names])
    found = [p for p in check_dataset(folder).problems if "look like frames" in p.message]
    assert [(p.severity, p.message.split()[0]) for p in found] == [("note", str(told))] * bool(told)


def test_a_single_video_is_divided_by_blocks(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", [f"clip_{n:06d}.png,," for n in range(10)])
    told: list[str] = []
    split_dataset(folder, videos=True, tell=told.append)
    splits = list(stored(folder).values())
    assert sum(a != b for a, b in pairwise(splits)) == 2
    assert "all images are of one subject, 'clip'" in told[1]
