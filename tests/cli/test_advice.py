"""What a message advises works when it is followed to the letter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from trigpoint.cli import app
from trigpoint.config import to_yaml
from trigpoint.data import LandmarkDataset
from trigpoint.data.quality.checks import check_dataset

TINY = [
    "train.epochs=1",
    "data.input.size=[32,32]",
    "data.workers=0",
    "method.network.width=4",
    "train.accelerator=cpu",
    "train.threads=1",
]
SPOTS = ["train.epochs=1", "data.input.size=[48,64]", "data.workers=0", "train.accelerator=cpu", "method.radius=5"]


def told(*command: object) -> Result:
    """A command as a user gives it; its text without line ends that only the terminal needs."""
    return CliRunner().invoke(app, [str(part) for part in command])


def words(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def advice(result: Result, pattern: str) -> list[str]:
    """The arguments of the advised command: those after ``trigpoint``."""
    found = re.search(pattern, words(result))
    assert found is not None, words(result)
    return shlex.split(found[0])[1:]


def pictures(folder: Path, count: int = 10, **columns: object) -> Path:
    """A set of different pictures with one landmark."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(count):
        small = Image.fromarray(rng.integers(0, 255, (6, 8), dtype=np.uint8))
        small.resize((40, 30), Image.Resampling.BICUBIC).save(folder / f"images/{n}.png")
    rows = pd.DataFrame({"image": [f"{n}.png" for n in range(count)], "tip_x": 5.0 + np.arange(count), "tip_y": 9.5})
    rows.assign(**columns).to_csv(folder / "landmarks.csv", index=False)
    return folder


def train(folder: Path, out: Path, *more: str) -> Result:
    return told("train", "fast", f"data.path={folder}", *TINY, *more, "--out", out, "--quiet")


def test_subsets_that_are_there(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 5 + ["test"] * 2 + [""] * 3)
    result = told("data", "split", folder)
    assert result.exit_code == 2
    assert "fill only the 3 blank rows with --only-blank" in words(result)
    before = LandmarkDataset.load(folder).samples
    assert told("data", "split", folder, "--only-blank").exit_code == 0
    after = LandmarkDataset.load(folder).samples
    assert all(b.split == (a.split or b.split) != "" for a, b in zip(before, after, strict=True))
    assert told("data", "split", folder, "--force").exit_code == 0
    both = told("data", "split", folder, "--force", "--only-blank")
    assert (both.exit_code, "leave one out" in words(both)) == (2, True)


def test_fewer_subjects_than_subsets(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", subject=["a"] * 5 + ["b"] * 5)
    result = told("data", "split", folder)
    assert result.exit_code == 2
    given = re.search(r"--fractions \S+", words(result))
    assert given is not None
    assert told("data", "split", folder, *given[0].split()).exit_code == 0


def test_what_check_advises(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 6 + ["val"] * 3 + [""], subject=[*"ab" * 4, "c", "d"])
    result = told("data", "check", folder)
    assert result.exit_code == 2  # subjects in both
    command = advice(result, r"trigpoint data split FOLDER --force")
    assert told(*[str(folder) if part == "FOLDER" else part for part in command]).exit_code == 0
    assert check_dataset(folder).ok
    rows = pd.read_csv(folder / "landmarks.csv", dtype=str)
    rows.loc[0, "split"] = ""
    rows.to_csv(folder / "landmarks.csv", index=False)
    command = advice(told("data", "check", folder), r"trigpoint data split FOLDER --only-blank")
    assert told(*[str(folder) if part == "FOLDER" else part for part in command]).exit_code == 0
    assert all(sample.split for sample in LandmarkDataset.load(folder).samples)


@pytest.mark.slow
def test_no_validation_subset_is_no_error(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 8 + ["test"] * 2)
    assert "no row is in split 'val'; training draws it from the training subset" in words(
        told("data", "check", folder)
    )
    result = train(folder, tmp_path / "run")
    assert result.exit_code == 0, words(result)
    assert told(*advice(result, r"trigpoint evaluate \S+ --data \S+ --split \w+")).exit_code == 0


@pytest.mark.slow
def test_no_subsets_at_all(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d")
    result = train(folder, tmp_path / "run")
    command = advice(result, r"trigpoint evaluate \S+ --data OTHER --split all")
    assert told(*[str(folder) if part == "OTHER" else part for part in command]).exit_code == 0
    other = told("evaluate", tmp_path / "run", "--data", folder)
    assert other.exit_code == 2
    assert "take all rows: --split all" in words(other)
    assert told(*advice(result, rf"trigpoint data split {folder}")).exit_code == 0
    assert train(folder, tmp_path / "again").exit_code == 0


@pytest.mark.slow
def test_subsets_of_other_names(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["training"] * 8 + ["test"] * 2)
    result = train(folder, tmp_path / "run")
    assert result.exit_code == 2
    given = re.search(r"data\.train=\w+", words(result))
    assert given is not None
    assert train(folder, tmp_path / "run", given[0]).exit_code == 0


@pytest.mark.slow
def test_several_instances(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 6 + ["val"] * 2 + ["test"] * 2, instance="1")
    (folder / "dataset.yaml").write_text(to_yaml({"instances": True}))
    result = train(folder, tmp_path / "run")
    assert result.exit_code == 2
    command = advice(result, r"trigpoint train instances data\.path=\S+ --out RUN")
    assert told(*[part if part != "RUN" else str(tmp_path / "run") for part in command], *SPOTS).exit_code == 0
    short = told("train", "fast", f"data.path={folder}", "method.name=instances", *SPOTS, "--out", tmp_path / "other")
    assert short.exit_code == 0, words(short)


@pytest.mark.slow
def test_new_images_of_a_finished_run(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 6 + ["val"] * 2 + ["none"] * 2)
    assert train(folder, tmp_path / "run").exit_code == 0
    rows = pd.read_csv(folder / "landmarks.csv")
    rows["split"] = rows["split"].replace("none", "train")
    rows.to_csv(folder / "landmarks.csv", index=False)
    result = train(folder, tmp_path / "run")
    given = re.search(r"--more-epochs 20 data\.on_change=accept", words(result))
    assert given is not None, words(result)
    more = train(folder, tmp_path / "run", *given[0].replace("20", "1").split())
    assert more.exit_code == 0, words(more)


def test_flips_without_pairs(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 6 + ["val"] * 4)
    flip = "data.augment.flip=0.5"
    result = train(folder, tmp_path / "run", flip)
    assert result.exit_code == 2
    assert "'pairs: []' where each landmark mirrors itself" in words(result)
    (folder / "dataset.yaml").write_text("pairs: []\n")
    assert train(folder, tmp_path / "run", flip).exit_code == 0


def test_a_share_of_the_labels_that_is_none(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "d", split=["train"] * 6 + ["val"] * 4)
    result = train(folder, tmp_path / "run", "data.fraction=0.01")
    assert result.exit_code == 2
    given = re.search(r"data\.fraction=null data\.limit=1", words(result))
    assert given is not None
    assert train(folder, tmp_path / "run", "data.fraction=0.01", *given[0].split()).exit_code == 0
