"""A dataset that gets new labels, another description or another place while a run is stopped or finished."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from faults import draw, stopped, tiny

from same_runs import assert_same
from trigpoint.config import apply_overrides, parse
from trigpoint.data.input.loading import InputDataset
from trigpoint.data.quality.fingerprint import read_records
from trigpoint.errors import DataError, RunError
from trigpoint.recipe import Recipe, SourceRecipe
from trigpoint.runs import RunFolder
from trigpoint.runs.lock import locked
from trigpoint.training import train
from trigpoint.training.source import ClassNetwork

ACCEPT = ["data.on_change=accept"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """16 images to learn from, 5 to validate with, 3 to test with; two landmarks."""
    folder = draw(tmp_path / "data")
    table = pd.read_csv(folder / "landmarks.csv")
    table["base_x"], table["base_y"] = 31 - table["tip_x"], table["tip_y"]
    table["subject"] = [f"s{i}" for i in range(len(table))]
    table.to_csv(folder / "landmarks.csv", index=False)
    describe(folder, pairs=[["tip", "base"]])
    return folder


def describe(folder: Path, **values: Any) -> None:
    file = folder / "dataset.yaml"
    known = yaml.safe_load(file.read_text())
    known.pop("landmarks", None)
    file.write_text(yaml.safe_dump({k: v for k, v in (known | values).items() if v is not None}))


def recipe(data: Path | str, *overrides: str) -> Recipe:
    values = tiny(Path("x"), 2).model_dump(mode="json")
    values["data"]["path"] = str(data)
    values["train"]["lr_schedule"] = {"name": "constant"}
    return parse(Recipe, apply_overrides(values, list(overrides)))


def add(folder: Path, split: str, count: int, **columns: Any) -> list[str]:
    """New images, copies of others with a border, and their rows."""
    table = pd.read_csv(folder / "landmarks.csv")
    rows = table.iloc[:count].assign(split=split, **columns)
    names = [f"new_{split}_{i}.png" for i in range(count)]
    for old, new in zip(rows["image"], names, strict=True):
        shutil.copy(folder / "images" / old, folder / "images" / new)
    rows["image"] = names
    if "subject" not in columns:
        rows["subject"] = [f"new {name}" for name in names]
    pd.concat([rows, table]).to_csv(folder / "landmarks.csv", index=False)
    return names


def content(run: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file() and path != run.lock}


# -- new images ----------------------------------------------------------------------------------------------


def test_new_labels_are_told_and_learned_when_accepted(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(recipe(data), out=tmp_path / "run", progress=False)
    begun = run.parts()
    new = {"train": add(data, "train", 4), "val": add(data, "val", 2)}
    add(data, "test", 1)
    before = content(run)
    words = r"new images \(4 for train, 2 for val\), such as new_train_0\.png.*data\.on_change=accept, take them out"
    with pytest.raises(RunError, match=words):
        train(recipe(data), out=run.folder, progress=False, more_epochs=2)
    assert content(run) == before
    train(recipe(data), out=run.folder, progress=False)  # finished: nothing to do, and that is told
    assert content(run) == before
    assert re.search(r"new images \(4 for train.*are not learned", " ".join(capsys.readouterr().err.split()))

    seen: set[str] = set()
    original = InputDataset.__getitem__

    def look(self: InputDataset, index: tuple[int, int]) -> Any:
        seen.add(self.dataset.image_name(self.dataset.samples[index[1]]))
        return original(self, index)

    monkeypatch.setattr(InputDataset, "__getitem__", look)
    train(recipe(data), ACCEPT, out=run.folder, progress=False, more_epochs=2)
    assert "from now on with new images (4 for train, 2 for val)" in " ".join(capsys.readouterr().err.split())
    assert run.parts() == {part: begun[part] + new[part] for part in begun}
    assert run.parts(begun=True) == begun
    assert seen == {name for names in run.parts().values() for name in names}
    assert {record.image for record in read_records(run.data)} == seen
    table = run.history_table()
    assert table["step"].tolist() == [4, 8, 13, 18]  # of 16 and 20 images by 4
    assert run.recipe().train.epochs == 4
    assert int(run.load_weights()[1]["epoch"]) > 2  # chosen on the images that validate now
    again = content(run)
    train(recipe(data), ACCEPT, out=run.folder, progress=False, more_epochs=2)
    assert content(run) == again
    train(recipe(data), out=run.folder, progress=False, more_epochs=3)  # they are its own now
    assert run.history_table()["step"].tolist() == [4, 8, 13, 18, 23]


def test_a_run_that_was_stopped_after_it_learned_new_images_goes_on(data: Path, tmp_path: Path) -> None:
    one = stopped(recipe(data, "train.epochs=4"), tmp_path / "one")
    add(data, "train", 4)
    two = RunFolder(shutil.copytree(one.folder, tmp_path / "two"))
    train(recipe(data, "train.epochs=4", *ACCEPT), out=one.folder, progress=False)
    stopped(recipe(data, "train.epochs=4", *ACCEPT), two.folder, 3)
    train(recipe(data, "train.epochs=4"), out=two.folder, progress=False)
    assert_same(one, two)


def test_the_rate_follows_the_epochs_also_with_more_steps(data: Path, tmp_path: Path) -> None:
    cosine = ["train.lr_schedule={name: cosine}", "train.epochs=4"]
    run = stopped(recipe(data, *cosine), tmp_path / "run", 2)
    add(data, "train", 16)
    train(recipe(data, *cosine, *ACCEPT), out=run.folder, progress=False)
    schedule, lr = recipe(data, *cosine).train.lr_schedule, recipe(data).train.optimizer.lr
    due = [lr * schedule.factor(epoch / 4) for epoch in (1, 2, 3, 4)]
    assert run.history_table()["lr"].tolist() == pytest.approx(due, abs=1e-12)


def test_auto_epochs_are_those_of_the_images_it_began_with(data: Path, tmp_path: Path) -> None:
    auto = "train.epochs=auto"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trigpoint.recipe.learning.AUTO_EPOCHS", 1)
        patch.setattr("trigpoint.recipe.learning.AUTO_STEPS", 8)
        run = train(recipe(data, auto), out=tmp_path / "run", progress=False)
        add(data, "train", 8)
        train(recipe(data, auto), ACCEPT, out=run.folder, progress=False, more_epochs=1)
        assert run.epochs_done() == 3
        train(recipe(data, auto), out=run.folder, progress=False, more_epochs=1)
        assert run.epochs_done() == 3


def test_images_that_were_labelled_meanwhile_are_new(data: Path, tmp_path: Path) -> None:
    table = pd.read_csv(data / "landmarks.csv")
    labelled = table.copy()
    table.loc[:2, ["tip_x", "tip_y", "tip_v", "base_x", "base_y"]] = None
    table.to_csv(data / "landmarks.csv", index=False)
    run = stopped(recipe(data), tmp_path / "run")
    assert len(run.parts()["train"]) == 13
    labelled.to_csv(data / "landmarks.csv", index=False)
    with pytest.raises(RunError, match=r"new images \(3 for train\)"):
        train(recipe(data), out=run.folder, progress=False)
    train(recipe(data), ACCEPT, out=run.folder, progress=False)
    assert len(run.parts()["train"]) == 16


def test_a_limit_holds_and_a_share_grows(data: Path, tmp_path: Path) -> None:
    runs = {key: stopped(recipe(data, key), tmp_path / key) for key in ("data.limit=8", "data.fraction=0.5")}
    add(data, "train", 8)
    train(recipe(data, "data.limit=8"), out=runs["data.limit=8"].folder, progress=False)
    with pytest.raises(RunError, match=r"new images \(4 for train\)"):
        train(recipe(data, "data.fraction=0.5"), out=runs["data.fraction=0.5"].folder, progress=False)


def test_new_images_stay_with_their_subject(data: Path, tmp_path: Path) -> None:
    run = stopped(recipe(data), tmp_path / "run")
    table = pd.read_csv(data / "landmarks.csv")
    of_val = table.loc[table["split"] == "val", "subject"].iloc[0]
    add(data, "train", 1, subject=of_val)
    before = content(run)
    with pytest.raises(DataError, match=rf"each subject in one split.*'{of_val}'"):
        train(recipe(data), ACCEPT, out=run.folder, progress=False)
    assert content(run) == before


def test_where_validation_is_drawn_images_join_their_subject(data: Path, tmp_path: Path) -> None:
    table = pd.read_csv(data / "landmarks.csv")
    table["subject"] = [f"s{i % 6}" for i in range(len(table))]
    table.drop(columns="split").to_csv(data / "landmarks.csv", index=False)
    run = stopped(recipe(data, "data.val_share=0.3"), tmp_path / "run")
    table = pd.read_csv(data / "landmarks.csv").set_index("image")
    home = {str(table.loc[name, "subject"]): part for part, names in run.parts().items() for name in names}
    add(data, "train", 12, subject=[f"s{i % 6}" for i in range(12)])
    pd.read_csv(data / "landmarks.csv").drop(columns="split").to_csv(data / "landmarks.csv", index=False)
    train(recipe(data, "data.val_share=0.3"), ACCEPT, out=run.folder, progress=False)
    table = pd.read_csv(data / "landmarks.csv").set_index("image")
    assert len(table) == 36 == sum(map(len, run.parts().values()))
    assert all(home[str(table.loc[name, "subject"])] == part for part, names in run.parts().items() for name in names)


@pytest.mark.parametrize("to", ["test", "val"])
def test_an_image_that_moved_to_another_subset_is_refused(to: str, data: Path, tmp_path: Path) -> None:
    run = stopped(recipe(data), tmp_path / "run")
    table = pd.read_csv(data / "landmarks.csv")
    table.loc[0, "split"] = to
    table.to_csv(data / "landmarks.csv", index=False)
    with pytest.raises(RunError, match=rf"is in the subset '{to}' now, got a run that has it in 'train'"):
        train(recipe(data), ACCEPT, out=run.folder, progress=False)


def test_a_split_csv_without_a_subset_is_refused(data: Path, tmp_path: Path) -> None:
    run = stopped(recipe(data), tmp_path / "run")
    lines = run.split.read_text().splitlines(keepends=True)
    run.split.write_text("".join(line for line in lines if not line.endswith(",val\n")))
    with pytest.raises(RunError, match=r"split\.csv: expected images for train and val, got train; put back"):
        train(recipe(data), out=run.folder, progress=False)
    run.split.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(RunError, match=r"new images \(1 for train\)"):
        train(recipe(data), out=run.folder, progress=False)


# -- the description -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pairs", None),
        ("groups", {"both": ["tip", "base"]}),
        ("normalizer", {"name": "width", "between": ["tip", "base"]}),
        ("spacing_mm", (0.5, 0.5)),
    ],
)
def test_another_description_is_refused_or_accepted(key: str, value: Any, data: Path, tmp_path: Path) -> None:
    run = stopped(recipe(data), tmp_path / "run")
    describe(data, **{key: value})
    before = content(run)
    with pytest.raises(RunError, match=rf"begun with other {key} than .*data\.on_change=accept"):
        train(recipe(data), out=run.folder, progress=False)
    assert content(run) == before
    train(recipe(data), ACCEPT, out=run.folder, progress=False)
    marks = run.read_landmarks()
    assert (marks.landmarks.to_dict() | {"spacing_mm": marks.spacing_mm}).get(key) == value
    train(recipe(data), out=run.folder, progress=False, more_epochs=1)


def test_other_landmarks_are_refused_and_another_order_is_none(data: Path, tmp_path: Path) -> None:
    whole = train(recipe(data), out=tmp_path / "whole", progress=False)
    run = stopped(recipe(data), tmp_path / "run")
    table = pd.read_csv(data / "landmarks.csv")
    table.rename(columns={"base_x": "root_x", "base_y": "root_y"}).to_csv(data / "landmarks.csv", index=False)
    describe(data, pairs=[["tip", "root"]])
    with pytest.raises(RunError, match=r"other landmarks .*\['tip', 'base'\] there, \['tip', 'root'\] now") as caught:
        train(recipe(data), ACCEPT, out=run.folder, progress=False)
    assert "on_change" not in str(caught.value)
    describe(data, pairs=[["base", "tip"]])
    meta = ["image", "split", "subject"]
    table[[*meta, "base_x", "base_y", "tip_x", "tip_y"]].to_csv(data / "landmarks.csv", index=False)
    train(recipe(data), out=run.folder, progress=False)
    assert_same(run, whole)


# -- places --------------------------------------------------------------------------------------------------


def test_places_are_no_part_of_a_recipe(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(recipe(data), out=tmp_path / "whole", progress=False)
    run = stopped(recipe(data), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    os.rename(data, "moved")
    os.rename(run.folder, "elsewhere")
    train(recipe("./moved"), out="elsewhere", progress=False)
    run = RunFolder("elsewhere")
    assert_same(run, whole)
    assert run.recipe().data.path == "./moved"
    train(recipe("moved"), out="elsewhere", progress=False, more_epochs=1)
    other = draw(tmp_path / "other")
    with pytest.raises(RunError, match=r"other landmarks|no longer"):
        train(recipe(other), out="elsewhere", progress=False, more_epochs=2)


@pytest.fixture
def source(tmp_path: Path) -> RunFolder:
    """The run of a source model."""
    torch.manual_seed(9)
    given = parse(SourceRecipe, {"encoder": "test_resnet"})
    run = RunFolder(tmp_path / "source")
    run.open_new()
    run.write_about(given, {})
    run.save_weights(ClassNetwork(given, 3).state_dict(), {})
    return run


def test_a_source_run_may_move_and_has_to_stay_the_same(data: Path, source: RunFolder, tmp_path: Path) -> None:
    def given(place: Path | str) -> Recipe:
        network = "method.network={name: simple_baseline, encoder: test_resnet, width: 8}"
        transfer = f"method.transfer={{name: cross_task, loss: encoder, source: {{run: {place}}}}}"
        return recipe(data, network, transfer)

    whole = train(given(source.folder), out=tmp_path / "whole", progress=False)
    run = stopped(given(source.folder), tmp_path / "run")
    old = RunFolder(shutil.copytree(run.folder, tmp_path / "old"))
    old.env.write_text("".join(x for x in old.env.read_text().splitlines(True) if not x.startswith("begun from")))
    moved = tmp_path / "moved"
    os.rename(source.folder, moved)
    with pytest.raises(RunError, match=rf"moved: is not the source model that .* was begun from \({source.folder}\)"):
        train(given(moved), out=old.folder, progress=False)  # which noted the place alone
    train(given(moved), out=run.folder, progress=False)
    assert_same(run, whole)
    assert str(moved) in run.config.read_text()
    other = RunFolder(moved)
    state, note = other.load_weights()
    other.save_weights({name: value + 1 for name, value in state.items()}, note)
    before = content(run)
    with pytest.raises(RunError, match="moved: is not the source model"):
        train(given(moved), out=run.folder, progress=False, more_epochs=1)
    assert content(run) == before


# -- two at once ---------------------------------------------------------------------------------------------


def test_two_trainings_do_not_share_a_folder(data: Path, tmp_path: Path) -> None:
    run = stopped(recipe(data), tmp_path / "run")
    before = content(run)
    for out in (run.folder, tmp_path / "new"):
        out.mkdir(exist_ok=True)
        if out != run.folder:
            RunFolder(out).open_new()
        with locked(out / ".lock"):
            there = sorted(path.name for path in out.iterdir())
            with pytest.raises(RunError, match=rf"{out}: is being trained by process {os.getpid()} on "):
                train(recipe(data), out=out, progress=False)
            assert sorted(path.name for path in out.iterdir()) == there
    assert content(run) == before
    train(recipe(data), out=run.folder, progress=False)
